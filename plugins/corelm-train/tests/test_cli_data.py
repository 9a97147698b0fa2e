"""`corelm data`."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from corelm.bundles import Corpus
from corelm.cli.app import main

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
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"error: the archive '{tmp_path / 'text.txt'}' was refused: it isn't a tar archive, or is "
        "a damaged one (truncated header)"
    )
    assert [each.name for each in (tmp_path / "home" / "data").iterdir()] == ["aclImdb.lock"]


def test_the_held_out_texts_are_those_of_a_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, folder = tmp_path / "texts.txt", tmp_path / "out" / "held"
    data.write_text("\n\n".join(f"text {i}\nof two lines" for i in range(40)))
    assert main(["data", "held-out", str(data), str(folder), "--held-out", "0.1"]) == 0
    assert capsys.readouterr().out == f"{folder}\n"
    written = Corpus.texts_in(folder)
    assert len(written) == 4
    assert written == Corpus.of(data, 0.1).held_out
    assert {*written}.isdisjoint(Corpus.of(data, 0.1).train)
    assert main(["data", "held-out", str(data), str(folder)]) == 2
    assert "already exists" in capsys.readouterr().err


@pytest.mark.parametrize("share", ["0", "1", "nan"])
def test_a_share_that_holds_out_none_or_all(
    tmp_path: Path, share: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\nthree")
    words = ["data", "held-out", str(tmp_path / "a.txt"), str(tmp_path / "b")]
    assert main([*words, "--held-out", share]) == 2
    assert "held-out" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()
