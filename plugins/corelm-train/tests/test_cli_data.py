"""`corelm data`."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from corelm.cli import main

FOLDERS = ("train/pos", "train/neg", "train/unsup", "test/pos", "test/neg")


def archive(file: Path) -> Path:
    """A small archive of the shape of the real one."""
    with tarfile.open(file, "w:xz") as tar:
        for folder in FOLDERS:
            info = tarfile.TarInfo(f"aclImdb/{folder}/0_7.txt")
            info.size = 4
            tar.addfile(info, io.BytesIO(b"good"))
    return file


def test_a_local_archive_is_unpacked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "a home"
    monkeypatch.setenv("CORELM_HOME", str(home))
    assert main(["data", "imdb", "--from", str(archive(tmp_path / "reviews.tar.xz"))]) == 0
    written = capsys.readouterr()
    folder = Path(written.out.removesuffix("\n"))
    assert home in folder.parents
    assert (folder / "train" / "unsup" / "0_7.txt").read_text() == "good"
    assert written.err == "unpack ...\n"
    assert main(["data", "imdb"]) == 0
    assert capsys.readouterr() == (f"{folder}\n", "")


def test_a_missing_archive(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "imdb", "--from", "no/such/file"]) == 2
    assert capsys.readouterr() == ("", "error: there is no file no/such/file\n")


def test_an_archive_that_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CORELM_HOME", str(tmp_path / "home"))
    (tmp_path / "text.txt").write_text("hello")
    assert main(["data", "imdb", "--from", str(tmp_path / "text.txt")]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: ")
