"""Figures of a set of texts: variety, repetition, similarity.

Texts are sequences of token ids without the end token. Most of these figures depend on the amount
of text: the more there is, the fewer new words it has and the more it repeats. So they compare
only between sets with the same number of texts of the same length.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from corelm.runs import Endings, machine
from corelm_stats.inference import GROUPS, Inference
from corelm_stats.ngrams import Texts, flat, ngrams, self_bleu, self_bleu_left_out

Floats = NDArray[np.float64]
T = TypeVar("T")
Value = TypeVar("Value")

WINDOW, BEST, RAW = 32_768, 9, -15
"""gzip's window in bytes, the level of `gzip.compress`, and zlib's code for no header."""
EXACT = 2**12
"""The size in bytes below which a set is compressed again without each part. To first order, eight
short texts of different lengths would seem to differ three times less than they do, because gzip's
header weighs much in so few bytes."""
SMALL = 6
"""The least compressed size of a part in bytes. In smaller parts, each part's header and rounding
to whole bytes, which gzip has once for the whole, would hide the differences between parts."""


def distinct(texts: Texts, n: int) -> float | None:
    """Return distinct-n: the share of different n-grams over all texts together.

    None if no text has n tokens.

    Source: Li et al. 2016, A diversity-promoting objective function, arXiv 1510.03055.

    Example:
        >>> distinct([[3, 3, 4], [3, 4]], 1), distinct([[3, 3, 4], [3, 4]], 2)
        (0.4, 0.6666666666666666)
    """
    grams, _ = ngrams(texts, n)
    return len(np.unique(grams)) / len(grams) if len(grams) else None


def repetition(texts: Texts, n: int) -> Floats:
    """Return rep-n, the share of n-grams that repeat an earlier one of their text: (texts,).

    nan for a text with fewer than n tokens.

    Source: Welleck et al. 2020, Neural text generation with unlikelihood training,
    arXiv 1908.04319.

    Example:
        >>> repetition([[3, 4, 3, 4, 3], [3, 4]], 2).tolist()
        [0.5, 0.0]
    """
    grams, owners = ngrams(texts, n)
    # Make equal n-grams of different texts different, so that one call counts them by text. The
    # numbers of `ngrams` have gaps and may exceed the number of n-grams.
    _, first = np.unique(owners * (grams.max(initial=0) + 1) + grams, return_index=True)
    different = np.bincount(owners[first], minlength=len(texts))
    everything = np.bincount(owners, minlength=len(texts))
    with np.errstate(invalid="ignore"):
        return np.asarray(1 - different / everything)


def diversity(texts: Texts) -> Floats:
    """Return the product of 1 - rep-n for n of 2, 3 and 4: (texts,); 1 if nothing repeats.

    nan for a text with fewer than 4 tokens. The source pools the n-grams of all texts for each n
    and multiplies the three shares; a report has the mean over texts of the product of each text,
    which has an interval over texts and weighs short texts as much as long ones.

    Source: Su et al. 2022, A contrastive framework for neural text generation,
    arXiv 2202.06417.

    Example:
        >>> diversity([[3, 4, 5, 6], [3, 4, 3, 4, 3, 4]]).round(4).tolist()
        [1.0, 0.1333]
    """
    return by_text(texts)["diversity"]


def loops(texts: Texts) -> NDArray[np.bool_]:
    """Return True for texts that end by repeating one phrase three times: (texts,).

    Example:
        >>> loops([[9, 3, 4, 3, 4, 3, 4], [3, 4, 3, 4], [3, 3, 3], [3] * 6]).tolist()
        [True, False, False, True]
    """
    return np.array([Endings.in_loop(list(text)) for text in texts], dtype=np.bool_)


def zipf(texts: Texts) -> float | None:
    """Return the exponent s of frequency ~ 1 / rank ** s, over all texts together.

    By least squares on the logarithms, each different token once. None for fewer than two.

    Source: Holtzman et al. 2020, The curious case of neural text degeneration,
    arXiv 1904.09751; Zipf 1949, Human behavior and the principle of least effort.

    Example:
        >>> round(zipf([[3] * 12 + [4] * 6 + [5] * 4 + [6] * 3]), 4)  # 12 / rank
        1.0
    """
    return _exponent(np.unique(flat(texts), return_counts=True)[1])


def _exponent(counts: NDArray[np.int64]) -> float | None:
    """Return the exponent of `zipf`, from the number of times that each token occurs."""
    if len(counts) < 2:
        return None
    frequencies = np.log(np.sort(counts)[::-1])
    ranks = np.log(np.arange(1, len(counts) + 1))
    centred = ranks - ranks.mean()
    # Adding 0.0 turns the minus zero of equal frequencies into zero.
    return -float(centred @ frequencies / (centred @ centred)) + 0.0


def compression(texts: Sequence[str]) -> float | None:
    """Return the size of all texts together divided by their size after gzip.

    It is high if they repeat each other. None if they are empty.

    Source: Shaib et al. 2024, Standardizing the measurement of text diversity,
    arXiv 2403.00553.

    Example:
        >>> compression(["a good film. " * 20]) > compression(["a good film."])
        True
    """
    joined = " ".join(text.strip() for text in texts).encode()
    return len(joined) / len(gzip.compress(joined, mtime=0)) if joined.strip() else None


def text_figures(
    texts: Texts, written: Sequence[str], values: Mapping[str, Floats] | None = None
) -> dict[str, float | None]:
    """Return all figures of a set of texts by their names in reports; None if undefined.

    Args:
        texts: token ids.
        written: the same texts as text.
        values: the figures of `by_text`, and others that are means, if they are known already.

    Example:
        >>> figures = text_figures([[3, 4, 5, 6], [3, 4, 5, 7]], ["a b c d", "a b c e"])
        >>> figures["distinct_1"], figures["diversity"], figures["loops"]
        (0.625, 1.0, 0.0)
    """
    means = by_text(texts) if values is None else values
    return {
        **{f"distinct_{n}": distinct(texts, n) for n in (1, 2, 3)},
        **{name: mean(each) for name, each in means.items()},
        "self_bleu_4": self_bleu(texts),
        "zipf": zipf(texts),
        "compression": compression(written),
    }


def by_text(texts: Texts) -> dict[str, Floats]:
    """Return (texts,) each text's value of the figures that are means over texts; nan if undefined.

    Example:
        >>> figures = by_text([[3, 4, 3, 4, 3, 4], [3, 4]])
        >>> figures["rep_2"].tolist(), figures["loops"].tolist()
        ([0.6, 0.0], [1.0, 0.0])
    """
    repeated = {f"rep_{n}": repetition(texts, n) for n in (2, 3, 4)}
    return {
        **repeated,
        "diversity": np.asarray(np.prod([1 - each for each in repeated.values()], axis=0)),
        "loops": loops(texts).astype(np.float64),
    }


Groups = NDArray[np.intp]
"""The index of the part of a set, from 0 on, to which each text belongs."""


def left_out_of_set(
    texts: Texts, written: Sequence[str], groups: Groups | None = None
) -> dict[str, list[float | None]]:
    """Return the figures that are not means over texts, without each group of texts in turn.

    Args:
        texts: token ids.
        written: the same texts as text.
        groups: (texts,) the group of each text; by default each is alone, or in one of `GROUPS`.
    """
    alone, parts = groups is None, _groups(len(texts), groups)
    return {
        **{f"distinct_{n}": distinct_left_out(texts, n, parts) for n in (1, 2, 3)},
        "self_bleu_4": self_bleu_left_out(texts) if alone else left_out(self_bleu, texts, parts),
        "zipf": zipf_left_out(texts, parts),
        "compression": compression_left_out(written, groups),
    }


@dataclass(frozen=True)
class WholeSet:
    """The figures of one seed's texts as a set.

    Attributes:
        inference: the units of these texts.
        values: the figures of `text_figures`, and the metrics of plugins by full name.
        left_out: the figures that are not means, without each unit in turn, for a jackknife.
        sharing: the number of texts that share one of self-BLEU's longest n-grams.
        noise: the variances of metrics of plugins due to their own random numbers.
        failures: the metrics of plugins that failed, with the reason.
    """

    inference: Inference
    values: dict[str, float | None]
    left_out: dict[str, list[float | None]]
    sharing: int
    noise: dict[str, float] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


def _groups(texts: int, groups: Groups | None) -> Groups:
    """Return the group of each text; by default each is alone, or in one of `GROUPS`."""
    return np.arange(texts) % GROUPS if groups is None else groups


def mean(values: Floats) -> float | None:
    """Return the mean of the values that are not nan; None if there is none.

    Example:
        >>> mean(np.array([1.0, np.nan, 2.0])), mean(np.array([]))
        (1.5, None)
    """
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else None


def left_out(
    statistic: Callable[[Sequence[T]], Value], texts: Sequence[T], groups: Groups | None = None
) -> list[Value]:
    """Return a figure of a set without each group of texts in turn, for a jackknife.

    Args:
        statistic: the figure.
        texts: the set.
        groups: (texts,) the group of each text; by default each is alone, or in one of `GROUPS`.

    Example:
        >>> left_out(lambda texts: distinct(texts, 1), [[3, 3], [3, 4]])
        [1.0, 0.5]
    """
    some = _groups(len(texts), groups).tolist()
    remaining = (
        [text for text, own in zip(texts, some, strict=True) if own != group]
        for group in range(max(some, default=-1) + 1)
    )
    # A plugin may release the interpreter's lock, so threads can halve the time on two cores.
    with ThreadPoolExecutor(machine.facts()["cores"]) as pool:
        return list(pool.map(statistic, remaining))


def distinct_left_out(texts: Texts, n: int, groups: Groups) -> list[float | None]:
    """Return distinct-n of a set without each group of texts in turn, as `left_out` does.

    Example:
        >>> distinct_left_out([[3, 3], [3, 4]], 1, np.arange(2))
        [1.0, 0.5]
    """
    count = int(groups.max(initial=-1)) + 1
    grams, owners = ngrams(texts, n)
    # One count of the whole set serves all groups: without a group, only the n-grams that occur
    # nowhere else are lost.
    gram, group = np.divmod(np.unique(grams * count + groups[owners]), max(count, 1))
    alone = np.bincount(gram)[gram] == 1
    different = len(np.unique(gram)) - np.bincount(group[alone], minlength=count)
    total = len(grams) - np.bincount(groups[owners], minlength=count)
    pairs = zip(different.tolist(), total.tolist(), strict=True)
    return [some / every if every else None for some, every in pairs]


def zipf_left_out(texts: Texts, groups: Groups) -> list[float | None]:
    """Return the exponent of `zipf` without each group of texts in turn, as `left_out` does.

    Example:
        >>> texts = [[3, 3, 4], [3, 4]]
        >>> zipf_left_out(texts, np.arange(2)) == left_out(zipf, texts)
        True
    """
    tokens, owners = ngrams(texts, 1)
    whole = np.bincount(tokens)
    remaining = (
        whole - np.bincount(tokens[groups[owners] == group], minlength=len(whole))
        for group in range(int(groups.max(initial=-1)) + 1)
    )
    return [_exponent(counts[counts > 0]) for counts in remaining]


def compression_left_out(texts: Sequence[str], groups: Groups | None = None) -> list[float | None]:
    """Return the compression of a set without each group in turn, to first order.

    Each group is compressed after the bytes before it, as gzip sees it, and its sizes are
    subtracted from both sides of the ratio. So the set is compressed once instead of once per
    group, unless it or the groups are small.

    Example:
        >>> texts = ["a good film", "a bad film", "a good film"]
        >>> first, second, third = compression_left_out(texts)
        >>> first == third > second
        False
    """
    n = len(texts)
    # Runs of neighbours.
    runs = np.arange(n) * min(n, GROUPS) // max(n, 1) if groups is None else groups
    count = int(runs.max(initial=-1)) + 1
    whole = compression(texts)
    if whole is None:
        return [None] * count
    written: list[list[str]] = [[] for _ in range(count)]
    for text, group in zip(texts, runs.tolist(), strict=True):
        written[group].append(f"{text.strip()} ")
    parts = ["".join(part).encode() for part in written]
    ring = b"".join(parts) * 2
    length, end, sizes = len(ring) // 2, 0, list[int]()
    for part in parts:
        start, end = end, end + len(part)
        # The first part follows the last one, so that all parts are compressed under equal
        # conditions.
        before = ring[max(start + length - WINDOW, end) : start + length]
        deflate = zlib.compressobj(BEST, zlib.DEFLATED, RAW, zdict=before)
        sizes.append(len(deflate.compress(part)) + len(deflate.flush()))
    total = sum(sizes)
    if length < max(EXACT, SMALL * whole * len(parts)):
        return left_out(compression, texts, runs)
    rest = [(length - len(part), total - size) for part, size in zip(parts, sizes, strict=True)]
    return [whole * (left / size) * (total / length) if left else None for left, size in rest]
