"""Philox4x32-10, the counter-based generator behind the Gumbel-max watermark."""

from hashlib import blake2b

import numpy as np

MASK, HALF = np.uint64(2**32 - 1), np.uint64(32)
MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
WEYL = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
ROUNDS = 10

CONTEXT, TOKEN = np.uint64(0x574D4358), np.uint64(0x574D544B)
"""Constants that distinguish the blocks of contexts and of tokens; as those below, vLLM's."""


def philox(counter, key):
    """Return the four words of a block: Philox4x32 with ten rounds.

    Source: Salmon et al. 2011, Parallel random numbers: as easy as 1, 2, 3, SC '11.

    Args:
        counter: four arrays of 32-bit words, as uint64, of shapes that broadcast.
        key: two such arrays.

    Example:
        >>> zero = np.zeros(1, np.uint64)
        >>> [hex(word[0]) for word in philox((zero,) * 4, (zero,) * 2)]
        ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    a, b, c, d = counter
    left, right = key
    for _ in range(ROUNDS):
        p, q = a * MULTIPLIERS[0], c * MULTIPLIERS[1]  # below 2**64: no overflow
        a, b, c, d = (q >> HALF) ^ b ^ left, q & MASK, (p >> HALF) ^ d ^ right, p & MASK
        left, right = (left + WEYL[0]) & MASK, (right + WEYL[1]) & MASK
    return a, b, c, d


def key_number(text):
    """Return the 64-bit key of a secret: the number itself, or a hash of any other text.

    Example:
        >>> key_number("42"), key_number("correct horse")
        (42, 1687894683460290207)
    """
    if text.isdecimal() and int(text) < 2**64:
        return int(text)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


def uniforms(key, contexts, ids):
    """Return a uniform number for each token after each context.

    The numbers are (m + 1) / (2**24 + 1), with m a number of 24 bits, in float32. They equal the
    numbers of vLLM's PhiloxPRF, so its texts and corelm's have the same marks.

    Args:
        key: a number below 2**64.
        contexts: (contexts, width) token ids; -1 before the first token of a text.
        ids: (contexts, tokens) token ids.

    Returns:
        (contexts, tokens) float32, above 0 and below 1.
    """
    blocks = _token_blocks(key, contexts, _words(ids) >> np.uint64(2))
    return _as_uniform(np.take_along_axis(blocks, (ids & 3)[..., None], -1)[..., 0])


def vocabulary_uniforms(key, contexts, size):
    """Return the numbers of `uniforms` for all tokens of a vocabulary: (contexts, size)."""
    quarters = np.arange((size + 3) // 4, dtype=np.uint64)[None]
    # Row by row, so that the ten rounds stay in the processor's cache: 8 times as fast.
    rows = (_token_blocks(key, row[None], quarters) for row in contexts)
    return np.stack([_as_uniform(row.ravel()[:size]) for row in rows])


def _as_uniform(words):
    return (((words >> np.uint64(8)) + 1.0) / (2**24 + 1)).astype(np.float32)


def _token_blocks(key, contexts, quarters):
    """Return the words of four tokens at a time: (contexts, quarters, 4)."""
    left, right = np.uint64(key & int(MASK)), np.uint64(key >> 32)
    state = [word[:, None] for word in _context_block(left, right, _words(contexts))]
    words = philox((quarters, *state[:3]), (left ^ state[3], right ^ TOKEN))
    return np.stack(words, axis=-1)


def _context_block(left, right, contexts):
    """Compress contexts to four words each, with four tokens per block."""
    rows, width = contexts.shape
    fill = MASK - np.arange(4, dtype=np.uint64)  # in place of the tokens that a block lacks
    start = [CONTEXT, np.uint64(width), np.uint64(0), np.uint64(0)]
    state = [np.full(rows, word) for word in start]
    for offset in range(0, width, 4):
        block = np.tile(fill, (rows, 1))
        present = contexts[:, offset : offset + 4]
        block[:, : present.shape[1]] = present
        state = philox(state ^ block.T, (left ^ np.uint64(offset), right))
    return state


def _words(ids):
    return ids.astype(np.uint64) & MASK
