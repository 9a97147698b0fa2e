"""Count how often the interval of the best of several settings holds its true mean.

    python tests/long/best_setting.py [--studies 300]

The true means of the settings are known. A study draws 64 texts of each, chooses the setting whose
mean is the closest to a target, and corrects its interval for the choice. Prints a Markdown table:
the share of the studies whose interval holds the truth, for several arrangements of the means.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence

import numpy as np

from corelm_stats.conclusions import best_of
from corelm_stats.estimates import Estimate

TRUE_MEANS: dict[str, list[float]] = {
    "20 at the target": [0.0] * 20,
    "20, each 0.3 above it": [0.3] * 20,
    "20 from 0.1 below to 0.1 above it": np.linspace(-0.1, 0.1, 20).tolist(),
    "20 from 1 below to 1 above it": np.linspace(-1, 1, 20).tolist(),
    "one at it, 3 above by 2": [0.0, 2.0, 2.0, 2.0],
}
"""The distances of settings from the target, in standard deviations of one text."""
SHARED = 0, 0.8
"""The share of the variance of a text that is the same for all settings."""


def coverage_of_the_best(
    truth: Sequence[float], shared: float, studies: int, texts: int = 64
) -> float:
    """Return the share of simulated studies in which the interval of the best setting holds.

    Args:
        truth: the true mean of each setting, less the target.
        shared: the share of the variance that is the same for all settings.
        studies: the number of studies.
        texts: the number of texts of each setting, whose standard deviation is 1.
    """
    rng, held = np.random.default_rng(5), 0
    for _ in range(studies):
        noise = math.sqrt(shared) * rng.normal(0, 1, texts)
        own = math.sqrt(1 - shared) * rng.normal(0, 1, (len(truth), texts))
        values = np.asarray(truth)[:, None] + noise + own
        best = best_of([_mean(each) for each in values], 0.0)
        if best is not None:
            index, _, (low, high) = best
            held += low <= truth[index] <= high
    return held / studies


def _mean(values: np.ndarray) -> Estimate:
    mean = Estimate.of_ratio("texts", values, np.ones(len(values)))
    assert mean is not None
    return mean


def main() -> None:
    """Run the studies and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--studies", type=int, default=300)
    asked = parser.parse_args()
    print("| settings | " + " | ".join(f"{share:.0%} shared" for share in SHARED) + " |")
    print("| --- | ---: | ---: |")
    for name, truth in TRUE_MEANS.items():
        shares = (coverage_of_the_best(truth, each, asked.studies) for each in SHARED)
        print(f"| {name} | " + " | ".join(f"{share:.1%}" for share in shares) + " |")


if __name__ == "__main__":
    main()
