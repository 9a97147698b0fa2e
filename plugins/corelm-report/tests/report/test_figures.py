"""A figure is declared once: the schema, the tables and the citations follow from it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from pkgutil import resolve_name

import pytest
from documents import TEXTS, compare, typed

from corelm.registry.offers import citation_of
from corelm_report import Document, schema
from corelm_report.document.figures import FIGURES

PARTS = {"teacher_forced": "TeacherForced", "generated_texts": "GeneratedTexts"}


def test_every_measured_figure_is_in_the_schema(made):
    for row in made["samplers"][:3]:
        for view, part in PARTS.items():
            names = {name for name, value in row[view].items() if isinstance(value, float)}
            assert names <= schema()["$defs"][part]["properties"].keys()


def test_every_declared_figure_is_in_the_schema_with_its_meaning():
    for figure in FIGURES:
        if not figure.derived:
            key = schema()["$defs"][PARTS[figure.view]]["properties"][figure.name]
            assert {"$ref", "type"} & key.keys()
            assert key.get("description", figure.text) == figure.text


def test_the_reference_names_every_figure():
    page = (Path(__file__).parents[4] / "docs" / "reference" / "report.md").read_text("utf-8")
    lists = re.findall(r"^The figures are (.+?)\. Each has", page, re.MULTILINE | re.DOTALL)
    for view, listed in zip(PARTS, lists, strict=True):
        declared = [each.name for each in FIGURES if each.view == view and not each.derived]
        assert re.findall(r"`(\w+)`", listed) == declared, "name it in reference/report.md"


def test_a_declaration_is_complete():
    names = [(figure.name, figure.view) for figure in FIGURES]
    assert len(set(names)) == len(names)
    for figure in FIGURES:
        assert bool(figure.table) == bool(figure.title)
        assert figure.formula or figure.text
        assert not figure.priority or figure.meaning


@pytest.mark.parametrize("function", sorted({figure.source for figure in FIGURES} - {""}))
def test_the_source_of_a_figure_is_a_function_that_names_a_paper(function):
    assert citation_of(resolve_name(function))


@pytest.mark.parametrize(
    "asked",
    [
        {"samplers": ["greedy", "top_k(k=1..3)"], "seeds": [1, 2], "texts": "all"},
        {"samplers": ["temperature", "top_p"], "match": "entropy=0.5", "reference": TEXTS},
        {"samplers": ["greedy"], "reference": TEXTS, "against": "human"},
    ],
)
def test_a_document_survives_its_dataclasses(asked, made):
    """The same keys in the same order, also of a sampler that failed."""
    for document in (compare(**asked), made):
        assert json.dumps(Document.from_dict(document).to_dict()) == json.dumps(document)


def test_what_an_earlier_document_lacks_has_a_default():
    row = {"sampler": "greedy", "name": "greedy", "params": {"a": 1}}
    [entry] = typed({"samplers": [row]}).samplers
    assert (entry.params, entry.stages) == ({"a": 1}, [])
    assert entry.to_dict()["matched"] is None
    assert "failed_metrics" not in entry.to_dict()
