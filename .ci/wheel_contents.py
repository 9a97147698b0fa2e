"""Compare what wheels hold with what git knows: python .ci/wheel_contents.py WHEEL...

A wheel holds each file of its packages and modules, and nothing else. Tests, sources in C and the
files around a package stay outside.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[1]
BUILT = (".so", ".pyd", ".wasm")
"""Files that a build makes."""
SOURCES = "corelm/native/src/"


def main(wheels: Iterable[str]) -> int:
    """Print what is missing or too much in each wheel; return 1 if there is anything."""
    failed = 0
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if ".dist-info/" not in name]
        held = {name for name in names if not name.endswith(BUILT)}
        expected = set(_expected(_project_of(Path(wheel))))
        for name in sorted(expected - held):
            print(f"{Path(wheel).name} lacks {name}")
        for name in sorted(held - expected):
            print(f"{Path(wheel).name} has {name}, which git does not know")
        failed |= held != expected
        print(f"{Path(wheel).name}: {len(held)} files")
    return failed


def _project_of(wheel: Path) -> Path:
    """Return the folder of the project that a wheel is built from."""
    name = wheel.name.split("-")[0].replace("_", "-")
    return ROOT if name == "corelm" else ROOT / "plugins" / name


def _expected(project: Path) -> Iterator[str]:
    """Yield the names of the files that a project's wheel should hold."""
    tables = tomllib.loads((project / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    mapped = {folder: package for package, folder in tables.get("package-dir", {}).items()}
    for file in _tracked(project):
        name = _name_in_wheel(file, mapped)
        if name is not None:
            yield name


def _name_in_wheel(file: str, mapped: dict[str, str]) -> str | None:
    """Return the name of a tracked file in its project's wheel; None if it stays outside."""
    for folder in sorted(mapped, key=len, reverse=True):
        if file.startswith(f"{folder}/"):
            return f"{mapped[folder]}{file.removeprefix(folder)}"
    top = PurePosixPath(file).parts[0]
    is_module = top.startswith(("corelm", "llm_corelm"))
    return file if is_module and not file.startswith(SOURCES) and not file.endswith(".md") else None


def _tracked(project: Path) -> list[str]:
    done = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"],
        cwd=project, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [name for name in done.stdout.split("\0") if name]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
