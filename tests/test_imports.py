"""Who may import whom: errors, then the contracts, then what is made of them, then the shell."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import corelm
import corelm.interop

ROOT = Path(corelm.__file__).parents[1]
MODULES = sorted((ROOT / "corelm").rglob("*.py"))
SAMPLERS = sorted((ROOT / "samplers").rglob("*.py"))
PLUGINS = [
    file
    for file in sorted((ROOT / "plugins").rglob("*.py"))
    if "tests" not in file.parts and not file.name.startswith("test_") and "build" not in file.parts
]

KERAS = {"keras", "tensorflow"}
KERAS_AT_THE_TOP = {
    "corelm.models.keras_layers",
    "corelm.training.batches",
    "corelm.training.devices",
    "corelm.training.optimizers",
    "corelm.training.run",
    "corelm.training.scoring",
    "corelm.training.callbacks",
}
"""Modules that import Keras: themselves imported only where a command needs them."""

KERAS_ARRAYS = "corelm.numerics.keras_arrays"
"""The arrays of TensorFlow for the filters: it imports Keras when a filter meets one."""

KERAS_HUB = "plugins.corelm-keras-hub."
"""The adapter of KerasHub: what it offers by name is in a module without Keras."""

PUBLIC = {
    "corelm": set(corelm.__all__),
    "corelm.errors": {name for name in vars(corelm.errors) if name[0].isupper()},
    "corelm.interop": set(corelm.interop.__all__),
    "corelm.filters": set(corelm.filters.__all__),
}

SHELL = {"typer", "rich"}


@dataclass(frozen=True)
class Import:
    """One import: the module, the names out of it, whether it runs with the file."""

    module: str
    names: tuple[str, ...]
    at_the_top: bool

    @property
    def package(self) -> str:
        return self.module.split(".")[0]


def imports_of(file: Path) -> list[Import]:
    """The imports of a file that run, at its top or in its functions."""
    return list(_imports(ast.parse(file.read_text(encoding="utf-8")), at_the_top=True))


def _imports(node: ast.AST, at_the_top: bool) -> Iterator[Import]:
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
        return
    if isinstance(node, ast.Import):
        yield from (Import(alias.name, (), at_the_top) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        names = tuple(alias.name for alias in node.names)
        yield Import(node.module or "", names, at_the_top)
    inside = at_the_top and not isinstance(
        node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    )
    for child in ast.iter_child_nodes(node):
        yield from _imports(child, inside)


def module_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def modules_imported(imported: Import) -> set[str]:
    """The modules of corelm that an import names, as `from corelm.models import corpus` does."""
    known = {module_of(file) for file in MODULES}
    inside = {f"{imported.module}.{name}" for name in imported.names} & known
    return inside or {imported.module}


def ids(file: Path) -> str:
    return str(file.relative_to(ROOT))


@pytest.mark.parametrize("file", [*MODULES, *SAMPLERS], ids=ids)
def test_the_core_imports_no_sampler_and_no_plugin(file):
    allowed = ("corelm_samplers",) if file in SAMPLERS else ()  # such as a default of phase
    for imported in imports_of(file):
        package = imported.package
        assert not package.startswith("corelm_") or package in allowed, imported.module


@pytest.mark.parametrize("file", [*MODULES, *SAMPLERS, *PLUGINS], ids=ids)
def test_typer_and_rich_are_imported_only_by_the_command_line(file):
    packages = {imported.package for imported in imports_of(file)}
    assert "click" not in packages, "Typer brings its own and shows none of it"
    if "cli" not in file.parts and file.name != "commands.py":  # of a plugin that adds some
        assert not packages & SHELL


@pytest.mark.parametrize("file", [*MODULES, *SAMPLERS, *PLUGINS], ids=ids)
def test_keras_is_imported_only_where_a_command_needs_it(file):
    module = module_of(file)
    for imported in imports_of(file):
        if imported.package in KERAS:
            own = module.startswith(("corelm.models.", KERAS_HUB)) or module == KERAS_ARRAYS
            assert own, f"{module} imports {imported.module}"
            late = module.startswith(KERAS_HUB) and module != f"{KERAS_HUB}corelm_keras_hub.presets"
            assert module in KERAS_AT_THE_TOP or late or not imported.at_the_top
        if modules_imported(imported) & KERAS_AT_THE_TOP and imported.at_the_top:
            assert module in KERAS_AT_THE_TOP, f"{module} imports {imported.module} at its top"


@pytest.mark.parametrize("file", [*SAMPLERS, *PLUGINS], ids=ids)
def test_samplers_and_plugins_import_public_names_alone(file):
    for imported in imports_of(file):
        if imported.package == "corelm":
            assert imported.module in PUBLIC, f"{imported.module} is not public"
            assert set(imported.names) <= PUBLIC[imported.module]


def test_the_rules_see_what_they_forbid(tmp_path):
    file = tmp_path / "example.py"
    file.write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import keras\n"
        "try:\n    import rich.text\nexcept ImportError:\n    pass\n"
        "class A:\n    def f(self):\n        from corelm.models import corpus\n"
    )
    assert imports_of(file) == [
        Import("typing", ("TYPE_CHECKING",), True),
        Import("rich.text", (), True),
        Import("corelm.models", ("corpus",), False),
    ]
    assert modules_imported(imports_of(file)[-1]) == {"corelm.models.corpus"}
