"""Count the false "closest" and the false differences of reports, at 64 to 1,024 texts.

    python tests/long/false_discoveries.py [--texts 64 256 1024] [--studies 400] [--reports 60]
                                        [--human 64]

The truth is known: "human" texts are texts of the toy model. For "closest" they have a temperature
that no row has. A study draws its texts from a pool of 20,000 of each row and of human texts, whose
means are the truth; it is false if the closest row is not in the set. The column without the error
of human text leaves that out of the same test. For differences one row writes like human text, so
each of its bold differences is false, and one at a temperature of 0.8 does not. Prints two Markdown
tables.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from corelm_report.document.content import Document, HumanEntry, SamplerEntry
from corelm_report.measure.entries import Measured, from_human
from corelm_report.measure.generated_texts import draw
from corelm_report.measure.text_records import TextRecord
from corelm_report.measure.text_set import TextSet
from corelm_report.metrics.conclusions import closest_set
from corelm_report.metrics.estimates import Estimate
from corelm_report.metrics.inference import Inference
from corelm_report.render.tables import clear_differences, p_values
from numpy.typing import NDArray

import corelm
from corelm.runs import Endings, Strategy, Texts
from corelm.testing import ToyModel

Pool = tuple[NDArray[np.float64], NDArray[np.float64]]
"""The surprisal of each text, and its tokens."""
ROWS = tuple(f"temperature(t={t})" for t in (0.8, 0.9, 1.0, 1.1, 1.2, 1.3))
PEOPLE = "temperature(t=1.07)"
LIKE_PEOPLE, UNLIKE = "stochastic", "temperature(t=0.8)"
POOL = 20_000
LENGTH = 20
BAND = (0.5, 1.5)


def records(expression: str, n: int, seed: int) -> list[TextRecord]:
    """Return texts of the toy model."""
    texts = Texts("the", Strategy.of(expression), LENGTH, n, seed, Endings())
    return draw(ToyModel(), texts, range(n))


def pool(expression: str, n: int, seed: int) -> Pool:
    """Return the surprisal of many texts; rows with one seed share their random numbers."""
    texts = records(expression, n, seed)
    return (
        np.array([sum(text["surprisal"]) for text in texts]),
        np.array([len(text["surprisal"]) for text in texts], dtype=np.float64),
    )


def estimate(sample: str, sums: Pool) -> Estimate:
    """Return the mean over tokens with the influence of each text."""
    found = Estimate.of_ratio(sample, *sums)
    assert found is not None
    return found


class ClosestStudies:
    """Studies of which row is the closest to human text.

    Args:
        size: the number of texts in a pool.
    """

    def __init__(self, size: int = POOL) -> None:
        self._rows = {name: pool(name, size, seed=1) for name in ROWS}
        self._human = pool(PEOPLE, size, seed=2)
        target = estimate("human", self._human).value
        far = {name: abs(estimate(name, each).value - target) for name, each in self._rows.items()}
        self.truth = min(far, key=lambda name: far[name])

    def run(self, texts: int, human: int, studies: int) -> tuple[float, float, float]:
        """Return the share of false sets, the same without the error of human text, and the size.

        Args:
            texts: the number of texts of each row.
            human: the number of human texts.
            studies: the number of studies.
        """
        found = [self._sets(texts, human, seed) for seed in range(studies)]
        false = [[self.truth not in rows for rows in pair] for pair in found]
        size = np.mean([len(rows) for rows, _ in found])
        return (*np.mean(false, axis=0).tolist(), float(size))

    def _sets(self, texts: int, human: int, seed: int) -> tuple[list[str], list[str]]:
        rng = np.random.default_rng(seed)
        size = len(self._human[0])
        some, people = rng.integers(0, size, texts), rng.integers(0, size, human)
        rows = {name: estimate("texts", (a[some], b[some])) for name, (a, b) in self._rows.items()}
        target = estimate("human", (self._human[0][people], self._human[1][people]))
        return closest_set(rows, target), closest_set(rows, Estimate(target.value))


def bold_differences(texts: int, human: int, seed: int) -> tuple[list[int], list[int], int]:
    """Return how many differences of each row are bold, by their own intervals and on the page.

    Args:
        texts: the number of texts of each row.
        human: the number of human texts.
        seed: the number of the report.

    Returns:
        For both rows, the false one first: the differences whose interval excludes 0; the bold
        ones; and the number of differences of a row.
    """
    people = TextSet(records(LIKE_PEOPLE, human, 2 * seed + 1), BAND, set_size=min(texts, human))
    row = HumanEntry(generated_texts=people.summary())
    entries = []
    for name in (LIKE_PEOPLE, UNLIKE):
        own = TextSet(records(name, texts, 2 * seed + 2), BAND)
        entry = SamplerEntry(sampler=name, generated_texts=own.summary())
        entries.append(
            replace(
                entry,
                differences=from_human(entry, Measured({}, own, Inference.of_names([])), row, None),
            )
        )
    small = corelm.compare(ToyModel(), ["greedy"], prompts="the", n=2, length=2).to_dict()
    document = replace(Document.from_dict(small), human=row, samplers=entries)
    chances, bold = dict(p_values(document)), clear_differences(document)
    plain = [sum(p < 0.05 for at, p in chances.items() if at.entry == e.sampler) for e in entries]
    marked = [sum(at.entry == entry.sampler for at in bold) for entry in entries]
    return plain, marked, len(chances) // 2


def print_closest(texts: Sequence[int], human: int, studies: int) -> None:
    """Print how often the closest row is not in the set."""
    simulation = ClosestStudies()
    print(f"{studies:,} studies each, {human:,} human texts, {len(ROWS)} rows\n")
    print("| texts | false | without the error of human text | rows in the set |")
    print("|---:|---:|---:|---:|")
    for n in texts:
        false, without, size = simulation.run(n, human, studies)
        print(f"| {n:,} | {false:.1%} | {without:.1%} | {size:.1f} |", flush=True)


def print_differences(texts: Sequence[int], human: int, reports: int) -> None:
    """Print how many differences are false, before and after the control of their rate."""
    print(f"\n{reports:,} reports each, {human:,} human texts\n")
    print(
        "| texts | differences of a row | false by their intervals | false and bold | reports with "
        "a false one | share of the bold ones that is false | true and bold |"
    )
    print("|---:|---:|---:|---:|---:|---:|---:|")
    for n in texts:
        found = [bold_differences(n, human, seed) for seed in range(reports)]
        plain, bold = (np.array([each[at] for each in found], float) for at in (0, 1))
        rates = bold[:, 0] / np.maximum(bold.sum(axis=1), 1)
        print(
            f"| {n:,} | {found[0][2]} | {plain[:, 0].mean():.2f} | {bold[:, 0].mean():.2f} | "
            f"{(bold[:, 0] > 0).mean():.1%} | {rates.mean():.1%} | {bold[:, 1].mean():.1f} |",
            flush=True,
        )


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=int, nargs="+", default=[64, 256, 1024])
    parser.add_argument("--studies", type=int, default=400, help="studies of the closest row")
    parser.add_argument("--reports", type=int, default=60, help="reports of differences")
    parser.add_argument("--human", type=int, default=64, help="the number of human texts")
    asked = parser.parse_args()
    print_closest(asked.texts, asked.human, asked.studies)
    print_differences(asked.texts, asked.human, asked.reports)


if __name__ == "__main__":
    main()
