"""A model on disk comes back as written; a damaged one is refused in one sentence."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import random
import re
import struct
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from small_models import TINY, WORDS, some_weights, write

import corelm
from corelm.bundles import Architecture, Bundle, WordVocabulary
from corelm.errors import ModelFileError
from corelm.models.contents import shapes
from corelm.runs import NamedModel

FILES = ("config.json", "vocabulary.txt", "model.safetensors", "manifest.json")


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "model")


def first_weight(path):
    return Bundle.read(path).weights["gru_0/gru_cell/kernel"][0, 1]


def seal(folder):
    """Make the manifest fit the files again, as somebody who means harm would."""
    manifest = json.loads((folder / "manifest.json").read_text())
    for name in manifest["files"]:
        content = (folder / name).read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        manifest["files"][name] = {"size": len(content), "sha256": sha256}
    write_manifest(folder, manifest)


def write_manifest(folder, manifest):
    manifest.pop("checksum", None)
    text = json.dumps(manifest, indent=2) + "\n"
    manifest["checksum"] = hashlib.sha256(text.encode()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")


def refusal(folder, name):
    """The reason for which a file is refused; the message must name the file."""
    with pytest.raises(ModelFileError) as refused:
        Bundle.read(folder)
    message = str(refused.value)
    assert message.startswith(repr(str(folder / name)))
    assert "\n" not in message
    return message.split(": ", 1)[1]


# What comes back


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_model_comes_back_as_it_was_written(tmp_path, dtype):
    read = Bundle.read(write(tmp_path / "deep" / "down" / "model", dtype=dtype))
    assert read.architecture == TINY
    assert (read.vocabulary.words, read.vocabulary.style) == (WORDS.words, "symbols")
    assert read.manifest["training"] == {"command": "corelm train", "seconds": 12}
    assert read.manifest["figures"] == {"perplexity": 92.625, "band": [1.5, 2.5]}
    assert {w.dtype for w in read.weights.values()} == {np.dtype(dtype)}
    for name, weight in some_weights().items():
        np.testing.assert_array_equal(read.weights[name], weight)


@pytest.mark.parametrize(("dtype", "size"), [("float16", 112), ("float32", 224)])
def test_float16_halves_the_weights(tmp_path, dtype, size):
    content = (write(tmp_path / "model", dtype=dtype) / "model.safetensors").read_bytes()
    assert len(content) - 8 - struct.unpack("<Q", content[:8])[0] == size  # of 56 numbers


def test_the_folder_holds_four_files_and_no_class_names(folder):
    assert sorted(file.name for file in folder.iterdir()) == sorted(FILES)
    assert json.loads((folder / "config.json").read_text()) == {
        "format": 1,
        "architecture": {
            "kind": "rnn",
            "vocabulary_size": 4,
            "context_length": 6,
            "width": 2,
            "dense": 2,
            "heads": 1,
            "blocks": 1,
        },
        "tokens": "symbols",
    }


def test_a_default_prompt_is_optional(tmp_path):
    assert "prompt" not in Bundle.read(write(tmp_path / "without")).manifest
    path = write(tmp_path / "with", prompt="Good b\u00e9")
    assert Bundle.read(path).manifest["prompt"] == "Good b\u00e9"
    assert corelm.load(path).default_prompt == "Good b\u00e9"
    assert corelm.load(tmp_path / "without").default_prompt is None


@pytest.mark.parametrize(
    ("field", "value"), [("prompt", 3), ("training", None), ("figures", [1]), ("more", "x")]
)
def test_fields_of_another_type_are_refused(folder, field, value):
    manifest = json.loads((folder / "manifest.json").read_text())
    write_manifest(folder, manifest | {field: value})
    assert re.match("its prompt is not|it does not list", refusal(folder, "manifest.json"))


def test_the_shipped_model_has_its_own_prompt():
    assert corelm.load("imdb").default_prompt == "This movie"


def test_a_target_can_be_tried_before_it_is_written(tmp_path, folder):
    Bundle.check_target(tmp_path / "new" / "model")
    Bundle.check_target(folder)
    (tmp_path / "file").write_text("mine")
    for taken in (tmp_path / "file", tmp_path / "file" / "model", tmp_path):
        with pytest.raises(ModelFileError, match="a model cannot be written to "):
            Bundle.check_target(taken)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "model", "new"]


def test_the_same_model_gives_the_same_bytes(tmp_path):
    one, two = write(tmp_path / "one"), write(tmp_path / "two")
    assert [(one / n).read_bytes() for n in FILES] == [(two / n).read_bytes() for n in FILES]


def test_a_description_needs_neither_weights_nor_vocabulary(folder):
    (folder / "model.safetensors").unlink()
    (folder / "vocabulary.txt").unlink()
    described = Bundle.describe(folder)
    assert (described.architecture, described.tokens) == (TINY, "symbols")
    assert described.manifest["figures"]["perplexity"] == 92.625


# Models that are not written


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"figures": {"perplexity": float("nan")}}, "not JSON compliant"),
        ({"training": {"at": object()}}, "not JSON serializable"),
        ({"dtype": "int8"}, "float16 or float32, not int8"),
        ({"weights": some_weights(value=1e6)}, "too large for float16"),
        ({"weights": some_weights(value=np.nan)}, "not finite"),
        ({"weights": {}}, "'embedding/embeddings' are missing"),
        ({"weights": some_weights() | {"more": np.zeros(1)}}, "no weights 'more'"),
        ({"vocabulary": WordVocabulary(["", "[UNK]"], "words")}, "has 2 tokens, the network 4"),
    ],
)
def test_a_model_that_could_not_be_read_again_is_not_written(folder, changed, reason):
    with pytest.raises(ModelFileError, match=reason):
        write(folder, value=changed.pop("value", 2.0), **changed)
    assert first_weight(folder) == 0.5
    assert os.listdir(folder.parent) == ["model"]


def test_an_earlier_model_is_replaced(folder):
    write(folder, value=2.0)
    assert first_weight(folder) == 2.0
    assert os.listdir(folder.parent) == ["model"]


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "model").mkdir()
    assert first_weight(write(tmp_path / "model")) == 0.5


def test_a_folder_with_other_things_in_it_is_left_alone(folder):
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(ModelFileError, match=r"the folder also holds 'notes\.txt'; choose another"):
        write(folder, value=2.0)
    assert first_weight(folder) == 0.5
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_file_is_not_replaced_by_a_folder(tmp_path):
    (tmp_path / "model").write_text("mine")
    with pytest.raises(ModelFileError, match="a file has that name"):
        write(tmp_path / "model")
    assert (tmp_path / "model").read_text() == "mine"


def test_a_place_that_is_not_a_folder(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ModelFileError, match=r"could not be written to .*: Not a directory$"):
        write(tmp_path / "file" / "model")


def test_a_full_disk_leaves_the_earlier_model_whole(folder, monkeypatch):
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # Python would keep halves of modules
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400, hard))  # no file may grow beyond it
    try:
        with pytest.raises(ModelFileError, match="File too large; the earlier model is unchanged"):
            write(folder, value=2.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert first_weight(folder) == 0.5
    assert os.listdir(folder.parent) == ["model"]


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere"
)
def test_a_read_only_place_leaves_the_earlier_model_whole(folder):
    folder.parent.chmod(0o555)
    try:
        with pytest.raises(ModelFileError, match="Permission denied; the earlier model"):
            write(folder, value=2.0)
    finally:
        folder.parent.chmod(0o755)
    assert first_weight(folder) == 0.5


def test_a_rename_that_fails_leaves_the_earlier_model_whole(folder, monkeypatch):
    rename = type(folder).rename

    def fails_for_the_new_one(self, target):
        if self.name.endswith(".new"):
            raise PermissionError(13, "Permission denied")
        return rename(self, target)

    monkeypatch.setattr(type(folder), "rename", fails_for_the_new_one)
    with pytest.raises(ModelFileError, match="Permission denied"):
        write(folder, value=2.0)
    assert first_weight(folder) == 0.5
    assert os.listdir(folder.parent) == ["model"]


def test_a_crash_between_the_two_renames_loses_nothing(folder):
    folder.rename(folder.with_name(".model.old"))
    assert first_weight(folder) == 0.5
    write(folder, value=2.0)
    assert first_weight(folder) == 2.0
    assert os.listdir(folder.parent) == ["model"]


@pytest.mark.slow
def test_a_writer_that_is_killed_leaves_a_whole_model(folder):
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from small_models import write
for i in range(10**9):
    write({str(folder)!r}, value=1.0 + i % 2)
    print(i, flush=True)
"""
    moments = random.Random(0)
    for _ in range(4):
        writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        writer.stdout.readline()
        time.sleep(moments.uniform(0, 0.05))
        writer.kill()
        writer.wait()
        writer.stdout.close()
        assert first_weight(folder) in (1.0, 2.0)


# Manifests that are not believed


@pytest.mark.parametrize("name", FILES)
def test_every_flipped_bit_and_every_truncation_is_noticed(folder, name):
    content = (folder / name).read_bytes()
    for position in range(len(content)):
        flipped = bytearray(content)
        flipped[position] ^= 1 << position % 8
        for damaged in (flipped, content[:position]):
            (folder / name).write_bytes(damaged)
            refusal(folder, name)


@pytest.mark.parametrize("name", FILES)
def test_random_bytes_are_not_a_model(folder, name):
    (folder / name).write_bytes(random.Random(0).randbytes(700))
    refusal(folder, name)


PIPES = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda file: None, "it is missing"),
        (lambda file: file.mkdir(), "it isn't a regular file"),
        pytest.param(lambda file: os.mkfifo(file), "it isn't a regular file", marks=PIPES),
        (lambda file: file.symlink_to(file.name), ".*Too many levels of symbolic links.*"),
    ],
    ids=["nothing", "folder", "pipe", "link"],
)
def test_what_is_in_the_place_of_a_file_is_refused(folder, name, make, reason):
    (folder / name).unlink()
    make(folder / name)
    assert re.fullmatch(reason, refusal(folder, name))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, "there is no model at"),
        (lambda path: path.write_text("text"), "isn't a folder; a model is a folder with manifest"),
        (lambda path: path.symlink_to("model"), "cannot be read: Too many levels"),
        (lambda path: os.mkfifo(path), "isn't a folder"),
    ],
)
def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path, make, reason):
    make(tmp_path / "model")
    with pytest.raises(ModelFileError, match=reason):
        Bundle.read(tmp_path / "model")


def test_a_path_that_no_system_allows():
    with pytest.raises(ModelFileError, match=r"cannot be read: .*embedded null"):
        Bundle.read("a\0b")


def test_a_later_format_says_so(folder):
    write_manifest(folder, json.loads((folder / "manifest.json").read_text()) | {"format": 2})
    assert refusal(folder, "manifest.json") == (
        "a later corelm wrote it, in format 2; this one reads format 1: update corelm"
    )


@pytest.mark.parametrize("changes", [{"format": True}, {"files": {}}, {"more": 1}])
def test_a_foreign_manifest(folder, changes):
    write_manifest(folder, json.loads((folder / "manifest.json").read_text()) | changes)
    refusal(folder, "manifest.json")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"format": 2}, "a later corelm wrote it"),
        ({"class_name": "os.system"}, "other fields"),
        ({"architecture": {"kind": "rnn"}}, "exactly the fields"),
        ({"architecture": TINY.to_dict() | {"blocks": 2**24}}, "blocks must be"),
        ({"architecture": TINY.to_dict() | {"width": "2"}}, "width must be"),
        ({"architecture": TINY.to_dict() | {"kind": ["rnn"]}}, "unknown kind"),
    ],
)
def test_a_foreign_configuration(folder, changes, reason):
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(config))
    seal(folder)
    assert reason in refusal(folder, "config.json")


@pytest.mark.parametrize("text", ["[" * 100_000, "{}", "[]", "NaN", '{"a": 1e999}', "1" * 5000])
def test_json_that_means_harm(folder, text):
    (folder / "config.json").write_text(text)
    seal(folder)
    refusal(folder, "config.json")


@pytest.mark.parametrize(
    ("name", "most"), [("manifest.json", "1048576 that are read"), ("model.safetensors", "")]
)
def test_a_file_that_is_too_long_is_not_read(folder, name, most):
    with open(folder / name, "ab") as file:
        file.truncate(10 * 2**40)  # ten terabytes, none of them on disk
    assert f"more than the {most}" in refusal(folder, name)


def header(**entries):
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text


def entry(shape, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [0, 4]}


RIGHT = {name: entry(list(shape)) for name, shape in shapes(TINY).items()}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "claims 0 bytes"),
        (struct.pack("<Q", 10 * 2**40) + b"{}", "claims 10995116277760 bytes of 10"),
        (struct.pack("<Q", 5) + b"[[[[[", "it is not JSON"),
        (header(), "'embedding/embeddings' are missing"),
        (header(**RIGHT | {"more": entry([1])}), "no weights 'more'"),
        (header(**RIGHT | {"probabilities/bias": entry([5])}), "are (5,) instead of (4,)"),
        (header(**RIGHT | {"probabilities/bias": entry([4], "I64")}), "neither float16 nor"),
        (header(**RIGHT | {"probabilities/bias": entry(4)}), "have no shape"),
        (header(**RIGHT | {"probabilities/bias": "x"}), "neither float16 nor"),
        (header(**RIGHT), "isn't a safetensors file"),
        (pickle.dumps({"weights": np.zeros(3)}), "header claims"),
    ],
)
def test_weights_that_mean_harm(folder, content, reason):
    (folder / "model.safetensors").write_bytes(content)
    seal(folder)
    assert reason in refusal(folder, "model.safetensors")


@pytest.mark.parametrize("half", [b"\x00\x7e", b"\x00\x7c", b"\x00\xfc", b"\xff\xff"])
def test_weights_that_are_not_finite(folder, half):
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:-2] + half)  # nan or infinity
    seal(folder)
    assert "not finite" in refusal(folder, "model.safetensors")


@pytest.mark.parametrize(
    ("content", "file", "reason"),
    [
        (b"\n[UNK]\ngood\n", "model.safetensors", "the vocabulary has 3 tokens, the network 4"),
        (b"\n[UNK]\ngood\ngood\n", "vocabulary.txt", "each word once"),
        (b"\n[UNK]\n\xff\n", "vocabulary.txt", "it is not UTF-8 at byte 7"),
    ],
)
def test_a_foreign_vocabulary(folder, content, file, reason):
    (folder / "vocabulary.txt").write_bytes(content)
    seal(folder)
    assert reason in refusal(folder, file)


def test_heads_that_do_not_divide_the_width(tmp_path):
    a = Architecture("default", 4, 6, width=4, dense=2, heads=3)
    with pytest.raises(ModelFileError, match="3 heads cannot share a width of 4"):
        write(tmp_path / "model", architecture=a, weights=some_weights(a))


@pytest.mark.parametrize("nats", [10**400, True, "4", None])
def test_an_edited_manifest_has_no_figures_of_human_text(nats):
    edited = SimpleNamespace(manifest={"figures": {"human": {"surprisal": nats}}})
    assert NamedModel(edited).human_surprisal is None
