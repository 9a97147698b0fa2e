"""The modules of other tests that the targets use, and few plugins."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
import run

from corelm.registry.registry import registry

sys.path.extend(path for path in run.HELPERS if path not in sys.path)


@pytest.fixture(autouse=True, scope="module")
def _few_plugins() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CORELM_PLUGINS", run.PLUGINS)
        registry.cache_clear()
        yield
    registry.cache_clear()
