"""Write the reference pages from the docstrings, as plain Markdown that reads well unbuilt.

    python docs/scripts/reference.py            write what the docstrings say into the pages
    python docs/scripts/reference.py --check    fail where a page says something else

A page holds the text around the entries. Each entry is between two comments:

    <!-- api: corelm.Context -->                       a class with its public members
    <!-- api: corelm.Sampler members=__call__,stages -->       with these members only
    <!-- api: corelm.Chain members= -->                        without members
    <!-- end api -->
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, get_overloads

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # pages on Keras import TensorFlow

DOCS = Path(__file__).resolve().parents[1]
ENTRY = re.compile(
    r"^<!-- api: (?P<name>[\w.]+)(?: members=(?P<members>[\w,]*))? -->\n(?P<text>.*?)"
    r"^<!-- end api -->$",
    re.MULTILINE | re.DOTALL,
)
SECTION = re.compile(
    r"^(Args|Attributes|Returns|Yields|Raises|Examples?|Source|Related|Note):[ \t]*(.*)$"
)
ITEM = re.compile(r"^(\*{0,2}\w+(?:, \*{0,2}\w+)*): (.*)$", re.DOTALL)
TITLES = {"Args": "Arguments", "Attributes": "Attributes", "Raises": "Raises"}
WIDTH = 88


def pages() -> list[Path]:
    """Return the pages that have entries."""
    return [page for page in sorted(DOCS.rglob("*.md")) if ENTRY.search(page.read_text("utf-8"))]


def rewritten(page: Path) -> str:
    """Return a page with the current text of its entries."""

    def entry(match: re.Match[str]) -> str:
        members = match["members"]
        chosen = None if members is None else [name for name in members.split(",") if name]
        listed = "" if members is None else f" members={members}"
        text = "\n".join(described(match["name"], chosen))
        return f"<!-- api: {match['name']}{listed} -->\n\n{text}\n\n<!-- end api -->"

    return ENTRY.sub(entry, page.read_text("utf-8"))


def entries(page: Path) -> list[str]:
    """Return the full names of the entries of a page."""
    return [match["name"] for match in ENTRY.finditer(page.read_text("utf-8"))]


def described(name: str, members: list[str] | None) -> Iterator[str]:
    """Yield the Markdown of one entry, block by block with empty lines between."""
    module, _, own = name.rpartition(".")
    thing = resolve_name(name)
    if inspect.isclass(thing):
        yield f"### class `{own}`"
        yield from _code(_class_signature(thing, name))
        yield from _text(inspect.getdoc(thing) or "", thing)
        yield from _fields(thing)
        yield from _members(thing, members)
    elif inspect.isroutine(inspect.unwrap(thing) if callable(thing) else thing):
        yield f"### `{own}()`"
        for signature in _signatures(thing, name):
            yield from _code(signature)
        yield from _text(inspect.getdoc(thing) or "", thing)
    else:
        yield f"### `{own}`"
        yield from _text(_constant_text(module, own), thing)


def _code(*lines: str, language: str = "python") -> Iterator[str]:
    yield from ("", f"```{language}", *lines, "```")


def _class_signature(cls: type, name: str) -> str:
    if "__init__" in vars(cls) and not dataclasses.is_dataclass(cls):
        return _call(f"class {name}", inspect.signature(cls))
    return f"class {name}"


def _fields(cls: type) -> Iterator[str]:
    """Yield the fields of a dataclass whose docstring has no section about them."""
    fields = dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ()
    shown = [field for field in fields if not field.name.startswith("_")]
    if shown and "Attributes:" not in (cls.__doc__ or ""):
        yield from ("", f"**{TITLES['Attributes']}**", "")
        comments = _attribute_texts(cls)
        for field in shown:
            text = _joined(comments[field.name][1]) if field.name in comments else ""
            kind = f"- `{field.name}` (`{_annotation(field.type)}`)"
            yield f"{kind}: {text}" if text else kind


def _signatures(function: Callable[..., Any], name: str) -> list[str]:
    """Return the signatures of a function: its overloads', if it has any."""
    variants = get_overloads(inspect.unwrap(function)) or [function]
    return [_call(name, inspect.signature(variant)) for variant in variants]


def _call(name: str, signature: inspect.Signature) -> str:
    """Return a signature on one line where it fits, else with one parameter a line."""
    shown = [_parameter(p) for p in signature.parameters.values() if p.name != "self"]
    shown = [part for part in shown if part]
    kinds = [p.kind for p in signature.parameters.values() if p.name != "self"]
    if inspect.Parameter.KEYWORD_ONLY in kinds and inspect.Parameter.VAR_POSITIONAL not in kinds:
        shown.insert(kinds.index(inspect.Parameter.KEYWORD_ONLY), "*")
    returned = signature.return_annotation
    arrow = "" if returned is inspect.Signature.empty else f" -> {_annotation(returned)}"
    line = f"{name}({', '.join(shown)}){arrow}"
    if len(line) <= WIDTH:
        return line
    return "\n".join([f"{name}(", *(f"    {part}," for part in shown), f"){arrow}"])


def _parameter(parameter: inspect.Parameter) -> str:
    prefix = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    text = prefix + parameter.name
    if parameter.annotation is not parameter.empty:
        text += f": {_annotation(parameter.annotation)}"
    if parameter.default is parameter.empty:
        return text
    default = "..." if repr(parameter.default).startswith("<") else repr(parameter.default)
    return f"{text} = {default}" if ":" in text else f"{text}={default}"


def _annotation(annotation: Any) -> str:
    if isinstance(annotation, str):
        return annotation
    return annotation.__name__ if inspect.isclass(annotation) else str(annotation)


def _members(cls: type, chosen: list[str] | None) -> Iterator[str]:
    documented = dict(_documented(cls))
    for name in documented if chosen is None else chosen:
        signature, text, thing = documented[name]
        call = "()" if inspect.isroutine(thing) and signature.startswith(f"{name}(") else ""
        yield f"\n#### `{cls.__name__}.{name}{call}`"
        yield from _code(signature)
        yield from _text(text, thing)


def _documented(cls: type) -> Iterator[tuple[str, tuple[str, str, Any]]]:
    """Yield the documented members of a class in the order of its source."""
    comments = _attribute_texts(cls)
    for name, member in vars(cls).items():
        function = getattr(member, "__func__", member)
        if name.startswith("_") and name != "__call__":
            continue
        getter = getattr(member, "fget", None) or getattr(member, "_function", None)
        if getter is not None:
            returned = inspect.signature(getter).return_annotation
            yield name, (f"{name}: {_annotation(returned)}", inspect.getdoc(getter) or "", getter)
        elif inspect.isfunction(function):
            signature = inspect.signature(getattr(cls, name))
            yield name, (_call(name, signature), inspect.getdoc(function) or "", function)
        elif name in comments:
            yield name, (comments[name][0], comments[name][1], member)


def _attribute_texts(cls: type) -> dict[str, tuple[str, str]]:
    """Return the declaration of each class attribute and the string below it."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(tree, ast.ClassDef)
    return dict(_declared(tree.body))


def _constant_text(module: str, name: str) -> str:
    """Return the string below a constant, in the module that it comes from."""
    for source in (sys.modules[module], *_imported_modules(module)):
        found = dict(_declared(ast.parse(inspect.getsource(source)).body))
        if name in found:
            return found[name][1]
    return ""


def _imported_modules(module: str) -> Iterator[Any]:
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield importlib.import_module(node.module)


def _declared(body: list[ast.stmt]) -> Iterator[tuple[str, tuple[str, str]]]:
    for statement, below in pairwise(body):
        if not (isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)):
            continue
        if isinstance(statement, ast.AnnAssign):
            name = ast.unparse(statement.target)
        elif isinstance(statement, ast.Assign):
            name = ast.unparse(statement.targets[0])
        else:
            continue
        yield name, (ast.unparse(statement), inspect.cleandoc(str(below.value.value)))


def _text(docstring: str, thing: Any) -> Iterator[str]:
    """Yield a docstring as Markdown."""
    title, argument, lines = "", "", []
    for line in [*docstring.splitlines(), "Note:"]:
        section = SECTION.match(line)
        if section is None:
            lines.append(line)
            continue
        yield from _section(title, "\n".join([argument, *lines]), thing)
        title, argument, lines = section[1], section[2], []


def _section(title: str, text: str, thing: Any) -> Iterator[str]:
    text = textwrap.dedent(text.strip("\n") if title == "" else text.lstrip("\n")).strip()
    if not text:
        return
    if title.startswith("Example"):
        yield from _code(text, language="pycon")
    elif title in TITLES:
        yield from ("", f"**{TITLES[title]}**", "")
        yield from (_item(item, title, thing) for item in re.split(r"\n(?=\S)", text))
    elif title:
        yield from ("", f"**{title}** {_joined(text)}")
    else:
        for paragraph in re.split(r"\n\n+", text):
            yield from ("", paragraph)


def _item(text: str, title: str, thing: Any) -> str:
    match = ITEM.match(text)
    if match is None:
        return f"- {_joined(text)}"
    kind = getattr(thing, "__annotations__", {}).get(match[1]) if title == "Attributes" else None
    names = ", ".join(f"`{name}`" for name in match[1].split(", "))
    return f"- {names}{f' (`{_annotation(kind)}`)' if kind else ''}: {_joined(match[2])}"


def _joined(text: str) -> str:
    return " ".join(line.strip() for line in text.splitlines())


def main() -> int:
    """Run the command line."""
    stale = [page for page in pages() if page.read_text("utf-8") != rewritten(page)]
    if "--check" in sys.argv:
        for page in stale:
            print(f"{page.name} is out of date; write it with: python docs/scripts/reference.py")
        return int(bool(stale))
    for page in stale:
        page.write_text(rewritten(page), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
