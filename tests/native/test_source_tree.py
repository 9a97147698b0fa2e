"""Python that is started in a clone imports the sources, which have no kernels, and says so."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from programs import python

import corelm

IMPORT = "import corelm.native; print(corelm.__file__); print(corelm.native.kernels is not None)"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with the sources, as git has them."""
    compiled = shutil.ignore_patterns("*.so", "*.pyd", "__pycache__", "pretrained", "*.o")
    shutil.copytree(Path(corelm.__file__).parent, tmp_path / "corelm", ignore=compiled)
    shutil.copy(Path(__file__).parents[2] / "pyproject.toml", tmp_path)
    return tmp_path


def imported(folder: Path, **environment: str) -> tuple[list[str], str]:
    """Import corelm in this folder; return what was imported, and standard error."""
    done = python("-c", IMPORT, cwd=folder, env=environment, check=True)
    return done.stdout.splitlines(), done.stderr


def test_sources_without_kernels_are_noted_once(clone):
    (file, kernels), note = imported(clone)
    assert (file, kernels) == (str(clone / "corelm" / "__init__.py"), "False")
    assert note == (
        f"note: corelm is imported from its sources in {clone}, without its kernels, so it is "
        f"several times slower; start Python elsewhere, or install it: pip install -e {clone}\n"
    )


@pytest.mark.parametrize("project", [None, '[project]\nname = "another"\n'])
def test_a_package_without_its_project_is_no_clone(clone, project):
    (clone / "pyproject.toml").unlink()
    if project:
        (clone / "pyproject.toml").write_text(project)
    assert imported(clone)[1] == ""


def test_who_asked_for_no_kernels_gets_no_note(clone):
    assert imported(clone, CORELM_KERNELS="0")[1] == ""


def test_an_editable_installation_without_a_compiler_gets_no_note(clone):
    site = clone / "site" / "corelm-0.1.0.dist-info"
    site.mkdir(parents=True)
    (site / "METADATA").write_text("Metadata-Version: 2.1\nName: corelm\nVersion: 0.1.0\n")
    url = f'{{"dir_info": {{"editable": true}}, "url": "{clone.as_uri()}"}}'
    (site / "direct_url.json").write_text(url)
    assert imported(clone, PYTHONPATH=str(site.parent))[1] == ""
