"""A figure is declared once: the schema, the tables and the citations follow from it."""

from __future__ import annotations

import json
from pkgutil import resolve_name

import pytest
from corelm_report import Document, schema
from corelm_report.document.content import SamplerEntry
from corelm_report.document.figure import TABLES, VIEWS
from corelm_report.document.figures import FIGURES, of_view
from corelm_report.document.lookup import declared, names
from documents import TEXTS, compare, typed

from corelm.registry.offers import citation_of


def test_every_measured_figure_is_declared(made):
    for entry in typed(made).entries:
        for view in VIEWS:
            part = entry.part(view)
            known = {figure.name for figure in of_view(view)}
            human_only = {"surprisal"} if entry.label == "human" else set()
            assert part is None or {*part.figures} <= known | human_only


def test_every_declared_figure_is_in_the_schema_with_its_meaning():
    for view, part in zip(VIEWS, ("TeacherForced", "GeneratedTexts"), strict=True):
        keys = schema()["$defs"][part]["properties"]
        for figure in of_view(view):
            assert {"$ref", "type"} & keys[figure.name].keys()
            assert keys[figure.name].get("description", figure.text) == figure.text


def test_a_declaration_is_complete():
    keys = [(figure.name, figure.view) for figure in FIGURES]
    assert len(set(keys)) == len(keys)
    for figure in FIGURES:
        assert figure.view in VIEWS
        assert figure.table in ("", *TABLES)
        assert bool(figure.table) == bool(figure.title)
        assert figure.formula or figure.text
        assert figure.shows in ("", *names())
        assert not figure.priority or figure.meaning


@pytest.mark.parametrize("function", sorted({figure.source for figure in FIGURES} - {""}))
def test_the_source_of_a_figure_is_a_function_that_names_a_paper(function):
    assert citation_of(resolve_name(function))


def test_the_axis_of_a_plot_has_the_unit_of_entropies_only():
    assert declared("surprisal", "generated_texts").axis == "surprisal (nats)"
    assert declared("mass_kept", "teacher_forced").axis == "mass kept"


@pytest.mark.parametrize(
    "asked",
    [
        {"samplers": ["greedy", "top_k(k=1..3)"], "seeds": [1, 2], "texts": "all"},
        {"samplers": ["temperature", "top_p"], "match": "entropy=0.5", "reference": TEXTS},
        {"samplers": ["greedy"], "reference": TEXTS, "against": "human"},
    ],
)
def test_a_document_survives_its_dataclasses(asked):
    """The same keys in the same order."""
    document = compare(**asked)
    assert json.dumps(Document.from_dict(document).to_dict()) == json.dumps(document)


def test_a_failed_sampler_survives_too(made):
    assert json.dumps(typed(made).to_dict()) == json.dumps(made)


def test_what_an_earlier_document_lacks_has_a_default():
    entry = SamplerEntry.from_dict({"sampler": "greedy", "name": "greedy", "params": {"a": 1}})
    assert [stage.params for stage in entry.parts] == [{"a": 1}]
    assert entry.to_dict()["matched"] is None
    assert "failed_metrics" not in entry.to_dict()
