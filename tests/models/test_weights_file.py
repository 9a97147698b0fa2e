"""The arrays of a file of weights lie in its bytes, and fill them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import save

from corelm.bundles import Architecture
from corelm.errors import ModelFileError
from corelm.models.contents import check_shapes, parse_weights, shapes

TINY = Architecture("rnn", vocabulary_size=4, width=2, dense=2)


def some_weights(dtype):
    rng = np.random.default_rng(0)
    return {n: rng.standard_normal(shape).astype(dtype) for n, shape in shapes(TINY).items()}


def changed(content, change, pad=0):
    """The file with another header, and spaces after it."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode() + b" " * pad
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_weights_are_those_that_were_saved_and_are_not_copied(dtype):
    weights, content = some_weights(dtype), save(some_weights(dtype))
    found = parse_weights(memoryview(content), TINY)
    check_shapes(TINY, {name: array.shape for name, array in found.items()})
    for name, array in found.items():
        assert array.dtype == dtype
        assert np.array_equal(array, weights[name])
        assert np.shares_memory(array, np.frombuffer(content, np.uint8))
        assert not array.flags.writeable


@pytest.mark.parametrize("pad", range(4))
def test_weights_at_an_odd_address_are_aligned(pad):
    content = changed(save(some_weights(np.float32)), lambda header: None, pad)
    found = parse_weights(memoryview(content), TINY)
    assert all(array.flags.aligned for array in found.values())
    assert all(np.array_equal(found[n], weight) for n, weight in some_weights("f4").items())


def swap(header):
    """Give two arrays each other's place: the file is still filled."""
    a, b = header["embedding/embeddings"], header["gru_0/gru_cell/bias"]
    a["data_offsets"], b["data_offsets"] = b["data_offsets"], a["data_offsets"]


def overlap(header):
    header["probabilities/bias"]["data_offsets"] = header["embedding/embeddings"]["data_offsets"]


def shift(header):
    for entry in header.values():
        entry["data_offsets"] = [offset + 2 for offset in entry["data_offsets"]]


def no_offsets(header):
    del header["probabilities/bias"]["data_offsets"]


def words(header):
    header["probabilities/bias"]["data_offsets"] = ["0", "8"]


def negative(header):
    header["probabilities/bias"]["data_offsets"] = [-8, 0]


@pytest.mark.parametrize("change", [swap, overlap, shift, no_offsets, words, negative])
def test_misplaced_weights_are_refused(change):
    content = changed(save(some_weights(np.float16)), change)
    with pytest.raises(ModelFileError, match=r"isn't a safetensors file: the weights .* misplaced"):
        parse_weights(memoryview(content), TINY)


def test_a_file_that_is_cut_off_or_goes_on_is_refused():
    content = save(some_weights(np.float16))
    with pytest.raises(ModelFileError, match="misplaced"):
        parse_weights(memoryview(content[:-2]), TINY)
    with pytest.raises(ModelFileError, match="bytes after the last weights"):
        parse_weights(memoryview(content + b"\0\0"), TINY)
