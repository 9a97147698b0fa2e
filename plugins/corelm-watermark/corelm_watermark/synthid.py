"""SynthID-Text: a tournament among tokens, whose winners score higher than chance."""

import re
from functools import lru_cache
from hashlib import blake2b

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from corelm import ParameterError, hookimpl, param, softmax
from corelm.filters import array_namespace, in_library_of, widen
from corelm_watermark.keys import secret
from corelm_watermark.watermark import Watermark

MULTIPLIER = np.uint64(6364136223846793005)
CELLS = 2**16
"""The size of the table of g-values, as in transformers, which uses only 16 bits of a hash."""

LAYERS = 30
"""The depth of the tournament for a secret that is a text, as in the paper."""


class SynthID(Watermark):
    """Let the tokens play a tournament: each layer prefers tokens whose secret bit is 1.

    The keys and the last `context` drawn tokens give each token a bit g in each layer. A layer
    draws two tokens and keeps the one with the larger bit; the distribution of the winner is
    p (1 + g - sum p g). All layers, one after the other, are returned as one exact distribution.
    `corelm watermark detect` looks at the bits of a text. A context that occurred before leaves the
    distribution as it is. Put it last in a chain.

    The bits equal the bits of transformers' SynthIDTextWatermarkLogitsProcessor, and `context` is
    its `ngram_len` - 1.

    Source: Dathathri et al. 2024, Scalable watermarking for identifying large language model
    outputs, doi 10.1038/s41586-024-08025-4.

    Related: green_list.

    Example:
        >>> import corelm
        >>> sampler = SynthID(keys=[654, 400, 836], context=4)
        >>> corelm.sampling_distribution(sampler, [0.0] * 4).round(3).tolist()
        [0.082, 0.809, 0.027, 0.082]
    """

    reads = frozenset({"tokens", "position", "vocabulary"})  # it depends on the ids themselves

    keys: tuple[int | str, ...] = param(
        (),
        "a number for each layer, or one secret text, or env:NAME for a variable that holds it",
        aliases=("key",),
        local=True,
    )
    depth: int = param(0, "layers; 0: one a number, or 30 for a secret text", ge=0, le=64)
    context: int = param(4, "how many of the last drawn tokens decide the bits", ge=1)
    history: int = param(1024, "how many earlier contexts are not marked again", ge=0)

    once_per_context = True

    def __post_init__(self):
        super().__post_init__()
        numbers = [int(k) if re.fullmatch(r"-?\d+", str(k)) else k for k in self.keys]
        object.__setattr__(self, "keys", tuple(numbers))
        object.__setattr__(self, "_numbers", _layer_keys(self.keys, self.depth))

    def __call__(self, logits, context):
        hashes = context_hashes(context.drawn, self.context)  # (batch, step + 1)
        step = hashes.shape[1] - 1
        now, before = hashes[:, -1:], hashes[:, max(step - self.history, 0) : step]
        repeated = (before == now).any(axis=-1, keepdims=True)
        cells = _next_hash(now.astype(np.uint16), np.arange(logits.shape[1])[None])
        xp, p = array_namespace(logits), softmax(widen(logits))
        play = tournament if xp is np else tournament_by_layer
        with np.errstate(divide="ignore"):  # a token that always loses
            changed = logits + xp.log(play(p, cells, self._numbers))
        return xp.astype(xp.where(in_library_of(logits, repeated), logits, changed), logits.dtype)

    def marks(self, grams, size):
        return g_values(self._numbers)[:, _hash(grams).astype(np.uint16)].T

    def chance(self, size):
        return float(g_values(self._numbers)[0].mean())


def _layer_keys(keys, depth):
    """Return a number for each layer."""
    if len(keys) == 1 and isinstance(keys[0], str):
        text = secret(keys[0], "keys").encode()
        hashes = (blake2b(text, digest_size=8, salt=b"%d" % i) for i in range(depth or LAYERS))
        return tuple(int.from_bytes(h.digest(), "little") >> 1 for h in hashes)
    if not keys or any(isinstance(key, str) for key in keys):
        raise ParameterError(
            "keys must be numbers, or one secret text, or env:NAME for an environment variable "
            "that holds one"
        )
    if max(depth, len(keys)) > 64 or depth > len(keys):
        raise ParameterError(f"depth must be at most the number of keys, {len(keys)}, not {depth}")
    return keys[: depth or len(keys)]


def context_hashes(drawn, width):
    """Return the hash of the context of each drawn token and of the next: (batch, step + 1).

    Before the first token, transformers' context is all zeros; it excludes the prompt.
    """
    padded = np.pad(drawn, ((0, 0), (width, 0)))
    return _hash(sliding_window_view(padded, width, axis=1))


def _hash(grams):
    """Return the hash of the ids in the last axis, by a linear congruential generator: uint64."""
    state = np.ones(grams.shape[:-1], dtype=np.uint64)
    for i in range(grams.shape[-1]):
        state = _next_hash(state, grams[..., i])
    return state


def _next_hash(state, ids):
    """Return the hash with one more token, in the state's type: low bits need no high ones."""
    kind = state.dtype.type
    return (state + ids.astype(kind)) * MULTIPLIER.astype(kind) + kind(1)


@lru_cache(maxsize=16)
def g_values(numbers):
    """Return each layer's bits, by the low 16 bits of an n-gram's hash: (layers, CELLS)."""
    # torch.randint(0, 2) takes the low bits of a Mersenne Twister with the seed 0.
    table = np.random.RandomState(0).randint(0, 2**32, CELLS, dtype=np.uint32) & 1
    cells = np.arange(CELLS, dtype=np.uint16)
    return np.array([table[_next_hash(cells, np.array(n % CELLS))] for n in numbers], dtype=bool)


@lru_cache(maxsize=16)
def _packed(numbers):
    """Return the bits of `g_values` with eight layers in a byte: (layers / 8, CELLS)."""
    return np.packbits(g_values(numbers), axis=0, bitorder="little")


def tournament(probabilities, cells, numbers):
    """Return the factor by which the layers change each probability.

    Args:
        probabilities: (batch, vocabulary), float64.
        cells: (batch, vocabulary), the low 16 bits of each token's hash.
        numbers: the key of each layer.
    """
    # Tokens with equal bits get equal factors. So eight layers are played among the 256 possible
    # patterns of bits, and the vocabulary is read only to sum the masses of the patterns and to
    # apply the factors.
    batch = len(probabilities)
    rows = 256 * np.arange(batch)[:, None]
    factors = np.ones_like(probabilities)
    for block, table in enumerate(_packed(numbers)):
        patterns = rows + table[cells]
        masses = np.bincount(
            patterns.ravel(), (probabilities * factors).ravel(), minlength=256 * batch
        ).reshape(batch, 256)
        of_patterns = np.ones_like(masses)
        for layer in range(min(8, len(numbers) - 8 * block)):
            g = np.arange(256) >> layer & 1
            zeros = (masses * of_patterns * (1 - g)).sum(axis=-1, keepdims=True)
            of_patterns *= g + zeros  # 1 + g minus the mass of the ones
        factors *= of_patterns.ravel()[patterns]
    return factors


def tournament_by_layer(probabilities, cells, numbers):
    """Return `tournament` for an array of any library, as its formula reads.

    Gradients flow through it, unlike through the sums over patterns.
    """
    xp, factors = array_namespace(probabilities), probabilities * 0 + 1
    for bits in g_values(numbers):
        g = xp.astype(in_library_of(probabilities, bits[cells]), factors.dtype)
        zeros = xp.sum(probabilities * factors * (1 - g), axis=-1, keepdims=True)
        factors = factors * (g + zeros)
    return factors


@hookimpl
def corelm_samplers():
    return {"synthid": SynthID}
