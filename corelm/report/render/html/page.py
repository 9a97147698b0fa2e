"""The page of a report: one HTML file that loads nothing and runs one small script, its own."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import TYPE_CHECKING, Any

from corelm.report.document.numbers import number, share
from corelm.report.document.summary import sentence
from corelm.report.render.html import tables, texts
from corelm.report.render.html.playground import playground
from corelm.report.render.plots import charts
from corelm.report.render.plots.files import drawings
from corelm.report.render.plots.labels import visible

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATE = "corelm.report.render.html.template"


def page(document: Mapping[str, Any]) -> str:
    """The whole page of a report.

    Every string of the document is escaped, the only script that may run is named by its
    checksum, and nothing can be loaded from anywhere.

    Args:
        document: the report's, as `corelm.report/1` describes it.

    Raises:
        ReportError: logits to try samplers on that are no numbers.
    """
    from markupsafe import Markup

    files = {name: _file(f"page.{name}") for name in ("css", "js")}
    return (
        _environment()
        .get_template("page.html.jinja")
        .render(
            document=document,
            header=document["header"],
            finding=sentence(document),
            same=list(tables.lines(document, "same_contexts", tables.SAME_CONTEXTS)),
            likely=list(tables.lines(document, "own_texts", tables.LIKELIHOOD_AND_REPETITION)),
            varied=list(tables.lines(document, "own_texts", tables.VARIETY)),
            plots={name: Markup(svg) for name, svg in drawings(document).items()},
            groups=texts.groups(document),
            legend=list(texts.legend()),
            trial=playground(document),
            person=charts.value(document["reference"], "entropy", "same_contexts"),
            plugins=list(_plugins(document)),
            hashes={name: _checksum(text) for name, text in files.items()},
            **{name: Markup(text) for name, text in files.items()},
        )
    )


def _plugins(document: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Each sampler, the package it comes from, and its entry point."""
    for row in document["samplers"]:
        for stage in row.get("stages") or [row]:
            if plugin := stage["plugin"]:
                package = f"{plugin['distribution']} {plugin['version']}"
                yield stage["name"], package, plugin["entry_point"]


def _file(name: str) -> str:
    return resources.files(TEMPLATE).joinpath(name).read_text("utf-8").strip()


def _checksum(text: str) -> str:
    """How a policy names a script or a style sheet that it allows."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _environment() -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        loader=FunctionLoader(_file),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    environment.filters |= {"number": number, "share": share, "bits": tables.bits}
    return environment
