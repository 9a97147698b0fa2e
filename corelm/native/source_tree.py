"""A note if corelm is imported from a clone by accident, instead of from the installed package."""

from __future__ import annotations

import json
import re
import sys
from contextlib import suppress
from pathlib import Path

OWN_PROJECT = re.compile(r'^name = "corelm"$', re.MULTILINE)


def note_source_tree(root: Path) -> None:
    """Note on standard error that a clone without kernels was imported.

    Python looks in the current folder first, so in a clone it finds the sources before an installed
    corelm: the kernels are missing, and files missing from the wheel go unnoticed.

    Args:
        root: the folder with the package `corelm`.
    """
    with suppress(OSError, ValueError):
        project = (root / "pyproject.toml").read_text("utf-8")
        if OWN_PROJECT.search(project) and not _is_installed_from(root):
            sys.stderr.write(
                f"note: corelm is imported from its sources in {root}, without its kernels, so it "
                f"is several times slower; start Python elsewhere, or install it: pip install -e "
                f"{root}\n"
            )


def _is_installed_from(root: Path) -> bool:
    """Return True for an editable installation, which has no kernels without a compiler."""
    from importlib import metadata  # late: it takes 13 ms

    for each in metadata.distributions(name="corelm"):
        installed = json.loads(each.read_text("direct_url.json") or "{}")
        if installed.get("dir_info", {}).get("editable") and installed["url"] == root.as_uri():
            return True
    return False
