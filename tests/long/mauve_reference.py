"""Compare MAUVE as corelm-mauve measures it with mauve-text, on the same features, over seeds.

    python -m pip install mauve-text
    python tests/long/mauve_reference.py [--seeds 20] [--texts 200]

Both run whole: features scaled to length 1, principal components, k-means, the divergence curve.
Two clusterings of the same features differ with the starting points of k-means, so each
implementation runs with several seeds. Some features are random points; others are hidden states of
the default model on texts that it wrote at different temperatures, where the first set stands for
human text. Prints a Markdown table with both means, their standard deviations over seeds, and the
difference of the means in standard errors; exits with code 1 if one is beyond 4.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator

import numpy as np
from corelm_mauve import clusters, features, mauve
from numpy.typing import NDArray

import corelm

Floats = NDArray[np.float64]
Measure = Callable[[Floats, Floats, int], float]

SHIFTS = (0.0, 0.5, 1.0, 2.0)
TEMPERATURES = (1.0, 0.9, 0.6, 0.3)
WIDTH, LENGTH = 16, 30
MOST = 4.0
"""The largest difference of the means, in standard errors."""
ROUNDING = 1e-9


def pairs(texts: int) -> Iterator[tuple[str, Floats, Floats]]:
    """Yield a name, the features of texts, and the features of the texts to compare with."""
    rng = np.random.default_rng(1)
    for shift in SHIFTS:
        first, second = rng.normal(size=(2, texts, WIDTH))
        first[:, 0] += shift
        yield f"random points, {shift:g} apart", first, second
    model = corelm.load("imdb")
    human = _features(model, 1.0, texts, seed=1)
    for t in TEMPERATURES:
        yield f"texts at t = {t:g} and 1", _features(model, t, texts, seed=2), human


def _features(model: corelm.LanguageModel, t: float, texts: int, seed: int) -> Floats:
    sampler = corelm.sampler(f"temperature(t={t})")
    drawn = corelm.generate(model, "The", sampler=sampler, n=texts, length=LENGTH, seed=seed)
    return features(model, tuple(each.text for each in drawn))


def own(first: Floats, second: Floats, seed: int) -> float:
    """Return MAUVE as corelm-mauve measures it."""
    mine, theirs = clusters(first, second, seed)
    count = int(max(mine.max(), theirs.max())) + 1
    shares = (np.bincount(each, minlength=count) / len(each) for each in (mine, theirs))
    return mauve(*shares)


def of_reference(first: Floats, second: Floats, seed: int) -> float:
    """Return MAUVE by mauve-text."""
    from mauve import compute_mauve

    found = compute_mauve(p_features=first, q_features=second, seed=seed, verbose=False)
    return float(found.mauve)


def compared(first: Floats, second: Floats, seeds: int, other: Measure) -> tuple[Floats, Floats]:
    """Return MAUVE from each seed, by corelm-mauve and by a different implementation."""
    measured = (
        np.array([measure(first, second, seed) for seed in range(seeds)])
        for measure in (own, other)
    )
    return tuple(measured)  # type: ignore[return-value]


def standard_errors(mine: Floats, theirs: Floats) -> float:
    """Return the difference of two means in standard errors of their difference."""
    apart = float(mine.mean() - theirs.mean())
    error = math.sqrt((mine.var(ddof=1) + theirs.var(ddof=1)) / len(mine))
    return 0.0 if abs(apart) < ROUNDING else apart / error if error else math.inf


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("seeds", 20), ("texts", 200)):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked, worst = parser.parse_args(), 0.0
    print("| features | corelm-mauve | sd | mauve-text | sd | difference in standard errors |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, first, second in pairs(asked.texts):
        mine, theirs = compared(first, second, asked.seeds, of_reference)
        apart = standard_errors(mine, theirs)
        worst = max(worst, abs(apart))
        numbers = f"{mine.mean():.4f} | {mine.std(ddof=1):.4f} | {theirs.mean():.4f}"
        print(f"| {name} | {numbers} | {theirs.std(ddof=1):.4f} | {apart:+.1f} |", flush=True)
    return int(worst > MOST)


if __name__ == "__main__":
    sys.exit(main())
