"""The page as one HTML file, with a small model and the kernels: no server and no network."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from corelm.errors import UsageError
from corelm.interop import network_file
from corelm.runs import NamedModel
from corelm_serve.play.answers import samplers
from corelm_serve.play.files import contents
from corelm_serve.service import ServedModel

CODES = ("relaxed", "exact")
"""The kernels in WebAssembly, with the processor's fused operations and without. `.ci/page_code`
compiles them; a wheel has them."""
POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; worker-src blob:; "
    "script-src 'unsafe-inline' 'wasm-unsafe-eval' blob:"
)
"""Nothing is loaded from anywhere, whatever a link holds."""
IMPORT = re.compile(r'^import (\{[^}]*\}) from "\./(\w+)\.js";\n', re.MULTILINE)
EXPORT = re.compile(r"^export ((?:async )?(?:const|function|class) (\w+))", re.MULTILINE)
OF_SERVER = re.compile(r'^<(?:link rel="stylesheet"|script) .*\n', re.MULTILINE)


def one_file(name: str, model: Any, state: Mapping[str, Any]) -> str:
    """Return the page with a model, which a browser opens from a disk.

    Args:
        name: the name of the model, which links have.
        model: one of corelm's own networks.
        state: the state that it opens with, as in a link.

    Raises:
        UsageError: another kind of model, or an installation without the compiled kernels.
    """
    codes = {each: _local().joinpath(f"{each}.wasm") for each in CODES}
    if not all(code.is_file() for code in codes.values()):
        raise UsageError(
            "this installation has no kernels for a page of one file; a wheel of corelm-serve has "
            "them, and .ci/page_code compiles them in a checkout"
        )
    network, weights = network_file(model)
    served = samplers({name: ServedModel(name, model)})
    data = {
        "start": served | {"decoders": [], "role": None},
        "model": name,
        "human": NamedModel(model).human_surprisal,
        "vocabulary": model.vocabulary.dumps(),
        "style": model.vocabulary.style,
        "network": network,
    }
    shared, page, local = _scripts()
    parts = [
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        *(f"<style>\n{contents()[each].decode()}</style>" for each in ("shared.css", "play.css")),
        _part("about", json.dumps({"first": dict(state)})),
        _part("worker", _bundle("worker", local)),
        _part("data", _packed(json.dumps(data).encode())),
        _part("weights", _packed(weights)),
        *(_part(each, _packed(code.read_bytes())) for each, code in codes.items()),
        f"<script>\n{shared}</script>",
        f'<script type="module">\n{_bundle("main", page)}</script>',
    ]
    html = OF_SERVER.sub("", contents()["index.html"].decode())
    return html.replace("</head>", "\n".join([*parts, "</head>"]), 1)


def _bundle(first: str, modules: Mapping[str, str]) -> str:
    """Return modules as one script, which loads nothing; they import each other in no circle."""
    order = dict.fromkeys(_with_imported(first, modules))
    return "\n".join(['"use strict";', *(_as_object(each, modules[each]) for each in order)])


def _with_imported(name: str, modules: Mapping[str, str]) -> Iterator[str]:
    """Yield the modules that one imports, and then itself."""
    for match in IMPORT.finditer(modules[name]):
        yield from _with_imported(match[2], modules)
    yield name


def _as_object(name: str, source: str) -> str:
    """Return a module as a constant that has what it exports."""
    exported = ", ".join(match[2] for match in EXPORT.finditer(source))
    body = IMPORT.sub(lambda it: f"const {it[1].replace(' as ', ': ')} = m_{it[2]};\n", source)
    body = EXPORT.sub(r"\1", body)
    return f"const m_{name} = (() => {{\n{body}return {{ {exported} }};\n}})();"


def _local() -> Traversable:
    return files("corelm_serve.play").joinpath("local")


def _scripts() -> tuple[str, dict[str, str], dict[str, str]]:
    """Return the script that all pages share, the modules of the page, and those of its worker."""
    local = {each.name: each.read_bytes() for each in _local().iterdir()}
    page, worker = (
        {name.removesuffix(".js"): each[name].decode() for name in each if name.endswith(".js")}
        for each in (contents(), local)
    )
    return page.pop("shared"), page | {"server": worker.pop("server")}, worker


def _part(name: str, text: str) -> str:
    """Return a part of the file that a script reads; no text ends it."""
    inside = text.replace("</", r"<\/")
    return f'<script type="text/plain" id="part-{name}">{inside}</script>'


def _packed(content: bytes) -> str:
    return base64.b64encode(gzip.compress(content, mtime=0)).decode()
