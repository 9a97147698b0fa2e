"""Count how often a report's intervals contain the true value, and its statements are false.

    python tests/long/whole_reports.py [--studies 400] [--sets 100] [--reports 67]
                                       [--chains repeating unlike ending] [--designs 8x4 8x16]

The texts come from `chains.py`, whose true values are known. Every study draws its own texts, and
with 8 prompts or more its own prompts, because its intervals are about prompts like these; with
fewer, the prompts stay. The true value of a mean over tokens or texts comes from 16,000 further
texts; the true value of a figure of a whole set is its mean over the studies.

Prints two Markdown tables. The first has, for each figure, the share of the studies whose interval
contains the true value: over all chains and designs, and in the worst and the best of them, for
designs with 8 units and with more. The second has for each design the share of `--reports` with a
false statement, from figures alone.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import chains
import numpy as np
from statements_of_figures import OF_FIGURES, false_statements_of_figures, sums_of

from corelm_report.document.lookup import LIMITS, OF_SETS, scale_of
from corelm_report.measure.text_set import TextSet
from corelm_stats.inference import Inference
from corelm_stats.intervals import ratio

DESIGNS = ((1, 8), (1, 64), (2, 8), (4, 16), (8, 4), (8, 16), (16, 2), (50, 1))
"""Prompts, and texts of each."""
SAMPLERS = ("temperature(t=0.8)", "min_p(p=0.1)")
BAND = (0.5, 1.5)
TRUTH = 16_000
"""The texts that the truth is from."""
Design = tuple[int, int]
Held = dict[str, list[bool | None]]
Figures = dict[str, tuple[float, list[float] | None]]
"""Each figure of a study with its interval."""


def units(design: Design) -> int:
    """Return the number of independent units of a design."""
    prompts, samples = design
    return prompts if prompts >= chains.MANY else samples


def both_samplers(chain: str, design: Design, seed: int) -> list[chains.Texts]:
    """Return the texts of both samplers in one study, which share their random numbers."""
    rng = np.random.default_rng([seed, *design])
    some = chains.prompts_of(chain, design[0], rng)
    uniforms = rng.random((*design, chains.LENGTHS[chain]))
    return [chains.write(some, name, uniforms) for name in SAMPLERS]


def study_of_means(chain: str, design: Design, seed: int) -> Figures:
    """Return every mean of the first sampler with its interval, and every difference."""
    first, second = (sums_of(texts) for texts in both_samplers(chain, design, seed))
    labels = [(p, 1, i) for p in range(design[0]) for i in range(design[1])]
    inference, found = Inference.of_design(labels), Figures()
    for name, sums in first.items():
        own, other = inference.estimate(sums), inference.estimate(second[name])
        if own is None or other is None:
            continue
        ends = own.interval(scale=scale_of(name), limits=LIMITS.get(name))
        if name == "loops":
            ends = inference.share(sums).ends
        # As in a report: no interval where no text repeats anything.
        found[name] = own.value, ends if ends and ends[0] < ends[1] else None
        if name != "loops":
            both = own - other
            # As in a report: none where all pairs of texts differ by the same.
            ends = both.interval() if both.variance else None
            found[f"difference of {name}"] = both.value, ends
    return found


def study_of_sets(chain: str, design: Design, seed: int) -> Figures:
    """Return every figure of a whole set with its interval, and every difference."""
    first, second = (TextSet(texts.records(), BAND) for texts in both_samplers(chain, design, seed))
    summary, found = first.summary(), Figures()
    for name, each in first.differences(second).items():
        if name in OF_SETS:
            value = summary.figures[name]
            if value is not None and each.value is not None:
                found[name] = value, summary.ci95[name]
                found[f"difference of {name}"] = each.value, each.ci95
    return found


def truths(chain: str, design: Design) -> dict[str, float]:
    """Return the true means over tokens and texts, and their true differences."""
    rng = np.random.default_rng(5)
    random = design[0] >= chains.MANY
    count = TRUTH // 2 if random else design[0]
    some = chains.prompts_of(chain, count, rng)
    uniforms = rng.random((count, TRUTH // count, chains.LENGTHS[chain]))
    first, second = (
        {name: ratio(sums) or 0.0 for name, sums in sums_of(texts).items()}
        for texts in (chains.write(some, name, uniforms) for name in SAMPLERS)
    )
    return first | {f"difference of {name}": first[name] - second[name] for name in first}


def coverage(chain: str, design: Design, studies: int, sets: int) -> Held:
    """Return whether the interval of each study holds the truth, by figure; None without one."""
    known, held = truths(chain, design), Held()
    for study, count in ((study_of_means, studies), (study_of_sets, sets)):
        found: dict[str, list[tuple[float, list[float] | None]]] = defaultdict(list)
        for seed in range(count):
            for name, each in study(chain, design, seed).items():
                found[name].append(each)
        for name, several in found.items():
            truth = known.get(name, float(np.mean([value for value, _ in several])))
            slack = 1e-9 * max(abs(truth), 1)
            held[name] = [
                None if ends is None else ends[0] - slack <= truth <= ends[1] + slack
                for _, ends in several
            ] + [None] * (count - len(several))
    return held


def share(held: Sequence[bool | None]) -> float | None:
    """Return the share of the studies that hold the truth; None if most have no interval."""
    known = [each for each in held if each is not None]
    return float(np.mean(known)) if 2 * len(known) > len(held) else None


def rows(found: Mapping[tuple[str, Design], Held]) -> Iterator[str]:
    """Yield a row of the table for each figure: few units, then many."""
    names = dict.fromkeys(name for held in found.values() for name in held)
    for name in names:
        cells = []
        for few in (True, False):
            chosen = {
                f"{chain} {design[0]} x {design[1]}": held[name]
                for (chain, design), held in found.items()
                if (units(design) == chains.MANY) == few and share(held.get(name, [])) is not None
            }
            shares = {place: share(held) or 0.0 for place, held in chosen.items()}
            if shares:
                every = share([each for held in chosen.values() for each in held]) or 0.0
                least, most = (pick(shares, key=lambda at: shares[at]) for pick in (min, max))
                cells += [f"{every:.1%}", f"{shares[least]:.1%} ({least})", f"{shares[most]:.1%}"]
            else:
                cells += ["-", "-", "-"]
        yield f"| {name} | {' | '.join(cells)} |"


def of_figures(some: Sequence[str], design: Design, reports: int) -> list[float | None]:
    """Return the share of the reports with a false statement of each kind, and of any kind."""
    found = [
        false_statements_of_figures(chain, design, seed)
        for seed in range(reports)
        for chain in some
    ]
    whole = [[*kinds, any(kinds)] for kinds in found]
    columns = [[each for each in column if each is not None] for column in zip(*whole, strict=True)]
    return [float(np.mean(column)) if column else None for column in columns]


def _design(text: str) -> Design:
    prompts, samples = map(int, text.split("x"))
    return prompts, samples


def main() -> None:
    """Run the studies and print both tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--studies", type=int, default=400)
    parser.add_argument("--sets", type=int, default=100)
    parser.add_argument("--reports", type=int, default=67)
    parser.add_argument("--chains", nargs="+", choices=chains.CHAINS, default=list(chains.CHAINS))
    parser.add_argument("--designs", nargs="+", type=_design, default=list(DESIGNS))
    asked = parser.parse_args()
    found = {}
    for chain in asked.chains if asked.studies else ():
        for design in asked.designs:
            found[chain, design] = coverage(chain, design, asked.studies, asked.sets)
    if found:
        print("| figure | 8 units: all | least | most | 16 to 64 units: all | least | most |")
        print("| --- | ---: | --- | ---: | ---: | --- | ---: |")
        print("\n".join(rows(found)), flush=True)
    if asked.reports:
        print("\n| prompts x texts | " + " | ".join((*OF_FIGURES, "any")) + " |")
        print("| --- |" + " ---: |" * (len(OF_FIGURES) + 1))
        for design in asked.designs:
            shares = of_figures(asked.chains, design, asked.reports)
            cells = " | ".join("-" if s is None else f"{s:.1%}" for s in shares)
            print(f"| {design[0]} x {design[1]} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
