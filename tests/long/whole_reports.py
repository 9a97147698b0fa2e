"""Count how often the intervals of a report hold the truth, and how often its statements are false.

    python tests/long/whole_reports.py [--studies 400] [--chains repeating unlike ending]
                                       [--designs 8x4 8x16] [--reports 200]

The texts are those of `chains.py`, whose truth is known. Every study draws its own texts, and with
8 prompts or more its own prompts, because its intervals are about prompts like these; with fewer
the prompts stay. The truth of a mean over tokens or texts is that of 32,000 further texts; the
truth of a figure of a whole set is its mean over the studies.

Prints two Markdown tables. The first has for each figure the share of the studies whose interval
holds the truth, the lowest and the highest over the chains, for designs with 8 units and for those
with more. The second has for each design the share of the reports with a false statement.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import chains
import numpy as np
from corelm_report.measure.text_set import TextSet
from corelm_report.metrics import text_figures
from corelm_report.metrics.sums import along_texts, ratio
from statements import STATEMENTS, false_statements

DESIGNS = ((1, 8), (1, 64), (2, 8), (4, 16), (8, 4), (8, 16), (16, 2), (50, 1))
"""Prompts, and texts of each."""
MANY = 8
"""The number of prompts from which they are the units."""
SAMPLERS = ("temperature(t=0.8)", "min_p(p=0.1)")
BAND = (0.5, 1.5)
FIXED, TRUTH = 77, 32_000
"""The random seed of prompts that stay, and the texts that the truth is from."""
LEFT_OUT = ("unknown", "constraint_cost", "model_calls", "tokens_read", "perplexity")
"""Figures that are constant here, or follow from a different one."""
Design = tuple[int, int]
Held = dict[str, list[bool | None]]


def units(design: Design) -> int:
    """Return the number of independent units of a design."""
    prompts, samples = design
    return prompts if prompts >= MANY else samples


def prompts_of(chain: str, design: Design, rng: np.random.Generator) -> chains.Topics:
    """Return the prompts of one study."""
    if design[0] >= MANY:
        return chains.topics(chain, design[0], rng)
    some = chains.topics(chain, MANY, np.random.default_rng(FIXED))
    return chains.Topics(some.words[: design[0]], some.logits[: design[0]])


def text_sets(chain: str, design: Design, seed: int) -> list[TextSet]:
    """Return the texts of both samplers in one study, which share their random numbers."""
    rng = np.random.default_rng([seed, *design])
    some = prompts_of(chain, design, rng)
    uniforms = rng.random((*design, chains.LENGTHS[chain]))
    return [TextSet(chains.write(some, name, uniforms).records(), BAND) for name in SAMPLERS]


def study(chain: str, design: Design, seed: int) -> dict[str, tuple[float, list[float] | None]]:
    """Return every figure of the first sampler with its interval, and every difference."""
    first, second = text_sets(chain, design, seed)
    summary = first.summary()
    found = {
        name: (value, summary.ci95.get(name))
        for name, value in summary.figures.items()
        if value is not None and name not in LEFT_OUT
    }
    for name, each in first.differences(second).items():
        if name not in LEFT_OUT:
            found[f"difference of {name}"] = each.value, each.ci95
    return found


def truths(chain: str, design: Design) -> dict[str, float]:
    """Return the true means over tokens and texts, and their true differences."""
    rng = np.random.default_rng(5)
    random = design[0] >= MANY
    count = TRUTH // 2 if random else design[0]
    some = prompts_of(chain, (count, 1), rng)
    uniforms = rng.random((count, TRUTH // count, chains.LENGTHS[chain]))
    first, second = (_means(chains.write(some, name, uniforms)) for name in SAMPLERS)
    return first | {f"difference of {name}": first[name] - second[name] for name in first}


def _means(texts: chains.Texts) -> dict[str, float]:
    rows = [each.reshape(-1, each.shape[2]) for each in (texts.surprisal, texts.entropy)]
    surprisals, entropies = ([row[~np.isnan(row)] for row in each] for each in rows)
    tokens = [row[row >= 0].tolist() for row in texts.tokens.reshape(-1, texts.tokens.shape[2])]
    sums = along_texts(surprisals, entropies, BAND)
    words = [sum(2 + (token > 9) for token in text) + len(text) - 1 for text in tokens]
    bits = [float(row.sum()) / np.log(2) for row in surprisals]
    sums["bits_per_byte"] = bits, words
    found = {name: ratio(each) for name, each in sums.items()}
    found |= {name: text_figures.mean(each) for name, each in text_figures.by_text(tokens).items()}
    return {name: value for name, value in found.items() if value is not None}


def coverage(chain: str, design: Design, studies: int) -> Held:
    """Return whether the interval of each study holds the truth, by figure; None without one."""
    known = truths(chain, design)
    found: dict[str, list[tuple[float, list[float] | None]]] = defaultdict(list)
    for seed in range(studies):
        for name, each in study(chain, design, seed).items():
            found[name].append(each)
    held: Held = {}
    for name, each in found.items():
        truth = known.get(name, float(np.mean([value for value, _ in each])))
        slack = 1e-9 * max(abs(truth), 1)
        held[name] = [
            None if ends is None else ends[0] - slack <= truth <= ends[1] + slack
            for _, ends in each
        ] + [None] * (studies - len(each))
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
            shares = {
                f"{chain} {design[0]} x {design[1]}": each
                for (chain, design), held in found.items()
                if (units(design) == MANY) == few
                and (each := share(held.get(name, []))) is not None
            }
            if shares:
                least, most = (pick(shares, key=lambda at: shares[at]) for pick in (min, max))
                cells += [f"{shares[least]:.1%} ({least})", f"{shares[most]:.1%} ({most})"]
            else:
                cells += ["-", "-"]
        yield f"| {name} | {' | '.join(cells)} |"


def _design(text: str) -> Design:
    prompts, samples = map(int, text.split("x"))
    return prompts, samples


def main() -> None:
    """Run the studies and print both tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--studies", type=int, default=400)
    parser.add_argument("--reports", type=int, default=200)
    parser.add_argument("--chains", nargs="+", choices=chains.CHAINS, default=list(chains.CHAINS))
    parser.add_argument("--designs", nargs="+", type=_design, default=list(DESIGNS))
    asked = parser.parse_args()
    found = {}
    for chain in asked.chains if asked.studies else ():
        for design in asked.designs:
            found[chain, design] = coverage(chain, design, asked.studies)
    if found:
        print("| figure | 8 units: least | most | 16 to 64 units: least | most |")
        print("| --- | --- | --- | --- | --- |")
        print("\n".join(rows(found)), flush=True)
    if asked.reports:
        print("\n| chain | prompts x texts | " + " | ".join(STATEMENTS) + " |")
        print("| --- | --- |" + " ---: |" * len(STATEMENTS))
        for chain in asked.chains:
            for design in asked.designs:
                shares = false_statements(chain, design, asked.reports)
                cells = " | ".join("-" if s is None else f"{s:.1%}" for s in shares)
                print(f"| {chain} | {design[0]} x {design[1]} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
