"""A file is written whole, or the earlier one stays."""

from __future__ import annotations

import os

import pytest

from corelm.atomic_files import remove_leftovers, write_folder
from corelm.errors import ModelFileError
from corelm.runs import SafeFile
from corelm.text.lines import parse_json


def test_a_file_is_written_and_replaced(tmp_path):
    for content in (b"one", b"", b"three\r\n"):
        SafeFile(tmp_path / "file").write(content)
        assert (tmp_path / "file").read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_unfinished_files_of_killed_writers_are_removed_at_the_next_write(tmp_path):
    abandoned, young, other = (
        tmp_path / name for name in (".file.0123abcd.new", ".file.89abcdef.new", ".files.new")
    )
    for path in (abandoned, young, other):
        path.write_text("cut off")
    os.utime(abandoned, (0, 0))
    SafeFile(tmp_path / "file").write(b"whole")
    assert sorted(p.name for p in tmp_path.iterdir()) == [young.name, other.name, "file"]
    remove_leftovers(tmp_path / "file")
    assert sorted(p.name for p in tmp_path.iterdir()) == [other.name, "file"]


def test_unfinished_folders_of_killed_writers_are_removed_at_the_next_write(tmp_path):
    abandoned = tmp_path / ".folder.0123abcd.new"
    abandoned.mkdir()
    (abandoned / "part").write_text("cut off")
    os.utime(abandoned, (0, 0))
    write_folder({"a": b"1"}, tmp_path / "folder")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("there", [b"earlier", None])
def test_a_full_disk_changes_nothing(tmp_path, monkeypatch, there):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    if there is not None:
        (tmp_path / "file").write_bytes(there)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        SafeFile(tmp_path / "file").write(b"new")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == ([there] if there else [])


def test_a_link_stays_one(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder" / "file")
    SafeFile(tmp_path / "link").write(b"content")
    assert (tmp_path / "link").is_symlink()
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["file"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a pipe with a name")
def test_a_pipe_is_written_into(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    SafeFile(tmp_path / "pipe").write(b"content")
    assert os.read(reader, 100) == b"content"
    os.close(reader)
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_a_folder_is_not_replaced(tmp_path):
    with pytest.raises(IsADirectoryError if os.name == "posix" else PermissionError):
        SafeFile(tmp_path).write(b"content")
    assert tmp_path.is_dir()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[1]", r"^it must be a JSON object, not \[1\]$"),
        (b"{", r"^it is not JSON: "),
        (b"[" * 100_000, r"^it is not JSON: "),
    ],
)
def test_json_that_is_no_object_is_refused_with_the_reason(content, message):
    with pytest.raises(ModelFileError, match=message):
        parse_json(content)
