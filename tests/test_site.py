"""The site has a page for each file that its pages link to, and isn't built with a dead link."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from programs import load_program

import corelm
from corelm.registry.registry import registry

DOCS = "pip install --group docs"
build = pytest.importorskip("mkdocs.commands.build", reason=DOCS)
config = pytest.importorskip("mkdocs.config", reason=DOCS)
exceptions = pytest.importorskip("mkdocs.exceptions", reason=DOCS)
pytest.importorskip("nbconvert", reason=DOCS)
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PIXEL = base64.b64encode(b"a picture").decode()


def site(tmp_path: Path, page: str) -> Path:
    """Build a site of one page and a notebook, as the documentation is built; return its folder."""
    docs = tmp_path / "docs"
    docs.mkdir(exist_ok=True)
    (docs / "index.md").write_text(page)
    (docs / "small.ipynb").write_text(json.dumps(NOTEBOOK))
    build.build(
        config.load_config(
            str(ROOT / ".ci" / "mkdocs.yml"),
            docs_dir=str(docs),
            site_dir=str(tmp_path / "site"),
            nav=["index.md", "small.md"],
            extra_css=[],
            strict=True,
        )
    )
    return tmp_path / "site"


NOTEBOOK = {
    "cells": [
        {"cell_type": "markdown", "metadata": {}, "source": "# Small\n\n[Back](index.md#here)"},
        {
            "cell_type": "code",
            "execution_count": 1,
            "metadata": {},
            "outputs": [
                {"output_type": "stream", "name": "stdout", "text": "6 < 7\n"},
                {
                    "output_type": "display_data",
                    "metadata": {},
                    "data": {"text/html": "<b>bold</b>", "text/plain": "plain"},
                },
                {
                    "output_type": "display_data",
                    "metadata": {},
                    "data": {"image/png": PIXEL, "text/plain": "a figure"},
                },
            ],
            "source": "print('6 < 7')",
        },
    ],
    "metadata": {"language_info": {"name": "python"}},
    "nbformat": 4,
    "nbformat_minor": 4,
}


def test_links_to_the_repository_lead_to_pages(tmp_path: Path) -> None:
    """A folder has its README, whose links lead on; a program is shown; code is left as it is."""
    built = site(
        tmp_path,
        "# Here\n\n[one](../plugins/corelm-mauve), [two](../tests/benchmarks/start.py),\n"
        "[three](small.ipynb), `[no](../LICENSE)`\n",
    )
    page = (built / "index.html").read_text("utf-8")
    assert 'href="repository/plugins/corelm-mauve/index.html"' in page
    assert 'href="repository/tests/benchmarks/start.py.html"' in page
    assert 'href="small.html"' in page
    assert "[no](../LICENSE)" in page
    assert not (built / "repository" / "LICENSE.html").exists()
    readme = (built / "repository/plugins/corelm-mauve/index.html").read_text("utf-8")
    assert 'href="../../../index.html"' in readme
    assert "import typer" in (built / "repository/tests/benchmarks/start.py.html").read_text(
        "utf-8"
    )


def test_a_notebook_is_a_page_with_its_outputs(tmp_path: Path) -> None:
    built = site(tmp_path, "# Here\n")
    page = (built / "small.html").read_text("utf-8")
    for part in (
        'href="small.ipynb" download',
        "6 &lt; 7",
        "<b>bold</b>",
        'href="index.html#here"',
    ):
        assert part in page
    assert "plain" not in page
    assert (built / "small.ipynb").exists()
    [picture] = built.glob("*.png")
    assert f'src="{picture.name}"' in page
    assert picture.read_bytes() == b"a picture"


def test_a_dead_link_stops_the_build(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dead = ("no-such.md", "../plugins/no-such", "#no-heading", "small.ipynb#nothing")
    with pytest.raises(exceptions.Abort, match="4 warnings"):
        site(tmp_path, "# Here\n\n" + "\n".join(f"[there]({link})" for link in dead))
    for name in ("no-such.md", "plugins/no-such", "#no-heading", "small.md#nothing"):
        assert name in caplog.text


def test_programs_find_the_pages_in_one_file(tmp_path: Path) -> None:
    built = site(tmp_path, "# Here\n\nA [page](small.ipynb) for readers. It has more.\n")
    assert "- [Here](index.html): A page for readers.\n" in (built / "llms.txt").read_text("utf-8")
    whole = (built / "llms-full.txt").read_text("utf-8")
    assert whole.index("It has more.") < whole.index("# Small")


def test_a_sampler_has_a_page_from_its_class() -> None:
    """Its definition, parameters, names in engines and source; the list leads to it."""
    pages = load_program(ROOT / "docs" / "scripts" / "site_samplers.py")
    pages.PROMPTS["gpt2"] = "The movie"
    models = {name: corelm.load(name) for name in ("imdb", "gpt2")}
    offer = registry().find("corelm_samplers", "repetition_penalty")
    page = "\n".join(pages.page_of(offer, models))
    for part in (
        "# Repetition penalty: `repetition_penalty`\n\nMake every token",
        "| `last` | `0` | at least 0 | how many of the last tokens count; 0 is all |",
        "| ollama | `repeat_penalty`, `repeat_last_n` |",
        "arXiv 1909.05858",
        "samplers/repetition_penalty.py",
        "of the model `imdb`,",
        "of the model `gpt2`,",
    ):
        assert part in page
    row = "| `min_p(p=0.05) \\| adaptive_p(target=0.3)` | does |"
    linked = "| [`min_p(p=0.05) \\| adaptive_p(target=0.3)`](samplers/adaptive_p.md) | does |"
    assert pages.ROW.sub(r"| [`\1`](samplers/\2.md) |", row) == linked
