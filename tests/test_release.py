"""All packages of the repository are released together, with one version."""

from __future__ import annotations

import re
import runpy
import tomllib
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
VERSION: dict[str, Any] = runpy.run_path(str(ROOT / ".ci" / "version.py"))
NAMES = re.compile(r"(?:llm-)?corelm\b")


@pytest.mark.parametrize("file", VERSION["PROJECTS"], ids=lambda file: file.parent.name)
def test_a_project_has_the_version_and_takes_each_compatible_corelm(file: Path) -> None:
    project = tomllib.loads(file.read_text("utf-8"))["project"]
    assert project["version"] == VERSION["current"]()
    extras = project.get("optional-dependencies", {}).values()
    for requirement in [
        *project.get("dependencies", []),
        *(each for some in extras for each in some),
    ]:
        if NAMES.match(requirement):
            compatible = VERSION["compatible"](project["version"])
            assert requirement.endswith((compatible, "]")), requirement


@pytest.mark.parametrize("file", VERSION["PROJECTS"], ids=lambda file: file.parent.name)
def test_a_project_has_the_license_and_says_that_its_packages_have_types(file: Path) -> None:
    project = tomllib.loads(file.read_text("utf-8"))["project"]
    assert project["license-files"] == ["LICENSE"]
    license = (file.parent / "LICENSE").read_text("utf-8")
    assert license == (ROOT / "LICENSE").read_text("utf-8")
    packages = {init.parent for init in file.parent.glob("*corelm*/__init__.py")}
    assert [package.name for package in packages if not (package / "py.typed").exists()] == []


def test_setting_the_version_changes_it_wherever_it_stands() -> None:
    text = """version = "0.1.0"
dependencies = ["corelm>=0.1,<0.2", "corelm-serve>=0.1,<0.2", "numpy>=2.1"]
all = ["corelm[report,train]"]
"""
    for version, compatible in (
        ("0.2.1", ">=0.2,<0.3"),
        ("1.0.0rc1", ">=1.0.0rc1,<2"),
        ("1.3.0", ">=1.3,<2"),
    ):
        assert VERSION["with_version"](text, version) == (
            f'version = "{version}"\n'
            f'dependencies = ["corelm{compatible}", "corelm-serve{compatible}", "numpy>=2.1"]\n'
            'all = ["corelm[report,train]"]\n'
        )


def test_the_recipe_for_conda_has_the_version_and_the_dependencies_of_the_project() -> None:
    document = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    recipe = yaml.safe_load((ROOT / ".ci" / "conda" / "recipe.yaml").read_text("utf-8"))
    needs = {
        "host": ["python", "pip", *document["build-system"]["requires"]],
        "run": ["python", *document["project"]["dependencies"]],
    }
    assert recipe["context"]["version"] == VERSION["current"]()
    for key, requirements in needs.items():
        assert [each.replace(" ", "") for each in recipe["requirements"][key]] == requirements


def test_every_requirement_of_developers_is_pinned_to_versions_that_it_allows() -> None:
    """`.ci/pins` writes them anew."""
    document = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    several = document["project"]["optional-dependencies"] | document["dependency-groups"]
    names = ("report", "train", "dask", "parquet", "test", "dev", "docs")
    lines = (ROOT / ".ci" / "pins.txt").read_text("utf-8").splitlines()
    pins = defaultdict(list)
    for pin in map(Requirement, lines):
        pins[canonicalize_name(pin.name)] += [each.version for each in pin.specifier]
    needs = [*document["project"]["dependencies"], *(each for n in names for each in several[n])]
    for need in (Requirement(each) for each in needs if not NAMES.match(each)):
        pinned = pins[canonicalize_name(need.name)]
        assert {need.specifier.contains(each) for each in pinned} == {True}, f"{need}: {pinned}"


def test_free_threaded_python_can_build_the_source_distribution() -> None:
    """Before 3.15 it has no stable interface; setuptools refuses a project that asks for it."""
    project = tomllib.loads(VERSION["PROJECTS"][0].read_text("utf-8"))
    assert "bdist_wheel" not in project["tool"].get("distutils", {})
    [kernels] = project["tool"]["setuptools"]["ext-modules"]
    assert "Py_LIMITED_API" not in str(kernels.get("define-macros", ""))


def test_the_changelog_begins_with_the_version() -> None:
    headings = re.findall(r"^## (\S+) - ", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert headings[0] == VERSION["current"]()


@pytest.mark.packages
def test_the_wheel_names_every_package_of_its_folders() -> None:
    """They are listed by hand: the folder of the samplers has another name than their package."""
    tables = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    folders = {ROOT / folder: package for package, folder in tables["package-dir"].items()}
    folders[ROOT / "corelm"] = "corelm"
    found = set()
    for file in (file for folder in folders for file in folder.rglob("__init__.py")):
        home = next(folder for folder in file.parents if folder in folders)  # the innermost one
        found.add(".".join((folders[home], *file.parent.relative_to(home).parts)))
    folders_of_files = {"corelm.pages"}
    assert sorted(found | folders_of_files) == sorted(tables["packages"])


@pytest.mark.packages
def test_a_source_distribution_has_every_file_that_the_kernels_are_compiled_from() -> None:
    tables = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    [kernels] = tables["ext-modules"]
    folder = ROOT / "corelm" / "native" / "src"
    found = [str(file.relative_to(ROOT).as_posix()) for file in folder.rglob("*.*")]
    assert sorted(found) == sorted([*kernels["sources"], *kernels["depends"]])


@pytest.mark.packages
def test_the_areas_of_mutants_name_files_that_are_there() -> None:
    """A file that moved would be left out without a word."""
    areas = tomllib.loads((ROOT / ".ci" / "mutants.toml").read_text("utf-8"))
    missing = [
        pattern
        for area in areas.values()
        for key in ("mutate", "tests", "again")
        for pattern in area.get(key, ())
        if not pattern.startswith("--") and not _found(pattern)
    ]
    assert not missing


def _found(pattern: str) -> bool:
    pattern = pattern.replace("corelm_samplers/", "samplers/")  # as `.ci/mutants` lays them
    return any(ROOT.glob(pattern)) or any(ROOT.glob(f"plugins/*/{pattern}"))
