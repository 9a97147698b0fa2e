"""The modules of other tests that the targets use, and few plugins.

The targets are in every package of corelm's wheel, so the heart alone does without them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
import run
from tiers import missing_packages

from corelm.runs import plugins

collect_ignore = ["test_fuzz.py"] if missing_packages() else []

sys.path.extend(path for path in run.HELPERS if path not in sys.path)


@pytest.fixture(autouse=True, scope="module")
def _few_plugins() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CORELM_PLUGINS", run.PLUGINS)
        plugins.registry.cache_clear()
        yield
    plugins.registry.cache_clear()
