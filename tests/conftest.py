"""Shared by all tests: packages that are really installed, for the length of a test."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import settings

from corelm.plugins import registry

settings.register_profile("corelm", settings(), deadline=None)  # no test depends on the clock
settings.load_profile("corelm")

Install = Callable[..., Path]


@pytest.fixture
def installed_plugin(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Install]:
    """A function that installs a package of one module, found here and in subprocesses.

    `installed_plugin("corelm-nucleus", {"top_p": "corelm_nucleus"}, "...the module...")`
    """
    modules: list[str] = []

    def install(name: str, points: Mapping[str, str], code: str | bytes) -> Path:
        site = tmp_path_factory.mktemp("site")
        modules.append(name.replace("-", "_"))
        text = code.encode() if isinstance(code, str) else code
        (site / f"{modules[-1]}.py").write_bytes(text)
        metadata = site / f"{modules[-1]}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = ["[corelm]", *(f"{point} = {value}" for point, value in points.items()), ""]
        (metadata / "entry_points.txt").write_text("\n".join(lines))
        monkeypatch.syspath_prepend(str(site))
        inherited = [path for path in [os.environ.get("PYTHONPATH")] if path]
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), *inherited]))
        registry.cache_clear()
        return site

    yield install
    registry.cache_clear()
    for module in modules:
        sys.modules.pop(module, None)
