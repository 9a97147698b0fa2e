"""The public names and their signatures are the recorded ones: a change is a decision.

`python tests/test_public_names.py` records them again, for a change that is meant. The page
docs/reference/stability.md says what else such a change needs.
"""

from __future__ import annotations

import ast
import inspect
import pkgutil
import re
import textwrap
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import pytest
from programs import python
from public_names import public_names

import corelm
import corelm.runs

RECORDED = Path(__file__).with_name("recorded_names.txt")
ROOT = Path(corelm.__file__).parents[1]

MOST = 187
"""Public names today. Take one away for a new one, or say in the commit why there is one more."""

FEW_USERS = {
    "corelm.API_VERSION": "a part of the contract of plugins",
    "corelm.EngineSettings": "what a function that users call returns",
    "corelm.interop.EngineDraw": "the argument of a function that users write",
    "corelm.interop.network_file": "the layers for the page of one file, which are the heart's",
    "corelm.interop.special_tokens": "a part of `vocabulary_of` that one adapter needs alone",
    "corelm.reweight_distribution": "a part of the contract: a sampler's work on probabilities",
    "corelm.runs.ModelRows": "the report's figures on compiled kernels, which are the heart's",
    "corelm.runs.plugins.Registry": "what `registry()` returns",
}
"""Public names with less than two users, each with the reason."""


def described() -> Iterator[str]:
    """Yield a line for each public name, and for each public member of a class."""
    for name, value in sorted(public_names().items()):
        yield f"{name}{signature(value)}"
        for member in members(value) if inspect.isclass(value) else ():
            yield f"    .{member}{signature(getattr(value, member, None))}"


def members(cls: type) -> list[str]:
    """Return the public members that a class of corelm defines or inherits from one of corelm's."""
    classes = [base for base in cls.__mro__ if base.__module__.startswith("corelm")]
    return sorted({name for each in classes for name in vars(each) if name[0] != "_"})


def signature(value: object) -> str:
    """Return the parameters of a function, a ? for a default; empty for other values."""
    if not inspect.isroutine(value) or not callable(value):
        return ""
    whole, empty = inspect.signature(value), inspect.Parameter.empty
    parameters = [
        each.replace(annotation=empty, default=empty if each.default is empty else ...)
        for each in whole.parameters.values()
    ]
    text = str(whole.replace(parameters=parameters, return_annotation=empty))
    return text.replace("=Ellipsis", "?")


@pytest.mark.packages
def test_the_public_names_are_the_recorded_ones() -> None:
    recorded = RECORDED.read_text("utf-8").splitlines()
    assert [*described()] == recorded, (
        "for a change that is meant: python tests/test_public_names.py"
    )
    assert len(public_names()) <= MOST


@pytest.mark.packages
def test_every_public_name_is_documented() -> None:
    for name, value in public_names().items():
        if inspect.isclass(value) or inspect.isroutine(value):
            text = inspect.getdoc(value) or ""
            assert not text.startswith(f"{value.__name__}("), f"{name}: dataclass's own"
            assert text.split("\n\n")[0].rstrip().endswith((".", ":")), f"{name}: not a sentence"
        is_function = inspect.isfunction(value) and re.fullmatch(r"corelm\.\w+", name)
        assert not is_function or ">>> " in text, f"{name} has no example"


def used_in(text: str) -> set[str]:
    """Return the dotted names of corelm in a program: imported, or attributes of an import."""
    tree = ast.parse(text)
    bound = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith("corelm.")
        for alias in node.names
    }
    bound.setdefault("corelm", "corelm")

    def dotted(node: ast.AST) -> str | None:
        if isinstance(node, ast.Name):
            return bound.get(node.id)
        value = dotted(node.value) if isinstance(node, ast.Attribute) else None
        return value and f"{value}.{node.attr}"

    attributes = (dotted(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute))
    return {*bound.values(), *filter(None, attributes)}


def users() -> dict[str, set[str]]:
    """Return the users of each dotted name: the heart, samplers, plugins; a page counts as two."""
    by_name: dict[str, set[str]] = defaultdict(set)
    for folder, depth in (("corelm", 1), ("samplers", 2), ("plugins", 2), ("tests/stranger", 2)):
        for file in (ROOT / folder).rglob("*.py"):
            parts = file.relative_to(ROOT).with_suffix("").parts
            is_test = "tests" in parts[2:] or parts[-1].startswith("test_")
            for name in used_in(file.read_text("utf-8")) if "build" not in parts else ():
                if not is_test or ".testing." in name:
                    by_name[name].add("/".join(parts[:depth]))
    for page in [*(ROOT / "docs" / "how-to").glob("*.md"), ROOT / "README.md"]:
        text = page.read_text("utf-8")
        names = {
            *re.findall(r"\bcorelm(?:\.\w+)+", text),
            *re.findall(r"`(\w+)(?:\(.*?\))?`", text),
        }
        for block in re.findall(r"```python[^\n]*\n(.*?)```", text, re.DOTALL):
            with suppress(SyntaxError):  # a session, or a part of a program
                names |= used_in(textwrap.dedent(block))
        for name in names:
            by_name[name] |= {"a page", "its readers"}
    return by_name


@pytest.mark.packages
def test_a_public_name_has_two_users_or_a_recorded_reason() -> None:
    by_name = users()
    few = set()
    for path, value in public_names().items():
        name = path.rpartition(".")[2]
        home = f"{getattr(value, '__module__', '')}.{name}"
        if len(by_name[path] | by_name[home] | by_name[name]) < 2 and not path.startswith(
            "corelm.errors."
        ):
            few.add(path)
    assert few == {*FEW_USERS}, "one user or none: make it private, or move it"


def test_no_module_has_the_name_of_a_public_function_or_class() -> None:
    """`import corelm.sampler` would bind one of both, depending on what was imported before."""
    modules = {module.name for module in pkgutil.iter_modules(corelm.__path__)}
    assert not modules & set(corelm.__all__)


INSIDE = """
from corelm import Sampler, param
class Inside(Sampler):
    inside: Sampler = param('greedy', 'another one')
    def __call__(self, logits, context): return logits
print(Inside(inside='temperature(t=0.5)'))"""
"""A program of one import, with a parameter that reads an expression."""

HEAVY = "{'keras', 'typer', 'rich', 'scipy', 'matplotlib', 'jinja2', 'corelm_report'}"


@pytest.mark.parametrize(
    ("program", "output"),
    [
        ("import corelm; print([m for m in sys.modules if 'corelm.' in m])", "['corelm.lazy']"),
        ("import corelm; print(corelm.errors.UsageError.__name__)", "UsageError"),
        ("from corelm import *; print(Sampler.__name__, 'plot' in dir())", "Sampler False"),
        (f"import corelm.testing as t; t.LAWS; print({HEAVY} & {{*sys.modules}})", "set()"),
        (INSIDE, "inside(inside=temperature(t=0.5))"),
    ],
)
def test_a_name_is_imported_on_first_use_and_nothing_more(program: str, output: str) -> None:
    done = python("-W", "error", "-c", f"import sys; {program}")
    assert (done.stdout, done.stderr) == (f"{output}\n", "")


@pytest.mark.parametrize("module", [corelm, corelm.runs], ids=lambda module: module.__name__)
def test_no_other_name_is_public(module: ModuleType) -> None:
    with pytest.raises(AttributeError, match=f"^module '{module.__name__}' has no attribute 'no'"):
        module.no  # noqa: B018
    assert {*module.__all__} <= {*dir(module)}


if __name__ == "__main__":
    RECORDED.write_text("".join(f"{line}\n" for line in described()), encoding="utf-8")
