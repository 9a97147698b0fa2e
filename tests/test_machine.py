"""The facts about this machine, the folder for models and data, and files to read."""

from __future__ import annotations

import os
import platform
import threading
from functools import partial
from pathlib import Path

import platformdirs
import pytest

import corelm
from corelm import CorelmError
from corelm.bundles import Corpus
from corelm.commands import read_text
from corelm.runs import machine

pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")


@pytest.mark.parametrize("text", [None, "processor\t: 0\n"])
def test_without_a_name_the_processor_is_what_the_system_says(cpuinfo, text):
    cpuinfo(text)
    assert machine._processor() == (platform.processor() or platform.machine())


def test_the_processor_has_its_name(cpuinfo):
    cpuinfo("model name\t: A 100 (tm)\nmodel name\t: B 200\n")
    assert machine._processor() == "A 100 (tm)"


def test_the_setting_decides(monkeypatch, tmp_path):
    monkeypatch.setenv("CORELM_HOME", str(tmp_path))
    assert machine.home() == tmp_path


def test_without_the_setting_it_is_the_platforms_own_place(monkeypatch):
    monkeypatch.setattr(
        platformdirs, "user_data_path", lambda name, appauthor: Path("/data", name, str(appauthor))
    )
    monkeypatch.setenv("CORELM_HOME", "")
    assert machine.home() == Path("/data/corelm/False")
    monkeypatch.delenv("CORELM_HOME")
    assert machine.home() == Path("/data/corelm/False")


@pipes
def test_a_pipe_is_read_to_its_end(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(b"a\n" * 100_000,))
    writer.start()
    with machine.open_input(tmp_path / "pipe") as file:
        assert file.read() == b"a\n" * 100_000
    writer.join()


FROM_SETTINGS = pytest.param(lambda file: corelm.from_settings(file), marks=pytest.mark.packages)


PROMPT_FILE = partial(read_text, what="the prompt file")


@pipes
@pytest.mark.parametrize("read", [Corpus.texts_in, FROM_SETTINGS, PROMPT_FILE])
def test_a_pipe_that_nobody_writes_into_is_an_error(tmp_path, monkeypatch, read):
    monkeypatch.setattr(machine, "PIPE_PATIENCE", 0.1)
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises((CorelmError, OSError), match=r"nobody has written into it for"):
        read(tmp_path / "pipe.txt")
