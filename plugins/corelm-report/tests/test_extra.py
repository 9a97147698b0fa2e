"""Without the libraries of the extra `report`, one sentence says how to install them."""

from __future__ import annotations

import pytest

import corelm
from corelm.errors import MissingDependencyError
from corelm.testing import ToyModel


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without two of the libraries."""
    found = {"jinja2": None, "matplotlib": None}
    monkeypatch.setattr("corelm_report.report.find_spec", lambda name: found.get(name, name))


@pytest.mark.usefixtures("without")
def test_a_report_without_its_libraries_names_the_extra():
    with pytest.raises(MissingDependencyError) as caught:
        corelm.compare(ToyModel(), ["greedy"], n=1, length=2)
    assert str(caught.value) == (
        "a report needs jinja2 and matplotlib; "
        'install what is missing with: pip install "corelm[report]"'
    )


@pytest.mark.usefixtures("without")
@pytest.mark.parametrize("words", [("report", "greedy"), ("study", "run", "study.toml")])
def test_commands_say_so_before_anything_is_measured(run, words):
    result = run(*words)
    assert result.code == 1
    assert result.out == ""
    assert 'pip install "corelm[report]"' in result.err
