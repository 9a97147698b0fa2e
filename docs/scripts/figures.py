"""Write what follows from the declared figures: two tables of the report's page, and its schema.

python docs/scripts/figures.py            write docs/reference/report.md and report.schema.json
python docs/scripts/figures.py --check    fail if they have changed
python docs/scripts/figures.py --schema   print the schema
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from pkgutil import resolve_name

from corelm_report.document.figure import VIEWS, Figure
from corelm_report.document.figures import of_view
from corelm_report.document.schema import schema

from corelm.registry.offers import citation_of

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference"
PAGE, SCHEMA = REFERENCE / "report.md", REFERENCE / "report.schema.json"
BAR = r"\|"
TABLE = re.compile(r"(<!-- figures of (\w+) -->\n).*?(<!-- end of the figures -->)", re.S)


def rewritten(page: str) -> str:
    """Return the page with the tables of the figures that are declared now."""
    tables = {view: "\n".join(table(view)) for view in VIEWS}
    return TABLE.sub(lambda match: f"{match[1]}\n{tables[match[2]]}\n\n{match[3]}", page)


def table(view: str) -> Iterator[str]:
    """Yield the lines of the table of a view."""
    yield "| key | formula | unit | meaning | source |"
    yield "|---|---|---|---|---|"
    for figure in of_view(view):
        meaning = " ".join(filter(None, (figure.text, figure.note)))
        unit = figure.unit or "number"
        cells = (f"`{figure.name}`", figure.formula, unit, meaning, source(figure))
        yield f"| {' | '.join(cell.replace('|', BAR) for cell in cells)} |"


def source(figure: Figure) -> str:
    """Return the paper that defines a figure: authors, year and identifier."""
    text = citation_of(resolve_name(figure.source)) if figure.source else ""
    works = [part.strip(" .").split(", ") for part in text.split(";") if part.strip()]
    return "; ".join(", ".join(dict.fromkeys((work[0], work[-1]))) for work in works)


def schema_text() -> str:
    """Return the JSON Schema as the file has it."""
    return json.dumps(schema(), indent=2) + "\n"


def main() -> int:
    """Run the command line."""
    if "--schema" in sys.argv:
        print(schema_text(), end="")
        return 0
    made = {PAGE: rewritten(PAGE.read_text("utf-8")), SCHEMA: schema_text()}
    if "--check" not in sys.argv:
        for path, text in made.items():
            path.write_text(text, "utf-8")
        return 0
    old = [path for path, text in made.items() if path.read_text("utf-8") != text]
    for path in old:
        print(f"{path.name} is out of date; write it with: python docs/scripts/figures.py")
    return 1 if old else 0


if __name__ == "__main__":
    sys.exit(main())
