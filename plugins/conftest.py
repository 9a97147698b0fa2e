"""The environment and fixtures of the core's tests, for the tests of packages and plugins."""

import sys
from pathlib import Path

TESTS = str(Path(__file__).resolve().parents[1] / "tests")
if TESTS not in sys.path:
    sys.path.insert(0, TESTS)

pytest_plugins = ["surroundings", "command_line", "browsers", "killing"]
