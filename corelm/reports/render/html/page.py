"""The page of a report: one HTML file that loads nothing and runs one small script, its own."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import TYPE_CHECKING, Any

from corelm.reports.document.lookup import HUMAN, TEACHER_FORCED, against, value
from corelm.reports.document.numbers import number, share
from corelm.reports.document.summary import summary
from corelm.reports.render.columns import ENTROPY, LIKELIHOOD, VARIETY, Table
from corelm.reports.render.definitions import Definition, definition, term
from corelm.reports.render.format import MINUS, bits, visible
from corelm.reports.render.html import tables, texts
from corelm.reports.render.html.playground import playground
from corelm.reports.render.plots.charts import charts
from corelm.reports.render.plots.files import drawings
from corelm.reports.render.text import failed_metrics, seeds, targets

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

TABLES = (ENTROPY, LIKELIHOOD, VARIETY)
TEMPLATE = "corelm.reports.render.html.template"


def page(document: Mapping[str, Any]) -> str:
    """Render the whole page of a report.

    Every string of the document is escaped. The page's policy allows one script, its own, by its
    checksum, and nothing can be loaded from anywhere.

    Args:
        document: that of a report, as `corelm.report/1` describes it.

    Raises:
        ReportError: the logits to try samplers on cannot be read.
    """
    from markupsafe import Markup

    files = {name: _file(f"page.{name}") for name in ("css", "js")}
    return (
        _environment()
        .get_template("page.html.jinja")
        .render(
            document=document,
            header=document["header"],
            summary=summary(document),
            against=_against(document),
            tables={table.name: _table(document, table) for table in TABLES},
            charts=list(charts(document)),
            plots={name: Markup(svg) for name, svg in drawings(document).items()},
            groups=texts.groups(document),
            legend=list(texts.legend()),
            failed_metrics=failed_metrics(document),
            matched=targets(document),
            seeds=seeds(document["header"]),
            playground=playground(document),
            person=value(document["reference"], "entropy", TEACHER_FORCED),
            plugins=list(_plugins(document)),
            definitions=_definitions(document),
            hashes={name: _checksum(text) for name, text in files.items()},
            **{name: Markup(text) for name, text in files.items()},
        )
    )


def _table(document: Mapping[str, Any], table: Table) -> dict[str, Any]:
    """The columns of a table, each with its definition, and its lines."""
    shown = tables.shown_columns(document, table)
    return {
        "columns": [(column.title, definition(column, document)) for column in shown],
        "lines": list(tables.lines(document, table)),
    }


def _definitions(document: Mapping[str, Any]) -> dict[str, Definition]:
    """The definitions of all columns that the page has, by term."""
    shown = [column for table in TABLES for column in tables.shown_columns(document, table)]
    return {term(column, document): definition(column, document) for column in shown}


def _against(document: Mapping[str, Any]) -> str:
    """The row that the differences are from; empty if there are none."""
    if not any(row.get("differences") for row in document["samplers"]):
        return ""
    name = against(document)
    return "human text" if name == HUMAN else name


def _plugins(document: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Each sampler with its package and its entry point."""
    for row in document["samplers"]:
        for stage in row.get("stages") or [row]:
            if plugin := stage["plugin"]:
                package = f"{plugin['distribution']} {plugin['version']}"
                yield stage["name"], package, plugin["entry_point"]


def _formula(text: str) -> Markup:
    """Write the letters of a formula that stand alone as variables, and minus signs as such."""
    from markupsafe import Markup, escape

    signs = re.sub(r"(?<![A-Za-z])-", MINUS, str(escape(text)))
    return Markup(re.sub(r"(?<![A-Za-z&;-])[A-Za-z](?![A-Za-z-])", r"<var>\g<0></var>", signs))


def _file(name: str) -> str:
    return resources.files(TEMPLATE).joinpath(name).read_text("utf-8").strip()


def _checksum(text: str) -> str:
    """The checksum by which a Content-Security-Policy allows a script or a style sheet."""
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
    environment.filters |= {"number": number, "share": share, "bits": bits, "formula": _formula}
    return environment
