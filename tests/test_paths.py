"""The folder for models and data."""

from __future__ import annotations

from pathlib import Path

import platformdirs

from corelm.paths import home


def test_the_setting_decides(monkeypatch, tmp_path):
    monkeypatch.setenv("CORELM_HOME", str(tmp_path))
    assert home() == tmp_path


def test_without_the_setting_it_is_the_platforms_own_place(monkeypatch):
    monkeypatch.setattr(
        platformdirs, "user_data_path", lambda name, appauthor: Path("/data", name, str(appauthor))
    )
    monkeypatch.setenv("CORELM_HOME", "")
    assert home() == Path("/data/corelm/False")
    monkeypatch.delenv("CORELM_HOME")
    assert home() == Path("/data/corelm/False")
