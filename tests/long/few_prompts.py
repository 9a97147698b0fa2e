"""Count what is false in reports on few and unlike prompts.

    python tests/long/few_prompts.py [--reports 400] [--worlds kinds copies] [--least 8]

A world of `chains.py` has a stock of prompts, and of texts of each by two samplers, whose figures
are computed once. A report draws prompts and texts from it, so the figures of the stock are the
truth. Prompts are the units, and human text is a sample of the same world on prompts of its own.

The first table has the share of reports with a false statement: `bold` of ten rows that write like
people, `margin` of ten rows at exactly 0.1 nats from human text, and `repeats`: one of ten rows is
said to repeat itself more than it does. Statements need `--least` units. The columns behind them
have the share of 95 % intervals of differences between the samplers that hold the truth. The second
table has the share of growing reports (`--until`) in which some look excludes the truth.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial

import chains
import numpy as np
from numpy.typing import NDArray

from corelm_pages.evidence import MARGIN
from corelm_report.document.lookup import LIMITS, scale_of
from corelm_report.measure.comparisons import LIMITED
from corelm_stats import text_figures
from corelm_stats.conclusions import confidence, discoveries, simultaneous
from corelm_stats.estimates import FEWEST, STATED
from corelm_stats.inference import Inference
from corelm_stats.intervals import of_difference, tails

Floats = NDArray[np.float64]
Places = tuple[NDArray[np.intp], NDArray[np.intp]]
Shares = Iterator[tuple[str, bool]]
DESIGNS = ((8, 1), (8, 4), (16, 1), (16, 4), (32, 2), (64, 1))
"""Prompts, and texts of each."""
PROMPTS, TEXTS, ROWS, HUMAN_TEXTS = 1500, 12, 10, 64
SAMPLERS = ("temperature(t=1.0)", "min_p(p=0.1)")
BAND, LOOKS = (0.5, 1.5), (8, 16, 32, 64, 128, 256)
DRIFT, LOOPS, SURPRISAL, REPEATED = "entropy_drift", "loops", "surprisal", "rep_4"
COUNTED = (SURPRISAL, "model_entropy", "outside_human_band", DRIFT, REPEATED)
ALL = np.arange(PROMPTS)[:, None], np.arange(TEXTS)[None]


@cache
def stock(world: str, sampler: str) -> dict[str, Floats]:
    """Return the two sums of each figure of each text, (2, prompts, texts); five for the drift."""
    some = chains.topics(world, PROMPTS, np.random.default_rng(3))
    uniforms = np.random.default_rng(4).random((PROMPTS, TEXTS, chains.LENGTHS[world]))
    texts = chains.write(some, sampler, uniforms)
    word, y, x = texts.tokens >= 0, np.nan_to_num(texts.entropy), np.arange(uniforms.shape[2])
    n, outside = word.sum(axis=2), word & ((y < BAND[0]) | (y > BAND[1]))
    tokens = [row[row >= 0].tolist() for row in texts.tokens.reshape(-1, y.shape[2])]
    sums = {
        name: np.array([np.nan_to_num(values), ~np.isnan(values)], float).reshape(2, *n.shape)
        for name, values in text_figures.by_text(tokens).items()
    }
    return sums | {
        SURPRISAL: np.array([np.nansum(texts.surprisal, axis=2), n]),
        "model_entropy": np.array([y.sum(axis=2), n]),
        "outside_human_band": np.array([outside.sum(axis=2), n], float),
        DRIFT: np.array(
            [n, (word * x).sum(axis=2), y.sum(axis=2), (word * x * x).sum(axis=2), y @ x]
        ),
    }


def sums_of(world: str, sampler: str, name: str, places: Places) -> Floats:
    """Return both sums of a figure of some texts: (2, prompts, texts)."""
    chosen = stock(world, sampler)[name][:, *places]
    if name != DRIFT:
        return chosen
    n, x, y, xx, xy = chosen  # around the mean position of these texts, as `intervals.drift` does
    at, of = x.sum() / n.sum(), y.sum() / n.sum()
    return np.array([xy - at * y - of * x + n * at * of, xx - 2 * at * x + n * at**2])


def truth(world: str, name: str, sampler: str = SAMPLERS[0]) -> float:
    """Return a figure of the whole stock."""
    top, bottom = sums_of(world, sampler, name, ALL).sum(axis=(1, 2))
    return float(top / bottom)


def texts_of(prompts: NDArray[np.intp], texts: int, rng: np.random.Generator) -> Places:
    """Draw texts of each prompt."""
    order = rng.permuted(np.tile(np.arange(TEXTS), (len(prompts), 1)), axis=1)
    return prompts[:, None], order[:, :texts]


def units_of(places: Places, anytime: bool = False) -> Inference:
    """Return the units of texts: their prompts."""
    samples = [(int(p), 1, i) for p in places[0].ravel() for i in range(places[1].shape[1])]
    return Inference.of_design(samples, anytime=anytime)


def p_values(own: Floats, human: Floats) -> Floats:
    """Return the p-value of each row's difference from human text, as `Estimate.p_value` does.

    Args:
        own: (2, rows, units).
        human: (2, units).
    """
    parts = [_parts(each) for each in (own, human[:, None])]
    value = parts[0][0] - parts[1][0]
    variance, third = parts[0][1] + parts[1][1], parts[0][3] - parts[1][3]
    freedom = variance**2 / sum(each[1] ** 2 / each[2] for each in parts)
    with np.errstate(all="ignore"):
        t, skewness = value / np.sqrt(variance), third / variance**1.5
    hall = t + skewness * t**2 / 3 + skewness**2 * t**3 / 27 + skewness / 6
    decided = (variance > 0) & (parts[0][4] >= FEWEST) & (parts[1][4] >= FEWEST)
    rows = zip(t[decided], hall[decided], freedom[decided], strict=True)
    return np.array([max(tails(a, f), tails(b, f)) for a, b, f in rows])


def _parts(sums: Floats) -> tuple[Floats, ...]:
    """Return value, variance, degrees of freedom, third moment and differing units of each row."""
    totals, n = sums.sum(axis=2), sums.shape[2]
    left_out = (totals[0][:, None] - sums[0]) / (totals[1][:, None] - sums[1])
    moved = (n - 1) / n * (left_out.mean(axis=1, keepdims=True) - left_out)
    value, second = totals[0] / totals[1], np.mean(moved**2, axis=1)
    moved[np.abs(moved) <= 1e-12 * np.abs(value)[:, None]] = 0
    with np.errstate(all="ignore"):
        excess = np.nan_to_num(np.mean(moved**4, axis=1) / second**2 - 1)
    kish = totals[1] ** 2 / (sums[1] ** 2).sum(axis=1)
    freedom = np.clip(np.where(excess > 0, 2 * n / np.maximum(excess, 1e-300), n), 1, n - 1)
    alike = np.array([np.unique(row, return_counts=True)[1].max() for row in moved])
    differing = np.where((2 * alike > n) & (alike < n), n - alike, n)
    return (
        value,
        n * n / (n - 1) * second,
        np.minimum(freedom, kish),
        (moved**3).sum(axis=1),
        differing,
    )


def report(world: str, design: tuple[int, int], least: int, rng: np.random.Generator) -> Shares:
    """Yield whether statements of a report are false, and whether intervals hold the truth."""
    prompts, others = (rng.integers(PROMPTS, size=n) for n in (design[0], HUMAN_TEXTS))
    prompts = np.unique(prompts)  # a prompt that is drawn twice is one
    rows = [texts_of(prompts, design[1], rng) for _ in range(ROWS)]
    human, units = texts_of(np.unique(others), 1, rng), units_of(rows[0])
    of_human = Inference.of_names(range(len(human[0])))
    enough, found = len(prompts) >= least, list[float]()
    for name in stock(world, SAMPLERS[0]) if enough else ():
        people = sums_of(world, SAMPLERS[0], name, human).sum(axis=2)
        own = np.array([sums_of(world, SAMPLERS[0], name, row) for row in rows]).swapaxes(0, 1)
        if name == LOOPS:
            share = of_human.share(tuple(people))
            loops = [units.share(tuple(each.reshape(2, -1))) - share for each in own.swapaxes(0, 1)]
            found += [p for each in loops if (p := each.p_value()) is not None]
        else:
            found += p_values(own.sum(axis=3), people).tolist()
    yield "bold", discoveries(found) >= 0
    people = of_human.estimate(tuple(sums_of(world, SAMPLERS[0], SURPRISAL, human)[..., 0]))
    sums = [sums_of(world, SAMPLERS[0], SURPRISAL, row).reshape(2, -1) for row in rows]
    apart = [units.estimate(tuple(each)) - people for each in sums]
    raised = [each.moved(1.0, each.value - MARGIN) for each in apart if enough]
    ends = [each for each in simultaneous(raised, further=1) if each]
    near = any(low > -MARGIN and high < MARGIN for low, high in ends)
    yield "margin", near or any(high < -MARGIN or low > MARGIN for low, high in ends)
    yield "repeats", enough and any(_repeats(world, row, units) for row in rows)
    for name in COUNTED:
        pair = [
            units.estimate(tuple(sums_of(world, sampler, name, row).reshape(2, -1)))
            for sampler, row in zip(SAMPLERS, rows, strict=False)
        ]
        both = pair[0] and pair[1] and pair[0] - pair[1]
        ends = both.interval(scale=of_difference(scale_of(name))) if both else None
        if both and both.variance > 0 and ends:
            yield name, ends[0] <= truth(world, name) - truth(world, name, SAMPLERS[1]) <= ends[1]


def _repeats(world: str, row: Places, units: Inference) -> bool:
    """Return whether a row is said to repeat itself more than it does."""
    own = units.estimate(tuple(sums_of(world, SAMPLERS[0], REPEATED, row).reshape(2, -1)))
    level = confidence(len(LIMITED) * ROWS)
    ends = own and own.interval(level, scale_of(REPEATED), LIMITS[REPEATED])
    return bool(ends) and ends[1] > ends[0] >= truth(world, REPEATED)


def looks(world: str, texts: int, first: int, rng: np.random.Generator) -> Shares:
    """Yield whether a look of a growing report excludes the truth, from the first look on."""
    rows = [texts_of(rng.permutation(PROMPTS)[: LOOKS[-1]], texts, rng) for _ in range(2)]
    rows[1] = rows[0][0], rows[1][1]
    for name in COUNTED:
        wrong = {name: False, f"{name}.difference": False}
        truths = [truth(world, name, sampler) for sampler in SAMPLERS]
        for count in (look for look in LOOKS if look >= first):
            some = [(row[0][:count], row[1][:count]) for row in rows]
            units, scale = units_of(some[0], anytime=True), scale_of(name)
            own, other = (
                units.estimate(tuple(sums_of(world, sampler, name, row).reshape(2, -1)))
                for sampler, row in zip(SAMPLERS, some, strict=True)
            )
            if own is None or other is None:
                continue
            alone = own.interval(scale=scale, limits=LIMITS.get(name))
            both = (own - other).interval(scale=of_difference(scale))
            for key, ends, about in zip(
                wrong, (alone, both), (truths[0], truths[0] - truths[1]), strict=True
            ):
                wrong[key] |= bool(ends) and ends[0] < ends[1] and not ends[0] <= about <= ends[1]
        yield from wrong.items()


def shares(count: Callable[[np.random.Generator], Shares], reports: int) -> dict[str, float]:
    """Return the share of the reports in which each thing holds."""
    held: dict[str, list[bool]] = {}
    for seed in range(reports):
        for name, each in count(np.random.default_rng(seed)):
            held.setdefault(name, []).append(each)
    return {name: float(np.mean(each)) for name, each in held.items()}


def show(label: str, row: dict[str, float], names: Sequence[str]) -> None:
    """Print a row of a Markdown table."""
    cells = (f"{row[name]:.1%}" if name in row else "-" for name in names)
    print(f"| {label} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Count and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--reports", type=int, default=400)
    parser.add_argument("--worlds", nargs="+", choices=chains.LENGTHS, default=[*chains.LENGTHS])
    parser.add_argument("--least", type=int, default=STATED)
    asked = parser.parse_args()
    names = ["bold", "margin", "repeats", *COUNTED]
    print(f"| world, prompts x texts | {' | '.join(names)} |\n| --- |{' ---: |' * len(names)}")
    for world in asked.worlds:
        for design in DESIGNS:
            count = partial(report, world, design, asked.least)
            show(f"{world} {design[0]} x {design[1]}", shares(count, asked.reports), names)
    names = [f"{name}{of}" for name in COUNTED for of in ("", ".difference")]
    print(f"\n| looks | {' | '.join(names)} |\n| --- |{' ---: |' * len(names)}")
    for world in asked.worlds:
        for texts in (1, 4):
            count = partial(looks, world, texts, asked.least)
            show(f"{world} x {texts}", shares(count, asked.reports), names)


if __name__ == "__main__":
    main()
