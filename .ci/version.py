"""Print the version of this repository, or set it: python .ci/version.py [VERSION]

All projects of the repository have one version, and a plugin needs exactly this corelm; but a few
are packaged as other authors would.
Setting it changes each pyproject.toml and the citation; the changelog is written by hand.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROJECTS = (ROOT / "pyproject.toml", *sorted(ROOT.glob("plugins/*/pyproject.toml")))
CITATION = ROOT / "docs" / "CITATION.cff"
OURS = re.compile(r'(?<=")((?:corelm|llm-corelm)(?:-[\w-]+)?(?:\[[\w,]+\])?)==[\w.]+(?=")')
"""The exact requirement of a package of this repository."""


def current() -> str:
    """Return the version of corelm."""
    project: dict[str, str] = tomllib.loads(PROJECTS[0].read_text("utf-8"))["project"]
    return project["version"]


def with_version(text: str, version: str) -> str:
    """Return the text of a pyproject.toml with this version, and this version required."""
    text = re.sub(
        r'^version = "[^"]+"$', f'version = "{version}"', text, count=1, flags=re.MULTILINE
    )
    return OURS.sub(rf"\1=={version}", text)


def main(words: list[str]) -> None:
    """Print or set the version."""
    if not words:
        print(current())
        return
    if not re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", words[0]):
        sys.exit(f"no version: {words[0]!r}; 1.2.3 and 1.2.3rc1 are")
    for file in PROJECTS:
        file.write_text(with_version(file.read_text("utf-8"), words[0]), encoding="utf-8")
    cited = re.sub(r"(?m)^version: .+$", f"version: {words[0]}", CITATION.read_text("utf-8"))
    CITATION.write_text(cited, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
