"""GGUF files that lie are refused in one line."""

import struct

import pytest

from corelm.errors import ModelFileError, UsageError

pytest.importorskip("llama_cpp", reason="pip install llama-cpp-python")

import llama_cpp
from corelm_llama_cpp import LlamaCppModel


def test_the_device(gguf_file):
    assert LlamaCppModel(gguf_file, device="cpu").context_length
    with pytest.raises(UsageError, match="device is cpu or gpu, not 'tpu'"):
        LlamaCppModel(gguf_file, device="tpu")
    if not llama_cpp.llama_supports_gpu_offload():
        with pytest.raises(UsageError, match="built for the CPU alone"):
            LlamaCppModel(gguf_file, device="gpu")


def test_a_loaded_model_is_refused_by_name(gguf_file):
    model = llama_cpp.Llama(str(gguf_file), n_ctx=8, verbose=False)
    with pytest.raises(UsageError, match="path of a GGUF file, not Llama; as_logits_processor"):
        LlamaCppModel(model)


@pytest.fixture
def changed(gguf_file, tmp_path):
    """A function that writes the tiny model with some bytes replaced."""

    def write(position, data):
        content = bytearray(gguf_file.read_bytes())
        content[position : position + len(data)] = data
        file = tmp_path / "changed.gguf"
        file.write_bytes(content)
        return file

    return write


def refused(file, match):
    with pytest.raises(ModelFileError, match=match) as info:
        LlamaCppModel(file)
    assert "\n" not in str(info.value)
    assert str(file) in str(info.value)


def test_a_missing_file_and_a_folder(tmp_path):
    refused(tmp_path / "none.gguf", "there is no file")
    refused(tmp_path, "there is no file")


@pytest.mark.parametrize("size", [0, 4, 20, 1000, 100_000, -1])
def test_truncated(gguf_file, tmp_path, size):
    file = tmp_path / "short.gguf"
    file.write_bytes(gguf_file.read_bytes()[:size])
    refused(file, "cannot load")


def replaced(gguf_file, file, token, other):
    """Write the tiny model with another word for a token; return the path."""
    old, new = (struct.pack("<Q", len(word)) + word for word in (token, other))
    file.write_bytes(gguf_file.read_bytes().replace(old, new, 1))
    return file


@pytest.mark.parametrize("other", [b"a", b"a\0b"])
def test_a_token_that_is_there_twice(gguf_file, tmp_path, other):
    """llama.cpp ends the process for it; it reads a token up to the first byte 0."""
    file = replaced(gguf_file, tmp_path / "twice.gguf", b"b", other)
    refused(file, "its vocabulary has the token 'a' twice")


def test_tokens_without_text_are_no_repetition(gguf_file, tmp_path):
    file = replaced(gguf_file, tmp_path / "empty.gguf", b"b", b"\0")
    file = replaced(file, file, b"c", b"\0")
    assert len(LlamaCppModel(file).vocabulary)


def test_a_header_of_nonsense_ends_quickly(gguf_file, tmp_path):
    header = struct.pack("<4sIQQ", b"GGUF", 3, 0, 2**60)
    file = tmp_path / "deep.gguf"
    file.write_bytes(header + (struct.pack("<Q", 0) + struct.pack("<IIQ", 9, 9, 2**60)) * 9)
    refused(file, "cannot load")


def test_without_a_tokenizer(gguf_file, tmp_path):
    file = tmp_path / "silent.gguf"
    file.write_bytes(gguf_file.read_bytes().replace(b"gpt2", b"none", 1))
    refused(file, "cannot load|no tokenizer")


@pytest.mark.parametrize("count", [10**6, 2**31, 2**40, 2**60, 2**64 - 1])
@pytest.mark.parametrize("position", [8, 16, 24], ids=["tensors", "metadata", "length of a key"])
def test_huge_claims_of_the_header(changed, position, count):
    refused(changed(position, struct.pack("<Q", count)), "cannot load")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("block_count", 0),
        ("block_count", 10**6),
        ("block_count", 2**32 - 1),
        ("context_length", 0),
        ("context_length", 2**32 - 1),
        ("embedding_length", 2**31),
        ("attention.head_count", 0),
        ("attention.layer_norm_rms_epsilon", 2**32 - 1),
    ],
)
def test_impossible_sizes(gguf_file, changed, key, value):
    name = f"llama.{key}".encode()
    position = gguf_file.read_bytes().index(name) + len(name) + 4
    refused(changed(position, struct.pack("<I", value)), "cannot load")
