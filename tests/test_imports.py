"""Who may import whom: errors, then the contracts, then what is made of them, then the shell."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import corelm
import corelm.adapters

ROOT = Path(corelm.__file__).parents[1]
MODULES = sorted((ROOT / "corelm").rglob("*.py"))
SAMPLERS = sorted((ROOT / "samplers").rglob("*.py"))
PLUGINS = [
    file
    for file in sorted((ROOT / "plugins").rglob("*.py"))
    if "tests" not in file.parts and not file.name.startswith("test_") and "build" not in file.parts
]

RANKS = [
    {"caching", "docstrings", "errors", "machine", "metrics", "native", "printable"},
    {"param_values", "params", "language_model", "context", "numerics", "hookspecs", "metric"},
    {"filters", "sampler", "token_edits", "token_texts", "validation"},
    {"decoding"},
    {"decoder"},
    {"plugins"},
    {"settings"},
    {"generation"},
    {"adapters", "model"},
    {"testing"},
    {"engines"},
    {"text_files"},
    {"report"},
    {"cli"},
]
"""A module imports those of its own rank and of the ranks before it."""

ROOMS_OF_THE_REPORT = {"document": set(), "measure": {"document"}, "render": {"document"}}
"""The other rooms that each of them may import."""

KERAS = {"keras", "tensorflow"}
KERAS_AT_THE_TOP = {
    "corelm.model.keras_layers",
    "corelm.model.training.batches",
    "corelm.model.training.devices",
    "corelm.model.training.optimizers",
    "corelm.model.training.run",
    "corelm.model.training.scoring",
    "corelm.model.training.callbacks",
}
"""Modules that import Keras: themselves imported only where a command needs them."""

KERAS_ARRAYS = "corelm.numerics.keras_arrays"
"""The arrays of TensorFlow for the filters: it imports Keras when a filter meets one."""

KERAS_HUB = "plugins.corelm-keras-hub."
"""The adapter of KerasHub: what it offers by name is in a module without Keras."""

PUBLIC = {
    "corelm": set(corelm.__all__),
    "corelm.errors": {name for name in vars(corelm.errors) if name[0].isupper()},
    "corelm.adapters": set(corelm.adapters.__all__),
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
    """The modules of corelm that an import names, as `from corelm.model import corpus` does."""
    known = {module_of(file) for file in MODULES}
    inside = {f"{imported.module}.{name}" for name in imported.names} & known
    return inside or {imported.module}


def rank(module: str) -> int:
    part = module.removeprefix("corelm.")
    while part:
        for i, names in enumerate(RANKS):
            if part in names:
                return i
        part = part.rpartition(".")[0]
    raise LookupError(module)


def ids(file: Path) -> str:
    return str(file.relative_to(ROOT))


@pytest.mark.parametrize(
    "file", [f for f in MODULES if f.parent.name != "corelm" or "__" not in f.name], ids=ids
)
def test_a_module_imports_nothing_of_a_higher_rank(file):
    mine = rank(module_of(file))
    for imported in imports_of(file):
        for module in modules_imported(imported):
            assert module != "corelm", "the core imports its own modules, not its public names"
            if imported.package == "corelm":
                assert rank(module) <= mine, f"{module_of(file)} imports {module}"


def test_every_module_has_a_rank():
    parts = {module_of(file).split(".")[1] for file in MODULES if module_of(file) != "corelm"}
    assert parts - {"__main__"} <= set().union(*RANKS)


REPORT = ROOT / "corelm" / "report"


@pytest.mark.parametrize(
    "file",
    [file for room in ROOMS_OF_THE_REPORT for file in (REPORT / room).rglob("*.py")],
    ids=ids,
)
def test_the_rooms_of_the_report_import_the_document_alone(file):
    room = file.relative_to(REPORT).parts[0]
    allowed = {room, *ROOMS_OF_THE_REPORT[room]}
    for imported in imports_of(file):
        for module in modules_imported(imported):
            if module.startswith("corelm.report"):
                assert f"{module}.".split(".")[2] in allowed, f"{room} imports {module}"


def test_the_package_itself_imports_neither_kit_nor_report_nor_shell():
    imported = imports_of(ROOT / "corelm" / "__init__.py")
    own = {module for i in imported if i.package == "corelm" for module in modules_imported(i)}
    assert max(map(rank, own)) <= rank("corelm.model")


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
            own = module.startswith(("corelm.model.", KERAS_HUB)) or module == KERAS_ARRAYS
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
        "class A:\n    def f(self):\n        from corelm.model import corpus\n"
    )
    assert imports_of(file) == [
        Import("typing", ("TYPE_CHECKING",), True),
        Import("rich.text", (), True),
        Import("corelm.model", ("corpus",), False),
    ]
    assert modules_imported(imports_of(file)[-1]) == {"corelm.model.corpus"}
