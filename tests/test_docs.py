"""The documentation does not lie: examples run, links lead somewhere, nothing is left out."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import corelm
from corelm import errors, hookspecs
from corelm.plugins import registry
from corelm.testing import LAWS

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
LINK = re.compile(r"\[[^\]\[]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+?)(?: *\{[^}]*\})?$", re.MULTILINE)
FENCED = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)


def script(name: str) -> ModuleType:
    """A module of docs/scripts, which is no package."""
    spec = importlib.util.spec_from_file_location(name, DOCS / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


examples = script("examples")
PAGES: list[Path] = examples.pages()


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def read(page: str) -> str:
    return (DOCS / page).read_text("utf-8")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_examples_print_what_the_page_says(page: Path) -> None:
    if shutil.which("bash") is None:
        pytest.skip("the examples are for bash")
    found = examples.differences(page)
    assert not found, "\n".join(["", *found])


def test_an_example_that_lies_is_found(tmp_path: Path) -> None:
    """Of three wrong pages each is told from a right one."""
    right = (
        "```python\nprint(6 * 7)\n```\n\n```text\n42\n```\n\n```console\n$ echo a b\na ...\n```\n"
    )
    page = tmp_path / "page.md"
    page.write_text(right)
    assert examples.differences(page) == []
    for before, after in (("42\n", "43\n"), ("\na ...", "\nb ..."), ("\na ...", "")):
        page.write_text(right.replace(before, after))
        assert examples.differences(page) != []


def test_an_example_that_fails_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    for block in ("```python\n1 / 0\n```\n", "```console\n$ exit 3\n```\n"):
        page.write_text(block)
        with pytest.raises(AssertionError, match=r"ZeroDivisionError|ended with 3"):
            examples.differences(page)


def test_a_block_that_is_not_run_says_why(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- not run: needs an afternoon -->\n```console\n$ exit 3\n```\n")
    assert examples.differences(page) == []
    page.write_text("<!-- not run: -->\n```console\n$ exit 3\n```\n")
    with pytest.raises(AssertionError):
        examples.differences(page)


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    text = FENCED.sub("", page.read_text("utf-8"))
    for link in LINK.findall(text):
        if re.match(r"https?:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), f"{link} leads nowhere"
        if anchor and not anchor.startswith("corelm."):
            assert anchor in anchors(target), f"{link} has no such heading"


def anchors(page: Path) -> set[str]:
    """The anchors of the headings of a page."""
    headings = HEADING.findall(FENCED.sub("", page.read_text("utf-8")))
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", h).strip().lower()) for h in headings}


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / ".ci" / "mkdocs.yml").read_text("utf-8").partition("\nnav:\n")[2]
    listed = re.findall(r"(\S+\.md)$", navigation, re.MULTILINE)
    assert sorted(listed) == sorted(str(p.relative_to(DOCS)) for p in DOCS.rglob("*.md"))


def test_the_command_line_page_is_what_help_prints() -> None:
    assert read("reference/command-line.md") == script("command_line").page()


def test_every_hook_is_documented_with_its_arguments() -> None:
    hooks = {
        f"{name}({', '.join(inspect.signature(hook).parameters)})"
        for name, hook in vars(hookspecs).items()
        if hasattr(hook, "corelm_spec")
    }
    assert {hook.partition("(")[0] for hook in hooks} == set(registry.HOOKS)
    documented = re.findall(r"^## `(corelm_.+)`$", read("reference/hooks.md"), re.MULTILINE)
    assert set(documented) == hooks


def test_every_environment_variable_is_documented() -> None:
    documented = re.findall(r"^## `(CORELM_\w+)`$", read("reference/environment.md"), re.MULTILINE)
    sources = [p for folder in ("corelm", "samplers") for p in (ROOT / folder).rglob("*.py")]
    names = {name for path in sources for name in environment_variables(path)}
    assert names == set(documented)


def environment_variables(path: Path) -> set[str]:
    """The strings in a source that name a variable of ours."""
    tree = ast.parse(path.read_text("utf-8"))
    strings = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)}
    named = {s for s in strings if isinstance(s, str) and re.fullmatch(r"CORELM_[A-Z_]+", s)}
    return named - {"CORELM_API_VERSION"}  # an attribute of a plugin


def test_every_error_is_documented_in_its_place() -> None:
    """The tree of the page is that of the classes: the same names, as far from the root."""
    tree = re.search(r"^CorelmError\n(?:[│├└].*\n)+", read("reference/errors.md"), re.MULTILINE)
    assert tree is not None
    documented = {
        re.split(r"[│├└─ ]+", line, maxsplit=1)[-1].split()[0]: len(re.match(r"[│├└─ ]*", line)[0])
        for line in tree[0].splitlines()
    }
    assert {name: depth / 4 for name, depth in documented.items()} == {
        name: depth(error) for name, error in vars(errors).items() if inspect.isclass(error)
    }


def depth(error: Any) -> int:
    """How many errors of ours lie above one."""
    return sum(issubclass(base, corelm.CorelmError) for base in error.__mro__) - 1


def test_every_public_name_is_documented() -> None:
    documented = re.findall(r"^::: corelm\.(?:\w+\.)?(\w+)$", read("reference/contract.md"), re.M)
    assert sorted(documented) == sorted({*corelm.__all__, *corelm.filters.__all__})


def test_every_law_is_documented() -> None:
    table = re.findall(r"^\| `(\w+)` \|", read("reference/laws.md"), re.MULTILINE)
    assert table == [law.__name__ for law in LAWS]


@pytest.mark.parametrize("name", ["entropy_table", "pictures"])
def test_what_scripts_made_is_what_they_make_now(name: str) -> None:
    if name == "pictures" and sys.platform == "win32":
        pytest.skip("pictures are drawn on POSIX systems")
    command = [sys.executable, DOCS / "scripts" / f"{name}.py", "--check"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stdout + done.stderr
