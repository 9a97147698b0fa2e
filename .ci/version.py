"""Print the version of this repository, or set it: python .ci/version.py [VERSION]

All projects of the repository have one version. A plugin takes every corelm before the next
version that may change the public names: the next minor one until 1.0, then the next major one.
Setting it changes each pyproject.toml, the citation and the recipe for conda; the changelog is
written by hand.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROJECTS = (ROOT / "pyproject.toml", *sorted(ROOT.glob("plugins/*/pyproject.toml")))
OTHERS = (ROOT / "docs" / "CITATION.cff", ROOT / ".ci" / "conda" / "recipe.yaml")
OURS = re.compile(r'(?<=")((?:corelm|llm-corelm)(?:-[\w-]+)?(?:\[[\w,]+\])?)>=[\w.]+,<[\d.]+(?=")')
"""The requirement of a package of this repository."""


def current() -> str:
    """Return the version of corelm."""
    project: dict[str, str] = tomllib.loads(PROJECTS[0].read_text("utf-8"))["project"]
    return project["version"]


def compatible(version: str) -> str:
    """Return the versions that have the public names of this one, as a requirement says it."""
    major, minor, patch = version.split(".")
    lowest = f"{major}.{minor}" if patch.isdigit() else version  # which excludes a pre-release
    return f">={lowest},<" + (f"0.{int(minor) + 1}" if major == "0" else f"{int(major) + 1}")


def with_version(text: str, version: str) -> str:
    """Return the text of a pyproject.toml with this version, and this version required."""
    text = re.sub(
        r'^version = "[^"]+"$', f'version = "{version}"', text, count=1, flags=re.MULTILINE
    )
    return OURS.sub(rf"\g<1>{compatible(version)}", text)


def main(words: list[str]) -> None:
    """Print or set the version."""
    if not words:
        print(current())
        return
    if not re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", words[0]):
        sys.exit(f"no version: {words[0]!r}; 1.2.3 and 1.2.3rc1 are")
    for file in PROJECTS:
        file.write_text(with_version(file.read_text("utf-8"), words[0]), encoding="utf-8")
    for file in OTHERS:
        text = re.sub(r"(?m)^( *version:) \d.*$", rf"\1 {words[0]}", file.read_text("utf-8"))
        file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
