"""The comparison of samplers in engines with corelm, small: everything is the same."""

from __future__ import annotations

import importlib.util

import pytest
from benchmark_scripts import BENCHMARKS, script

pytest.importorskip("transformers", minversion="5.18", reason="pip install transformers")
pytest.importorskip("torch", reason="pip install torch")

SAMPLERS = ("repetition_penalty(penalty=1.5)", "mirostat(tau=3.0)", "top_p(p=0.9)")
FEWER = {"keras_hub": 1, "llama_cpp": 1}
"""Samplers of engines that take long."""
MODELS = {
    "transformers": "gpt2",
    "mlx": "llama",
    "keras_hub": "gpt2",
    "llama_cpp": "qwen3",
    "vllm_v2": "gemma",
}
"""The engines, and an architecture of each; the command compares all, the real vLLM too."""


@pytest.fixture
def equality(monkeypatch):
    """The script as a module, which imports its engines when it needs them."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.setenv("CORELM_THREADS", "1")  # others only wait for each other
    return script("equality")


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "name"), MODELS.items())
def test_texts_and_probabilities_are_the_same(equality, engine, name):
    package = equality.ENGINES[engine][1]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"pip install ./plugins/{package.replace('_', '-')}")
    for case in equality.cases_of(engine):
        cell = equality.measured(engine, name, case, SAMPLERS[: FEWER.get(engine)])
        assert not cell.differing, case
        assert cell.same == cell.texts
        assert cell.texts or case == "guesses"  # which samplers may refuse


def test_adaptive_p_reads_what_the_engine_passes(equality):
    """Its difference of 3e-4 on gpt2 was no rounding: the penalty is in the model there."""
    pytest.importorskip("corelm_transformers", reason="pip install ./plugins/corelm-transformers")
    cell = equality.measured(
        "transformers", "gpt2", "engine's settings first", ["adaptive_p(target=0.3, decay=0.9)"]
    )
    assert (cell.difference, cell.same) == (0, 1)


def test_a_difference_is_found(equality, monkeypatch):
    pytest.importorskip("corelm_transformers", reason="pip install ./plugins/corelm-transformers")
    engine = equality.engine("transformers")
    monkeypatch.setattr(engine, "SEED", 8)
    assert equality.measured("transformers", "gpt2", "three prompts", SAMPLERS[-1:]).differing


def test_every_sampler_is_compared_or_excluded(equality):
    names = {expression.partition("(")[0] for expression in equality.every_sampler()}
    assert {"top_p", "xtc", "dry", "stochastic", "ban"} <= names
    assert names.isdisjoint(equality.EXCLUDED)


def test_rows_of_engines_that_were_not_measured_stay(equality, tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{equality.BEGIN}{equality.END}after\n", "utf-8")
    monkeypatch.setattr(equality, "PAGE", page)
    cells = {"llama": {case: equality.Cell(same=1, texts=1) for case in equality.CASES}}
    equality.write(equality.table({"mlx": cells}, 3))
    equality.write(equality.table({"transformers": cells}, 3))
    equality.write(equality.table({"mlx": cells}, 3))
    rows = [
        line.split("|")[1].strip() for line in page.read_text("utf-8").splitlines() if "|" in line
    ]
    assert rows == ["engine", "---", "transformers", "mlx-lm"]


def test_new_samplers_are_added_to_the_rows_of_the_page(equality, tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{equality.BEGIN}{equality.END}after\n", "utf-8")
    monkeypatch.setattr(equality, "PAGE", page)
    cells = [equality.Cell(9, 9, 3e-6), equality.Cell(8, 9), equality.Cell()]
    row = dict(zip(equality.CASES, cells, strict=False))
    equality.write(equality.table({"mlx": {"llama": row}}, 3))
    new = {case: equality.Cell(3, 3, 2e-7) for case in row} | {
        equality.CASES[2]: equality.Cell(refused=["edt"])
    }
    equality.write(equality.table({"mlx": equality.with_page("mlx", {"llama": new}, 1)[0]}, 4))
    assert "| `llama` | 4 | < 1e-5, 12 of 12 | < 1e-6, 11 of 12 | refused |  |" in page.read_text()
