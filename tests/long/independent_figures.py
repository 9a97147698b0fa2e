"""Compare rep-n, diversity, distinct-n and self-BLEU with independent code on random sets of texts.

    python tests/long/independent_figures.py [--sets 10000]

The independent code counts n-grams one by one, as sets of tuples, and takes BLEU from NLTK. A set
has one to eight texts of no to twelve tokens, of two to ten kinds; token ids have gaps. Prints each
value that differs by more than 1e-12; ends with the code 1 if there is one.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

from corelm_stats.ngrams import self_bleu
from corelm_stats.text_figures import distinct, diversity, repetition

Text = list[int]
Value = float | None
SMOOTHING = SmoothingFunction().method1


def random_texts(seed: int) -> list[Text]:
    """Return a random set of texts."""
    rng = np.random.default_rng(seed)
    kinds = rng.choice(1000, size=rng.integers(2, 11), replace=False)
    return [rng.choice(kinds, rng.integers(0, 13)).tolist() for _ in range(rng.integers(1, 9))]


def _grams(text: Text, n: int) -> list[tuple[int, ...]]:
    return [tuple(text[i : i + n]) for i in range(len(text) - n + 1)]


def plain_repetition(text: Text, n: int) -> Value:
    """Return rep-n of one text."""
    grams = _grams(text, n)
    return 1 - len(set(grams)) / len(grams) if grams else None


def plain_diversity(text: Text) -> Value:
    """Return the diversity of one text."""
    shares = [plain_repetition(text, n) for n in (2, 3, 4)]
    return None if None in shares else math.prod(1 - share for share in shares if share is not None)


def plain_distinct(texts: Sequence[Text], n: int) -> Value:
    """Return distinct-n of a set."""
    grams = [gram for text in texts for gram in _grams(text, n)]
    return len(set(grams)) / len(grams) if grams else None


def plain_self_bleu(texts: Sequence[Text]) -> Value:
    """Return self-BLEU-4 of a set, by NLTK."""
    if len(texts) < 2:
        return None
    scores = [
        sentence_bleu([*texts[:i], *texts[i + 1 :]], text, smoothing_function=SMOOTHING)
        for i, text in enumerate(texts)
    ]
    return math.fsum(scores) / len(scores)


OF_TEXTS: dict[str, tuple[Callable[..., Sequence[float]], Callable[..., Value]]] = {
    **{f"rep_{n}": (partial(repetition, n=n), partial(plain_repetition, n=n)) for n in (2, 3, 4)},
    "diversity": (diversity, plain_diversity),
}
"""Figures of each text: as a report has them, and independently."""
OF_SETS: dict[str, tuple[Callable[..., Value], Callable[..., Value]]] = {
    **{f"distinct_{n}": (partial(distinct, n=n), partial(plain_distinct, n=n)) for n in (1, 2, 3)},
    "self_bleu_4": (self_bleu, plain_self_bleu),
}
"""Figures of a whole set."""


def compared(texts: Sequence[Text]) -> list[tuple[str, Value, Value]]:
    """Return each figure of a set of texts twice: as a report has it, and independently."""
    found: list[tuple[str, Value, Value]] = []
    for name, (of_report, plain) in OF_TEXTS.items():
        pairs = zip(of_report(texts), map(plain, texts), strict=True)
        found += [(name, None if math.isnan(own) else float(own), other) for own, other in pairs]
    return found + [(name, own(texts), plain(texts)) for name, (own, plain) in OF_SETS.items()]


def disagreements(sets: int) -> list[str]:
    """Return a line for each value that differs on some random sets."""
    lines = []
    for seed in range(sets):
        for name, own, other in compared(random_texts(seed)):
            same = own is other if None in (own, other) else abs(own - other) < 1e-12  # type: ignore[operator]
            if not same:
                lines.append(f"set {seed}: {name} is {own}, independently {other}")
    return lines


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=10_000, help="the number of random sets")
    sets = parser.parse_args().sets
    values = sum(len(compared(random_texts(seed))) for seed in range(min(sets, 100)))
    lines = disagreements(sets)
    print(*lines, sep="\n", end="\n" if lines else "")
    print(f"{sets:,} sets of texts, about {values * sets // min(sets, 100):,} values: "
          f"{len(lines):,} differ")  # fmt: skip
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
