"""Who may import whom: the heart, its packages, samplers and plugins."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from public_names import names_in, public_modules

import corelm

ROOT = Path(corelm.__file__).parents[1]
MODULES = sorted((ROOT / "corelm").rglob("*.py"))
SAMPLERS = sorted((ROOT / "samplers").rglob("*.py"))
PLUGINS = [
    file
    for file in sorted((ROOT / "plugins").rglob("*.py"))
    if "tests" not in file.parts and not file.name.startswith("test_") and "build" not in file.parts
]

PACKAGES: dict[str, set[str]] = {
    "corelm_bench": set(),
    "corelm_presets": set(),
    "corelm_stats": set(),
    "corelm_report": {"corelm_stats"},
    "corelm_pages": {"corelm_report", "corelm_stats"},
    "corelm_study": {"corelm_pages", "corelm_report", "corelm_stats"},
    "corelm_train": {"corelm_stats"},
}
"""The packages in corelm's wheel, each with the other packages that it may import."""

LAYERS = (
    {"atomic_files", "bounded_calls", "errors", "lazy", "machine", "native", "numerics", "text"},
    {"contracts", "filters"},
    {"abilities", "tokens"},
    {"decoding"},
    {"registry"},
    {"generation", "questions"},
    {"models", "scaling"},
    {"testing"},
    {"bundles", "interop", "runs"},
    {"cli", "commands"},
)  # fmt: skip
"""The rooms of the heart; one imports those of its own layer and of the layers before it."""

START = {"__main__", ""}
"""The package itself, and the start of the command line."""

PUBLIC = {path: {*names_in(module)} for path, module in public_modules()}

SHELL, KERAS = {"typer", "rich"}, {"keras", "tensorflow"}
KERAS_AT_THE_TOP = {
    "corelm_train.keras_layers",
    "corelm_train.callbacks",
    "corelm_train.devices",
    "corelm_train.learning",
    "corelm_train.run",
}
"""Modules that import Keras: themselves imported only where a command needs them."""
KERAS_ARRAYS = "corelm.numerics.keras_arrays"
KERAS_HUB, TRAIN = "plugins.corelm-keras-hub.", "plugins.corelm-train."


@dataclass(frozen=True)
class Import:
    """One import: the module, the names out of it, whether it runs with the file."""

    module: str
    names: tuple[str, ...]
    at_the_top: bool

    @property
    def package(self) -> str:
        return self.module.split(".")[0]


@cache
def imports_of(file: Path) -> list[Import]:
    """Return the imports of a file that run, at its top or in its functions."""
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


KNOWN = {module_of(file) for file in MODULES}


def modules_imported(imported: Import) -> set[str]:
    """Return the modules of corelm that an import names, as `from corelm import native` does."""
    inside = {f"{imported.module}.{name}" for name in imported.names} & KNOWN
    return inside or {imported.module}


def room_of(module: str) -> str:
    """Return the room of a module: the part after `corelm`."""
    return f"{module}.".split(".")[1]


def layer_of(module: str) -> int:
    return next(i for i, rooms in enumerate(LAYERS) if room_of(module) in rooms)


def of_corelm(file: Path) -> Iterator[tuple[str, Import]]:
    """Yield the imports of modules of corelm, each with the module."""
    for imported in imports_of(file):
        if imported.package == "corelm":
            for module in modules_imported(imported):
                yield module, imported


def is_public(imported: Import) -> bool:
    return imported.module in PUBLIC and {*imported.names} <= PUBLIC[imported.module]


def private_attributes(file: Path) -> Iterator[str]:
    """Yield the attributes of public modules that a file uses and that the module doesn't list."""
    rooms = {
        name: f"{imported.module}.{name}"
        for imported in imports_of(file)
        for name in imported.names
        if f"{imported.module}.{name}" in PUBLIC
    }
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            room = rooms.get(node.value.id)
            if room and node.attr not in PUBLIC[room]:
                yield f"{room}.{node.attr}"


def in_the_heart(file: Path) -> bool:
    return room_of(module_of(file)) not in START


def test_every_room_of_the_heart_has_a_layer():
    assert {room_of(module_of(file)) for file in MODULES} == set().union(*LAYERS) | START


def test_the_heart_imports_downwards_and_no_package():
    for file in filter(in_the_heart, MODULES):
        mine = module_of(file)
        for module, _ in of_corelm(file):
            assert module != "corelm", f"{mine} imports corelm, not a module of it"
            assert layer_of(module) <= layer_of(mine), f"{mine} imports {module}"


def named(file: Path) -> str:
    """Return the name by which a file is imported, wherever in the repository it lies."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    if parts[0] == "samplers":
        parts = ("corelm_samplers", *parts[1:])
    return ".".join(part for part in parts[2 * (parts[0] == "plugins") :] if part != "__init__")


def graph_of(files: Iterable[Path]) -> dict[str, set[str]]:
    """Return the modules that each module imports, at its top or in its functions."""
    modules = {named(file): file for file in files}
    graph: dict[str, set[str]] = {}
    for module, file in modules.items():
        graph[module] = set()
        for imported in imports_of(file):
            inside = {f"{imported.module}.{name}" for name in imported.names} & modules.keys()
            graph[module] |= (inside or {imported.module} & modules.keys()) - {module}
    return graph


def test_no_modules_import_each_other_in_a_circle():
    """Late imports count: a circle that they hide can only be understood as one piece."""
    TopologicalSorter(graph_of([*MODULES, *SAMPLERS, *PLUGINS])).prepare()


def test_packages_import_public_names_and_the_packages_that_they_build_on():
    for package, others in PACKAGES.items():
        files = [*ROOT.glob(f"plugins/*/{package}/**/*.py")]
        assert files, package
        for file in files:
            for imported in imports_of(file):
                if imported.package.startswith("corelm_"):
                    assert imported.package in {package, *others}, f"{file}: {imported.module}"


ROOMS_OF_A_REPORT: dict[str, set[str]] = {
    "corelm_report/document": set(),
    "corelm_report/plan": {"document", "settings"},
    "corelm_report/measure": {"document", "plan", "settings"},
    "corelm_pages": {"document"},
}
"""The rooms of `corelm_report`, and the pages, each with the other rooms that it may import."""


def rooms_imported(file: Path, package: str) -> set[str]:
    """Return the rooms of a package that a file imports."""
    found = {
        f"{imported.module}.{name}".split(".")[1]
        for imported in imports_of(file)
        if imported.package == package
        for name in imported.names or ("",)
    }
    return found - {""}


@pytest.mark.packages
def test_the_rooms_of_a_report_import_downwards():
    for room, others in ROOMS_OF_A_REPORT.items():
        files = [*(ROOT / "plugins/corelm-report" / room).rglob("*.py")]
        assert files, room
        for file in files:
            allowed = {room.rpartition("/")[2], *others}
            assert rooms_imported(file, "corelm_report") <= allowed, file


def test_samplers_and_plugins_import_public_names_alone():
    for file in [*SAMPLERS, *PLUGINS]:
        for imported in imports_of(file):
            if imported.package == "corelm":
                assert is_public(imported), f"{file} imports {imported.names} of {imported.module}"
        assert not [*private_attributes(file)], file


def test_the_core_imports_no_sampler_and_no_plugin():
    for file in [*MODULES, *SAMPLERS]:
        allowed = ("corelm_samplers",) if file in SAMPLERS else ()  # such as a default of phase
        for imported in imports_of(file):
            package = imported.package
            assert not package.startswith("corelm_") or package in allowed, imported.module


def test_typer_and_rich_are_imported_only_by_commands():
    for file in [*MODULES, *SAMPLERS, *PLUGINS]:
        packages = {imported.package for imported in imports_of(file)}
        assert "click" not in packages, "Typer brings its own and shows none of it"
        if "cli" not in file.parts and file.name != "commands.py":
            assert not packages & SHELL, f"{file} writes to a terminal"


def test_keras_is_imported_only_where_a_command_needs_it():
    for file in [*MODULES, *SAMPLERS, *PLUGINS]:
        module = module_of(file)
        own = module.removeprefix(TRAIN)
        for imported in imports_of(file):
            if imported.package in KERAS:
                assert module.startswith((TRAIN, KERAS_HUB)) or module == KERAS_ARRAYS, module
                presets = f"{KERAS_HUB}corelm_keras_hub.presets"
                late = module.startswith(KERAS_HUB) and module != presets
                assert own in KERAS_AT_THE_TOP or late or not imported.at_the_top, module
            if imported.module in KERAS_AT_THE_TOP and imported.at_the_top:
                assert own in KERAS_AT_THE_TOP, f"{module} imports {imported.module} at its top"


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
    assert not is_public(Import("corelm", ("lazy",), True))
    of_a_report = tmp_path / "of_a_report.py"
    of_a_report.write_text(
        "from corelm_report import plan\ndef f():\n    from corelm_report.measure import run\n"
    )
    assert rooms_imported(of_a_report, "corelm_report") == {"plan", "measure"}
    other = tmp_path / "other.py"
    other.write_text("from corelm.runs import printable\nprintable.shown(printable.MOST_NAMES)\n")
    assert [*private_attributes(other)] == ["corelm.runs.printable.MOST_NAMES"]
    assert layer_of("corelm.decoding.state") < layer_of("corelm.registry.registry")


def test_a_circle_of_late_imports_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    one, other = tmp_path / "one.py", tmp_path / "other.py"
    one.write_text("import other\n")
    other.write_text("def late():\n    from one import name\n")
    with pytest.raises(CycleError):
        TopologicalSorter(graph_of([one, other])).prepare()
