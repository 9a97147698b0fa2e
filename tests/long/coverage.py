"""Count how often a report's 95 % intervals contain the true value, over many simulated studies.

    python tests/long/coverage.py [--studies 1000] [--texts 64] [--prompts 1] [--length 20]

Every study draws its own texts from the toy model with two samplers, as a report does, with its own
seed. The true value is the mean over all studies: for a mean over tokens, the pooled mean; for a
figure of a set, the mean of the figure over such sets. It is about thirty times as precise as the
estimate of one study. For the best of several settings, the one whose surprisal is closest to a
target, the true value is the mean of the setting chosen. Prints a Markdown table: the share of the
studies whose interval contains the true value, for each figure and for its paired difference
between the samplers; then the same for the best of several settings with known true means, for
several arrangements of these means.
"""

from __future__ import annotations

import argparse
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from corelm_report.measure import on_contexts
from corelm_report.measure.contexts import model_contexts
from corelm_report.measure.generated_texts import draw
from corelm_report.measure.text_set import TextSet
from corelm_report.metrics.conclusions import best_of
from corelm_report.metrics.estimates import Estimate
from corelm_report.metrics.inference import Inference
from corelm_report.metrics.intervals import Interval, total

import corelm
from corelm import Sampler
from corelm.runs import Endings, Strategy, Texts
from corelm.testing import ToyModel

SAMPLERS = ("temperature(t=0.8)", "top_p(p=0.8)")
SETTINGS: tuple[str, ...] = tuple(
    f"temperature(t={t})" for t in (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2)
)
TARGET = 1.0
"""The best surprisal, in nats: between the surprisals of two settings."""
BEST, UNCORRECTED = "surprisal of the best of 8 settings", "the same without a correction"
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
PROMPTS = ("the", "the cat", "the dog", "a")
CONTEXTS = 32
"""The number of texts on whose positions a report compares samplers."""


@dataclass(frozen=True)
class Study:
    """The settings of a study.

    Attributes:
        texts: texts of each sampler for each prompt.
        prompts: the number of prompts.
        length: tokens of a text, at most.
        settings: the settings of which a study chooses the best one.
    """

    texts: int = 64
    prompts: int = 1
    length: int = 20
    settings: tuple[str, ...] = SETTINGS

    def run(self, seed: int) -> dict[str, Figure]:
        """Return every figure of a study, and the paired differences of its two samplers."""
        model = ToyModel()
        samplers = [corelm.sampler(each) for each in SAMPLERS]
        first, second = (self._texts(model, sampler, seed) for sampler in samplers)
        summary = first.summary()
        found = {
            name: Figure(value, ends)
            for name, ends in summary.ci95.items()
            if (value := summary.figures[name]) is not None
        }
        found |= {
            f"difference of {name}": Figure(each.value, each.ci95)
            for name, each in first.differences(second).items()
            if each.value is not None
        }
        return found | self._best(model, seed) | self._teacher_forced(model, samplers, seed)

    def _best(self, model: ToyModel, seed: int) -> dict[str, Figure]:
        """Return the surprisals of all settings and of the best one."""
        found = {}
        for setting in self.settings:
            texts = self._texts(model, corelm.sampler(setting), seed)
            if each := texts.estimate("surprisal"):
                found[setting] = each
        means = {name: each.value for name, each in found.items()}
        best = best_of(list(found.values()), TARGET) if found else None
        if best is None:
            return {}
        name = self.settings[best.chosen]
        plain = found[name].interval()
        return {f"surprisal of {name}": Figure(mean, None) for name, mean in means.items()} | {
            BEST: Figure(best.value, best.ends, f"surprisal of {name}"),
            UNCORRECTED: Figure(means[name], plain, f"surprisal of {name}"),
        }

    def _texts(self, model: ToyModel, sampler: Sampler, seed: int) -> TextSet:
        drawn = [
            draw(model, texts, range(self.texts))
            for index, prompt in enumerate(PROMPTS[: self.prompts])
            for texts in [
                Texts(
                    prompt, Strategy(sampler), self.length, self.texts, seed, Endings(),
                    prompt_index=index,
                )
            ]
        ]  # fmt: skip
        return TextSet([record for part in drawn for record in part], (0.5, 1.5))

    def _teacher_forced(
        self, model: ToyModel, samplers: Sequence[Sampler], seed: int
    ) -> dict[str, Figure]:
        contexts = model_contexts(model, PROMPTS[:1], CONTEXTS, self.length, seed)
        records = on_contexts.measure(model, contexts, samplers)["samplers"]
        found = {}
        inference = Inference.of_names(range(CONTEXTS))
        for name in ("entropy", "mass_kept", "expected_surprisal"):
            first, second = (inference.estimate(total(record[name])) for record in records)
            if first and second:
                both = first - second
                key = f"difference of {name}, same contexts"
                found[key] = Figure(both.value, both.interval())
        return found


@dataclass(frozen=True)
class Figure:
    """One figure of one study, with its interval.

    Attributes:
        value: the figure.
        ends: its interval.
        of: the figure whose true value the interval should contain; by default this one.
    """

    value: float
    ends: Interval | None
    of: str | None = None


@dataclass(frozen=True)
class Coverage:
    """The share of studies in which the interval of a figure holds the truth.

    Attributes:
        truth: the mean over the studies of the figure itself, or of the one that it is about.
        share: the share of the studies whose interval holds it.
        below, above: the shares in which it is below and above the interval.
        studies: the number of studies with an interval.
    """

    truth: float
    share: float
    below: float
    above: float
    studies: int


def coverage(studies: Iterable[Mapping[str, Figure]]) -> dict[str, Coverage]:
    """Return the coverage of each figure over some studies."""
    columns: dict[str, list[Figure]] = defaultdict(list)
    for study in studies:
        for name, figure in study.items():
            columns[name].append(figure)
    truths = {
        name: math.fsum(each.value for each in figures) / len(figures)
        for name, figures in columns.items()
    }
    return {name: _of(name, figures, truths) for name, figures in columns.items()}


def _of(name: str, figures: Sequence[Figure], truths: Mapping[str, float]) -> Coverage:
    known = [each for each in figures if each.ends is not None]
    if not known:
        return Coverage(truths[name], math.nan, math.nan, math.nan, 0)
    ends = np.array([each.ends for each in known])
    truth = np.array([truths[each.of or name] for each in known])
    slack = 1e-9 * np.maximum(np.abs(truth), 1)
    below, above = (ends[:, 0] > truth + slack).mean(), (ends[:, 1] < truth - slack).mean()
    share = float(1 - below - above)
    return Coverage(float(truth.mean()), share, float(below), float(above), len(ends))


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
        held += best is not None and best.ends[0] <= truth[best.chosen] <= best.ends[1]
    return held / studies


def _mean(values: np.ndarray) -> Estimate:
    found = Estimate.of_ratio("texts", values, np.ones(len(values)))
    assert found is not None
    return found


def main() -> None:
    """Run the studies and print the table."""
    parser = argparse.ArgumentParser(description="Count how often intervals hold the truth.")
    parser.add_argument("--studies", type=int, default=1000)
    for name, default in (("texts", 64), ("prompts", 1), ("length", 20)):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    study = Study(asked.texts, asked.prompts, asked.length)
    found = coverage(study.run(seed) for seed in range(1, asked.studies + 1))
    print("| figure | truth | covered | truth below | above | studies |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    found = {name: each for name, each in found.items() if each.studies}
    for name, each in found.items():
        print(
            f"| {name} | {each.truth:.4f} | {each.share:.1%} | {each.below:.1%} "
            f"| {each.above:.1%} | {each.studies} |"
        )
    print("\n| settings | " + " | ".join(f"{share:.0%} shared" for share in SHARED) + " |")
    print("| --- | ---: | ---: |")
    for name, truth in TRUE_MEANS.items():
        shares = (coverage_of_the_best(truth, each, asked.studies) for each in SHARED)
        print(f"| {name} | " + " | ".join(f"{share:.1%}" for share in shares) + " |")


if __name__ == "__main__":
    main()
