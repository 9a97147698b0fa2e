"""Leave only the heart in a pyproject.toml: python .ci/heart.py PYPROJECT

The other packages in corelm's wheel, and all that names one of them, are removed.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path


def main(file: Path) -> None:
    """Rewrite the file."""
    text = file.read_text("utf-8")
    packages = re.findall(r'^(corelm_\w+) = "plugins/', text, re.MULTILINE)
    named = re.compile(rf"\b({'|'.join(packages)})\b")
    build, _, tools = text.partition("[tool.ruff]")
    heart = [line for line in build.splitlines(keepends=True) if not named.search(line)]
    without = "".join(heart).replace('    "pyyaml>=6.0.1",', "    #", 1)
    file.write_text(f"{without}[tool.ruff]{tools}", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
