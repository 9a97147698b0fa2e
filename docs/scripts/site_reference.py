"""Generate the long parts of the reference when the site is built: a hook of MkDocs.

In the repository a page names what there is. On the site a comment `<!-- on the site: NAME -->`
becomes the Markdown that the function of `PARTS` returns, and a list item that opens with a public
name becomes its entry, which mkdocstrings makes from the docstring. The OpenAPI document and the
JSON Schema of reports become files of the site.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from pkgutil import resolve_name

from corelm_serve.endpoints import ROUTES
from corelm_serve.openapi import document
from corelm_serve.requests.chat import ChatRequest, Message
from corelm_serve.requests.completion import CompletionRequest, StreamOptions, TextRequest
from corelm_serve.requests.fields import Request
from corelm_serve.requests.formats import Function, ResponseFormat, SchemaFormat, ToolCall
from corelm_serve.scheduling.scheduler import Limits
from corelm_serve.security import OPEN
from corelm_serve.tokens import DetokenizeRequest, TokenizeRequest
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from corelm.registry.offers import citation_of
from corelm_report import schema
from corelm_report.document.figures import VIEWS, Figure, of_view

ROOT = Path(__file__).resolve().parents[2]
PART = re.compile(r"^<!-- on the site: (.+) -->$", re.MULTILINE)
NAME = re.compile(r"^- `(corelm\.[\w.]+)`: .*\n(?:  .*\n)*", re.MULTILINE)
COMMAND = re.compile(r"^  ([a-z][\w-]*)(?:  |$)", re.MULTILINE)
BODIES: Mapping[str, type[Request]] = {
    "Of every request that draws texts": TextRequest,
    "`POST /v1/completions`": CompletionRequest,
    "`POST /v1/chat/completions`": ChatRequest,
    "`messages[]`": Message,
    "`messages[].tool_calls[]`": ToolCall,
    "`stream_options`": StreamOptions,
    "`response_format`": ResponseFormat,
    "`response_format.json_schema`": SchemaFormat,
    "`tools[].function`": Function,
    "`POST /tokenize`": TokenizeRequest,
    "`POST /detokenize`": DetokenizeRequest,
}


def on_files(files: Files, *, config: MkDocsConfig) -> None:
    """Add the two JSON documents, and the table of packages, whose links lead to more pages."""
    if page := files.get_file_from_path("reference/packages.md"):
        content = PART.sub("\n".join(_packages()), page.content_string)
        files.remove(page)
        files.append(File.generated(config, page.src_uri, content=content))
    for name, content in {"openapi.json": document(ROUTES), "report.schema.json": schema()}.items():
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        files.append(File.generated(config, f"reference/{name}", content=text))


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put the generated parts of a page in their places."""
    markdown = PART.sub(lambda match: "\n".join(PARTS[match[1]]()), markdown)
    if page.file.src_uri not in ("reference/contract.md", "reference/laws.md"):
        return markdown
    return NAME.sub(lambda match: f"\n::: {match[1]}\n\n", markdown)


def help_of(*words: str, plugins: str = "") -> str:
    """Return the output of a command with `--help`, on a terminal of 80 columns."""
    plain = {"COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb", "CORELM_PLUGINS": plugins}
    command = [sys.executable, "-m", "corelm", *words, "--help"]
    done = subprocess.run(
        command, env=os.environ | plain, capture_output=True, encoding="utf-8", check=True
    )
    return "\n".join(line.rstrip() for line in done.stdout.strip("\n").split("\n"))


def commands(*words: str) -> Iterator[tuple[str, str]]:
    """Yield each command from this one down, and its help."""
    text = help_of(*words)
    yield " ".join(("corelm", *words)), text
    for name in COMMAND.findall(text.partition("\nCommands:\n")[2]):
        yield from commands(*words, name)


def _commands() -> Iterator[str]:
    for name, text in commands():
        yield f"## `{name}`\n\n```text\n{text}\n```\n"


def _figures(view: str) -> Iterator[str]:
    """Yield the table of the figures of a view."""
    yield "| key | formula | unit | meaning | source |\n|---|---|---|---|---|"
    for figure in of_view(view):
        meaning = " ".join(filter(None, (figure.text, figure.note)))
        cells = (f"`{figure.name}`", figure.formula, figure.unit or "number", meaning)
        yield _row(*cells, _source(figure))


def _source(figure: Figure) -> str:
    """Return the paper that defines a figure: authors, year and identifier."""
    text = citation_of(resolve_name(figure.source)) if figure.source else ""
    works = [part.strip(" .").split(", ") for part in text.split(";") if part.strip()]
    return "; ".join(", ".join(dict.fromkeys((work[0], work[-1]))) for work in works)


def _routes() -> Iterator[str]:
    yield "| route | what it does |\n|---|---|"
    for route in ROUTES:
        mark = "; needs no token" if route.path in OPEN else ""
        yield _row(f"`{route.method} {route.path}`", f"{route.summary}{mark}")


def _fields() -> Iterator[str]:
    for title, body in BODIES.items():
        yield f"\n### {title}\n\n| field | value | what it is |\n|---|---|---|"
        inherited = set() if body is TextRequest else {each.name for each in TextRequest.fields()}
        for each in body.fields():
            if each.name not in inherited:
                rule = each.metadata
                needed = "**required**: " if rule["required"] else ""
                yield _row(f"`{each.name}`", needed + rule["kind"].words, rule["help"])
        if body.refused:
            names = ", ".join(f"`{name}`" for name in body.refused)
            yield f"\nRefused, unless they ask for nothing: {names}."


def _serve() -> Iterator[str]:
    yield f"```text\n{help_of('serve', plugins='corelm-serve')}\n```"


def _limits() -> Iterator[str]:
    yield "| limit of `corelm_serve.scheduling.scheduler.Limits` | default |\n|---|---|"
    for each in dataclasses.fields(Limits):
        yield _row(f"`{each.name}`", f"{getattr(Limits(), each.name):,}")


def _promises() -> Iterator[str]:
    """Yield the tests of each promise, by file."""
    promises = tomllib.loads((ROOT / "tests" / "promises.toml").read_text("utf-8"))
    for number, tests in promises.items():
        yield f"\n**{number}**\n"
        for file in dict.fromkeys(test.partition("::")[0] for test in tests):
            names = [test.partition("::")[2] for test in tests if test.startswith(f"{file}::")]
            yield f"- `{file}`: {', '.join(f'`{name}`' for name in names)}"


def _packages() -> Iterator[str]:
    """Yield the table of the packages in `plugins/`."""
    yield "| package | what it is |\n|---|---|"
    for file in sorted(ROOT.glob("plugins/*/pyproject.toml")):
        project = tomllib.loads(file.read_text("utf-8"))["project"]
        link = f"[`{project['name']}`](../../plugins/{project['name']})"
        yield _row(link, project["description"])


def _mistakes() -> Iterator[str]:
    """Yield a table of the mistakes of each kind."""
    kinds = tomllib.loads((ROOT / "tests" / "mistakes.toml").read_text("utf-8"))
    places = {"install": "at install", "call": "in a call", "check": "`--check`"}
    for kind in kinds.values():
        yield f"\n## {kind['title']}\n\n| mistake | what corelm says | seen |\n|---|---|---|"
        for each in kind["mistakes"]:
            message = f"`` {each['says']} ``"  # which may have single backticks
            yield _row(each["mistake"], message, places[each.get("where", "check")])


def _row(*cells: str) -> str:
    escaped = (cell.replace("|", r"\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"


PARTS: Mapping[str, Callable[[], Iterator[str]]] = {
    **{f"figures of {view}": lambda view=view: _figures(view) for view in VIEWS},  # type: ignore[misc]
    "commands": _commands,
    "routes": _routes,
    "fields": _fields,
    "options of corelm serve": _serve,
    "limits": _limits,
    "schema": lambda: iter(["[Download the JSON Schema](report.schema.json)."]),
    "openapi": lambda: iter(["[Download the OpenAPI document](openapi.json)."]),
    "tests of the promises": _promises,
    "mistakes": _mistakes,
}
