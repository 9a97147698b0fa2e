"""`corelm data`."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corelm.bundles import Corpus

Call = Callable[..., Any]

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
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    home = tmp_path / "a home"
    monkeypatch.setenv("CORELM_HOME", str(home))
    written = call("data", "imdb", "--from", str(archive(tmp_path / "reviews.tar.xz")))
    folder = Path(written.out.removesuffix("\n"))
    assert home in folder.parents
    assert (folder / "train" / "unsup" / "0_7.txt").read_text() == "good"
    assert (written.code, written.err) == (0, "unpack ...\n")
    assert call("data", "imdb") == (0, f"{folder}\n", "")


def test_a_missing_archive(call: Call) -> None:
    refused = call("data", "imdb", "--from", "no/such/file")
    assert refused == (2, "", "error: there is no file no/such/file\n")


def test_an_archive_that_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    monkeypatch.setenv("CORELM_HOME", str(tmp_path / "home"))
    (tmp_path / "text.txt").write_text("hello")
    refused = call("data", "imdb", "--from", str(tmp_path / "text.txt"))
    assert refused.code == 1
    assert refused.err.splitlines()[-1] == (
        f"error: the archive '{tmp_path / 'text.txt'}' was refused: it isn't a tar archive, or is "
        "a damaged one (truncated header)"
    )
    assert [each.name for each in (tmp_path / "home" / "data").iterdir()] == ["aclImdb.lock"]


def test_the_held_out_texts_are_those_of_a_training(tmp_path: Path, call: Call) -> None:
    data, folder = tmp_path / "texts.txt", tmp_path / "out" / "held"
    data.write_text("\n\n".join(f"text {i}\nof two lines" for i in range(40)))
    made = call("data", "held-out", str(data), str(folder), "--held-out", "0.1")
    assert made[:2] == (0, f"{folder}\n")
    written = Corpus.texts_in(folder)
    assert len(written) == 4
    assert written == Corpus.of(data, 0.1).held_out
    assert {*written}.isdisjoint(Corpus.of(data, 0.1).train)
    again = call("data", "held-out", str(data), str(folder))
    assert (again.code, "already exists" in again.err) == (2, True)


@pytest.mark.parametrize("share", ["0", "1", "nan"])
def test_a_share_that_holds_out_none_or_all(tmp_path: Path, share: str, call: Call) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\nthree")
    words = ["data", "held-out", str(tmp_path / "a.txt"), str(tmp_path / "b")]
    refused = call(*words, "--held-out", share)
    assert (refused.code, "held-out" in refused.err) == (2, True)
    assert not (tmp_path / "b").exists()
