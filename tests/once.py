"""For `.ci/run`: tests that passed without the engines don't run again with them.

A pytest plugin that acts if `CORELM_PASSED` names a file: it skips the tests listed there, and adds
the tests that pass.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

PASSED = Path(os.environ["CORELM_PASSED"])
REPEATED = (
    *("tests/cli/test_cli_app", "tests/cli/test_cli_completion", "tests/cli/test_cli_models"),
    *("tests/cli/test_cli_plugins", "tests/cli/test_cli_process"),
    *(
        "tests/registry/test_entry_points",
        "tests/registry/test_models",
        "tests/registry/test_registry",
    ),
    *("tests/test_docs.py", "tests/questions/test_portability.py", "tests/test_public_names.py"),
)
"""Beginnings of tests that list the installed plugins, commands or models, or that look at what an
import loads: they are run in each environment."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what has passed."""
    passed = frozenset(PASSED.read_text("utf-8").splitlines()) if PASSED.exists() else frozenset()
    again = [item for item in items if item.nodeid in passed]
    config.hook.pytest_deselected(items=again)
    items[:] = [item for item in items if item.nodeid not in passed]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Record what has passed."""
    if hasattr(config, "workerinput"):  # a worker's summary; the main process has all of them
        return
    passed = {report.nodeid for report in terminalreporter.getreports("passed")}
    others = {report.nodeid for report in terminalreporter.getreports("error")}
    with PASSED.open("a", encoding="utf-8") as file:
        for name in sorted(passed - others):
            if not name.startswith(REPEATED):
                file.write(f"{name}\n")
