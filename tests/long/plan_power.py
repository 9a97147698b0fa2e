"""Count how often the power that `corelm study plan` gives for its design holds the true one.

    python tests/long/plan_power.py [--pilots 300] [--worlds kinds copies] [--prompts 16]

A pilot draws prompts, and four texts of each, from a world of `few_prompts.py`. From its variances
follow the cheapest design that finds a difference of half a standard deviation of a text in 80 % of
all studies, and between which powers that design has. The variances of the whole stock are the
truth. The last column has the true power of nine in ten of the designs.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from functools import cache

import chains
import few_prompts
import numpy as np
from few_prompts import ALL, PROMPTS, SAMPLERS, Floats, Places

from corelm_stats.study_design import Goal, Pilot, VarianceParts, cheapest

FIGURES, TEXTS, POWER = ("surprisal", "model_entropy"), 4, 0.8


def differences(world: str, name: str, places: Places) -> Floats:
    """Return each text's part of the difference of the samplers, to first order."""
    a, b = few_prompts.sums_of(world, SAMPLERS[0], name, places)
    c, d = few_prompts.sums_of(world, SAMPLERS[1], name, places)
    first, second = a - a.sum() / b.sum() * b, c - c.sum() / d.sum() * d
    return a.size * (first / b.sum() - second / d.sum())


@cache
def truth(world: str, name: str) -> VarianceParts:
    """Return the variances between and within the prompts of the whole stock."""
    values = differences(world, name, ALL)
    within = float(values.var(axis=1, ddof=1).mean())
    between = float(values.mean(axis=1).var(ddof=1)) - within / values.shape[1]
    return VarianceParts(max(between, 0.0), within)


def plans(world: str, name: str, prompts: int, pilots: int) -> Iterator[tuple[bool, float]]:
    """Yield whether the plan of a pilot holds the true power of its design, and that power."""
    parts = truth(world, name)
    goal = Goal(0.5 * math.sqrt((parts.between or 0.0) + parts.within), POWER)
    for seed in range(pilots):
        random = np.random.default_rng((0, seed))
        places = few_prompts.texts_of(random.permutation(PROMPTS)[:prompts], TEXTS, random)
        values = differences(world, name, places)
        if not np.isfinite(values).all() or not values.any():
            continue
        measured = few_prompts.units_of(places).parts((values.ravel(), np.ones(values.size)))
        assert measured is not None  # each prompt has several texts
        pilot = Pilot("a sampler", measured, prompts, units=prompts)
        if design := cheapest([pilot], goal):
            high, low = (goal.power_of(*each.of_design(design)) for each in pilot.bounds())
            power = goal.power_of(*Pilot("a sampler", parts, prompts).of_design(design))
            yield low <= power <= high, power


def main() -> None:
    """Count and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pilots", type=int, default=300)
    parser.add_argument("--worlds", nargs="+", choices=chains.LENGTHS, default=[*chains.LENGTHS])
    parser.add_argument("--prompts", type=int, default=16)
    asked = parser.parse_args()
    print("| world, figure | plans | power held | 5 % | median | 95 % |")
    print("| --- |" + " ---: |" * 5)
    for world in asked.worlds:
        for name in FIGURES:
            held, powers = zip(*plans(world, name, asked.prompts, asked.pilots), strict=True)
            cells = [np.mean(held), *np.percentile(powers, (5, 50, 95))]
            shares = " | ".join(f"{each:.1%}" for each in cells)
            print(f"| {world} {name} | {len(held)} | {shares} |", flush=True)


if __name__ == "__main__":
    main()
