"""The facts about this machine."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from corelm import machine


@pytest.fixture
def cpuinfo(monkeypatch):
    """Replace the file in which Linux describes the processor."""

    def replace(text):
        def read_text(path, encoding):
            if text is None:
                raise FileNotFoundError(path)
            return text

        monkeypatch.setattr(Path, "read_text", read_text)

    return replace


@pytest.mark.parametrize("text", [None, "processor\t: 0\n"])
def test_without_a_name_the_processor_is_what_the_system_says(cpuinfo, text):
    cpuinfo(text)
    assert machine._processor() == (platform.processor() or platform.machine())


def test_the_processor_has_its_name(cpuinfo):
    cpuinfo("model name\t: A 100 (tm)\nmodel name\t: B 200\n")
    assert machine._processor() == "A 100 (tm)"
