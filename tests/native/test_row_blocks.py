"""Definitions on blocks of rows give what they give on all rows, to the last bit."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from corelm_samplers.adaptive_p import peak_at
from corelm_samplers.quadratic import quadratic
from corelm_samplers.tail_free import tail_free
from corelm_samplers.top_h import top_h
from corelm_samplers.top_n_sigma import logit_std
from corelm_samplers.top_p import top_p
from corelm_samplers.typical import typical
from corelm_samplers.xtc import xtc
from native_helpers import by_definition, random_rows

from corelm.native import backend
from corelm.native.backend import in_blocks
from corelm.numerics import distributions, filters, masks

BATCH, VOCABULARY = 7, 50
UNIFORMS = np.random.default_rng(1).random(BATCH)
ALLOWED = np.random.default_rng(2).random((BATCH, VOCABULARY)) < 0.1
ALLOWED[::3] = np.arange(VOCABULARY) % 6 == 0  # where the logits of the test are impossible
CALLS = {
    "draw": (distributions.draw, UNIFORMS),
    "draw with a list": (distributions.draw, UNIFORMS.tolist()),
    "surprisals": (distributions.surprisals, np.arange(BATCH)),
    "surprisals and entropy": (distributions.surprisals_and_entropy, np.arange(BATCH)),
    "entropies": (distributions.min_and_shannon_entropy,),
    "softmax": (distributions.softmax,),
    "one temperature": (distributions.apply_temperature, 0.7),
    "a temperature for each row": (distributions.apply_temperature, UNIFORMS),
    "greedy": (distributions.greedy,),
    "a mask": (masks._masked, ALLOWED, np.flip(ALLOWED, axis=0) - np.float32(1)),
    "top_k": (filters.top_k, 5),
    "top_p": (top_p, 0.9),
    "within_nats": (filters.within_nats, 5 * UNIFORMS),
    "typical": (typical, 0.9),
    "top_h": (top_h, 0.4),
    "tail_free": (tail_free, 0.9),
    "logit_std": (logit_std,),
    "peak_at": (peak_at, UNIFORMS, 5.0, 10.0, 0.3),
    "quadratic": (quadratic, 0.3, 1.5),
    "xtc with as many protected tokens as rows": (xtc, 0.5, 0.01, tuple(range(BATCH))),
}


@pytest.fixture
def set_block(monkeypatch):
    """A function that sets how many numbers a block has."""
    return partial(monkeypatch.setattr, backend, "BLOCK")


def arrays(result):
    return result if isinstance(result, tuple) else (result,)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("function", "arguments"), [(c[0], c[1:]) for c in CALLS.values()], ids=CALLS
)
def test_blocks_change_no_bit(function, arguments, dtype, set_block):
    logits = random_rows(BATCH, VOCABULARY).astype(dtype)
    logits[:, ::6] = -np.inf
    whole = arrays(by_definition(function, logits, *arguments))
    set_block(2 * VOCABULARY)  # blocks of 2, 2, 2 and 1 rows
    in_parts = arrays(by_definition(function, logits, *arguments))
    for expected, found in zip(whole, in_parts, strict=True):
        np.testing.assert_array_equal(found, expected, strict=True)


def test_a_block_has_no_more_rows_than_fit_and_at_least_one(set_block):
    set_block(25)
    for vocabulary, sizes in ((10, [2, 2, 1]), (40, [1, 1, 1, 1, 1]), (5, [5])):
        seen = []
        in_blocks(lambda rows, seen=seen: seen.append(len(rows)) or rows, np.zeros((5, vocabulary)))
        assert seen == sizes


def test_a_flag_holds_for_all_blocks(set_block):
    set_block(VOCABULARY)
    for row in range(BATCH):
        logits = random_rows(BATCH, VOCABULARY)
        assert by_definition(distributions.rows_are_valid, logits)
        logits[row] = np.nan
        assert not by_definition(distributions.rows_are_valid, logits)


def test_masks_in_place_reach_every_row(set_block):
    set_block(VOCABULARY)
    logits, tokens = random_rows(BATCH, VOCABULARY), np.arange(BATCH)
    assert by_definition(distributions.mask_tokens, logits, tokens)
    assert (logits[:, tokens] == -np.inf).all()


def test_masked_arrays_stay_masked_arrays(set_block):
    set_block(VOCABULARY)
    logits = np.ma.masked_array(random_rows(2, VOCABULARY))
    assert type(in_blocks(lambda rows: rows, logits)) is type(logits)
