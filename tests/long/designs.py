"""Count how often 95 % intervals contain the true value, for designs of prompts, texts and seeds.

    python tests/long/designs.py [--models chain imdb] [--studies 1000] [--sets 200] [--length 12]
                                 [--designs 1x64x1 50x1x1]

A pool of texts is drawn once, as a report draws them: for each prompt the same samples of one seed.
Every study of a design takes prompts from the pool and the same samples of each, and computes
intervals as a report does. Where an interval is about prompts like these, each study draws its own
prompts at random; otherwise the prompts stay, as for figures of sets of several texts per prompt.

The true value of a mean is the pool's; the chain is a Markov chain whose expected surprisal is
known exactly, and tests compare it with the pool's. The true value of a figure of a set is the mean
over the studies. Prints one Markdown table: a row for each design, with the share of its studies
whose interval holds the truth; a dash where most of them have no interval. The last rows are of
human texts as contexts: the maximum-likelihood temperature, and the difference of expected
surprisal from human surprisal.
"""

from __future__ import annotations

import argparse
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from corelm_report.document.lookup import LIMITS, scale_of
from corelm_report.measure import on_contexts
from corelm_report.measure.comparisons import fit_on_human_text
from corelm_report.measure.contexts import Contexts
from corelm_report.measure.generated_texts import draw
from corelm_report.measure.on_contexts import temperatures
from corelm_report.measure.text_records import TextRecord, without_details
from corelm_report.measure.text_set import TextSet
from corelm_report.metrics import text_figures
from corelm_report.metrics.inference import Inference
from corelm_report.metrics.intervals import Interval, Sums

import corelm
from corelm import LanguageModel, Sampler
from corelm.runs import Endings, Strategy, Texts
from corelm.testing import ToyModel

DESIGNS = (
    (1, 1, 1), (1, 4, 1), (1, 8, 1), (1, 64, 1), (1, 1, 40), (1, 4, 10), (2, 2, 1), (2, 4, 1),
    (4, 1, 1), (4, 16, 1), (7, 1, 10), (8, 1, 1), (8, 8, 1), (16, 1, 1), (16, 4, 2), (50, 1, 1),
    (50, 2, 1), (50, 1, 40), (50, 64, 1),
)  # fmt: skip
"""Prompts, texts of each, and seeds."""
HUMAN = (4, 8, 16, 64)
"""The numbers of human texts."""
LARGEST = 130
"""The number of texts up to which figures of sets are measured."""
SAMPLERS = ("temperature(t=0.8)", "top_p(p=0.8)")
SEED = 1
WORDS, TOPICS = 6, 50
SUBJECTS = (
    "movie", "film", "story", "plot", "acting", "script", "director", "music", "ending", "cast",
)  # fmt: skip
VERBS = ("is", "was", "has", "makes", "shows")
MEANS, SETS = ("surprisal", "rep_2", "loops"), ("distinct_2", "self_bleu_4", "compression")
FIGURES = (
    *MEANS, "difference of surprisal", *SETS, "difference of distinct_2", "temperature",
    "to human",
)  # fmt: skip


def chain() -> tuple[LanguageModel, list[str]]:
    """Return a Markov chain in which a text keeps to the topic of its prompt, and the prompts."""
    rng, size = np.random.default_rng(3), TOPICS * WORDS
    logits = np.full((size + 2, size + 2), -40.0)
    for topic in range(TOPICS):
        block = slice(2 + topic * WORDS, 2 + (topic + 1) * WORDS)
        logits[block, block] = rng.normal(0, 1, (WORDS, WORDS)) * rng.uniform(0.5, 2)
    words = [f"w{i}" for i in range(size)]
    return ToyModel(words, logits, end=False), words[::WORDS]


def imdb() -> tuple[LanguageModel, list[str]]:
    """Return the default model, and beginnings of reviews."""
    return corelm.load("imdb"), [f"The {subject} {verb}" for subject in SUBJECTS for verb in VERBS]


MODELS = {"chain": chain, "imdb": imdb}


def exact(model: LanguageModel, prompt: str, length: int, t: float) -> float:
    """Return the expected surprisal of a token of a text of the chain, drawn at a temperature."""
    ids = np.arange(len(model.vocabulary))[:, None]
    p = model.next_token_distribution(ids).astype(np.float64)
    q = p ** (1 / t)
    q /= q.sum(axis=1, keepdims=True)
    nats = -(q * np.log(np.maximum(p, 1e-300))).sum(axis=1)
    [start] = model.vocabulary.encode(prompt)
    at, total = np.eye(len(p))[start], 0.0
    for _ in range(length):
        total += float(at @ nats)
        at = at @ q
    return total / length


@dataclass(frozen=True)
class Pool:
    """Texts of two samplers, as a report draws them.

    Attributes:
        records: of each sampler and each prompt, the records of its samples.
        sums: of each sampler, by figure, (2, prompts, samples) of the two sums of each text.
    """

    records: Sequence[Sequence[Sequence[TextRecord]]]
    sums: Sequence[Mapping[str, np.ndarray]]

    @classmethod
    def drawn(cls, name: str, samples: int, length: int, shared: bool = False) -> Pool:
        """Draw the texts of all prompts; with the same random numbers if they are shared."""
        model, prompts = MODELS[name]()
        records = [
            [
                [without_details(record) for record in draw(model, texts, range(samples))]
                for index, prompt in enumerate(prompts)
                for texts in [_texts(prompt, sampler, length, SEED, 0 if shared else index)]
            ]
            for sampler in map(corelm.sampler, SAMPLERS)
        ]
        return cls(records, [{name: _sums(each, name) for name in MEANS} for each in records])


def _texts(prompt: str, sampler: Sampler, length: int, seed: int, index: int) -> Texts:
    return Texts(prompt, Strategy(sampler), length, 1, seed, Endings(), prompt_index=index)


def _sums(records: Sequence[Sequence[TextRecord]], name: str) -> np.ndarray:
    """Return (2, prompts, samples) of the two sums of each text."""
    sets = [_of(of_prompt) for of_prompt in records]
    return np.moveaxis(np.array([each[name] for each in sets]), 1, 0)


def _of(records: Sequence[TextRecord]) -> dict[str, Sums]:
    found = text_figures.by_text([record["tokens"] for record in records])
    tokens = [float(len(record["surprisal"])) for record in records]
    return {
        "surprisal": ([math.fsum(record["surprisal"]) for record in records], tokens),
        **{
            name: (np.nan_to_num(found[name]).tolist(), (~np.isnan(found[name])).tolist())
            for name in ("rep_2", "loops")
        },
    }


@dataclass(frozen=True)
class Study:
    """The texts of a study: of each, its prompt in the pool, its sample there, and its labels."""

    prompts: np.ndarray
    samples: np.ndarray
    labels: Sequence[tuple[int, int, int]]
    random: bool

    @classmethod
    def of(
        cls, design: tuple[int, int, int], pool: Pool, rng: np.random.Generator, again: bool = True
    ) -> Study:
        """Choose the texts of a study of this design, by default with replacement."""
        prompts, n, seeds = design
        _, population, size = pool.sums[0]["surprisal"].shape
        labels = [(p, s, i) for s in range(seeds) for p in range(prompts) for i in range(n)]
        # If the prompts are the units, the interval is about prompts like these. The interval of a
        # figure of a set of several texts per prompt is about these prompts only.
        random = prompts > 1 and Inference.of_design(labels).about_prompts
        random = random and (again or n * seeds == 1)
        chosen = rng.integers(population, size=prompts) if random else np.arange(prompts)
        # The same samples of every prompt; others for a prompt that is drawn again.
        shared, seen = np.empty((prompts, seeds, n), int), set[int]()
        for place in range(prompts):
            shared[place] = rng.choice(size, size=(seeds, n), replace=again)
        for place, prompt in enumerate(chosen.tolist()):
            if prompt not in seen:
                shared[place] = shared[0]
            seen.add(prompt)
        return cls(
            np.array([chosen[p] for p, _, _ in labels]),
            np.array([shared[p, s, i] for p, s, i in labels]),
            labels,
            random,
        )

    def means(self, pool: Pool) -> Iterator[tuple[str, float, Interval | None]]:
        """Yield the figures that are means with the truth and their intervals."""
        of, everywhere = (
            Inference.of_design(self.labels),
            slice(None) if self.random else np.unique(self.prompts),
        )
        pairs = []
        for sums in pool.sums:
            pairs.append({name: self._at(each) for name, each in sums.items()})
        first, second = pairs
        truths = [
            {name: _ratio(each[:, everywhere]) for name, each in sums.items()} for sums in pool.sums
        ]
        difference = truths[0]["surprisal"] - truths[1]["surprisal"]
        own = {name: of.estimate(first[name]) for name in ("surprisal", "rep_2")}
        other = of.estimate(second["surprisal"])
        assert own["surprisal"] is not None
        assert other is not None
        yield "surprisal", truths[0]["surprisal"], own["surprisal"].interval()
        repetition = own["rep_2"] and own["rep_2"].interval(
            scale=scale_of("rep_2"), limits=LIMITS["rep_2"]
        )
        # As in a report: no interval where no text repeats anything.
        repetition = repetition if repetition and repetition[0] < repetition[1] else None
        yield "rep_2", truths[0]["rep_2"], repetition
        loops = of.share(first["loops"]).ends
        yield "loops", truths[0]["loops"], loops
        yield "difference of surprisal", difference, (own["surprisal"] - other).interval()

    def _at(self, sums: np.ndarray) -> Sums:
        tops, bottoms = sums[:, self.prompts, self.samples]
        return tops.tolist(), bottoms.tolist()

    def sets(self, pool: Pool) -> Iterator[tuple[str, float, Interval | None]]:
        """Yield the figures of whole sets with their values and intervals."""
        first, second = map(self.text_set, pool.records)
        ends = first.summary().ci95
        for name in SETS:
            value = first.of_set[name]
            if value is not None:
                yield name, value, ends[name]
        if "distinct_2" in (found := first.differences(second)):
            each = found["distinct_2"]
            yield "difference of distinct_2", each.value or 0.0, each.ci95

    def text_set(self, records: Sequence[Sequence[TextRecord]]) -> TextSet:
        """Return the texts of one sampler, labelled as in a report."""
        places = zip(self.prompts.tolist(), self.samples.tolist(), self.labels, strict=True)
        texts = []
        for prompt, sample, (p, s, i) in places:
            text = records[prompt][sample].copy()
            text["prompt"], text["seed"], text["sample"] = str(p), s, i
            texts.append(text)
        return TextSet(texts)


def _ratio(sums: np.ndarray) -> float:
    return float(sums[0].sum() / sums[1].sum())


def human_texts(name: str, texts: int, length: int) -> tuple[LanguageModel, Contexts]:
    """Return texts of people who are the model at temperature 1.5."""
    model, prompts = MODELS[name]()
    sampler, each = corelm.sampler("temperature(t=1.5)"), -(-texts // len(prompts))
    found = [
        tuple(model.vocabulary.encode(prompt)) + tuple(record["tokens"])
        for index, prompt in enumerate(prompts)
        for record in draw(model, _texts(prompt, sampler, length, 2, index), range(each))
    ]
    lengths = tuple(len(model.vocabulary.encode(p)) for p in prompts for _ in range(each))
    return model, Contexts("human", "people", tuple(found), lengths)


def of_human_texts(name: str, studies: int, texts: int, length: int) -> Iterator[list[str]]:
    """Yield a row of the table for each number of human texts."""
    model, people = human_texts(name, texts, length)
    sampler = corelm.sampler("temperature(t=1.5)")
    t = temperatures([sampler])
    found = on_contexts.measure(model, people, [sampler], t)
    expected = np.array([math.fsum(text) for text in found["samplers"][0]["expected_surprisal"]])
    human = np.array([math.fsum(text) for text in found["model"]["surprisal"]])
    counts = np.array(found["curve"]["positions"])
    whole = fit_on_human_text(found["model"], found["curve"], t)
    assert whole is not None
    truth = float((expected - human).sum() / counts.sum())
    rng = np.random.default_rng(4)
    for n in HUMAN:
        held: dict[str, list[bool | None]] = defaultdict(list)
        for _ in range(studies):
            some = rng.integers(len(counts), size=n)
            parts = [
                {key: [values[i] for i in some] for key, values in found[part].items()}
                for part in ("model", "curve")
            ]
            fit = fit_on_human_text(*parts, t)
            held["temperature"].append(_holds(fit and fit.t_ci95, whole.t or math.nan))
            units = Inference.of_names(range(n))
            own, other = (
                units.estimate((each[some].tolist(), counts[some].tolist()))
                for each in (expected, human)
            )
            assert own is not None
            assert other is not None
            held["to human"].append(_holds((own - other).interval(), truth))
        yield _row(name, f"{n} human texts", n, held)


def _holds(ends: Interval | None, truth: float) -> bool | None:
    slack = 1e-9 * max(abs(truth), 1)
    return None if ends is None else ends[0] - slack <= truth <= ends[1] + slack


def coverage(
    pool: Pool, design: tuple[int, int, int], studies: int, sets: int
) -> dict[str, list[bool | None]]:
    """Return whether each study's interval holds the truth, by figure."""
    rng = np.random.default_rng(5)
    held: dict[str, list[bool | None]] = defaultdict(list)
    for _ in range(studies):
        for name, truth, ends in Study.of(design, pool, rng).means(pool):
            held[name].append(_holds(ends, truth))
    if math.prod(design) > LARGEST:
        return held
    found: dict[str, list[tuple[float, Interval | None]]] = defaultdict(list)
    for _ in range(sets):
        # A text that is in a set twice would make it more alike than sets are.
        for name, value, ends in Study.of(design, pool, rng, again=False).sets(pool):
            found[name].append((value, ends))
    for name, values in found.items():
        truth = math.fsum(value for value, _ in values) / len(values)
        held[name] = [_holds(ends, truth) for _, ends in values]
    return held


def _row(
    name: str, design: str, number: int, held: Mapping[str, Sequence[bool | None]]
) -> list[str]:
    return [name, design, str(number), *(_share(held.get(figure, [])) for figure in FIGURES)]


def _share(held: Sequence[bool | None]) -> str:
    known = [each for each in held if each is not None]
    return f"{np.mean(known):.1%}" if 2 * len(known) > len(held) else "-"


def _design(text: str) -> tuple[int, int, int]:
    prompts, texts, seeds = map(int, text.split("x"))
    return prompts, texts, seeds


def main() -> None:
    """Draw the pools and print the table."""
    parser = argparse.ArgumentParser(description="Count how often intervals hold the truth.")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--designs", nargs="+", type=_design, default=list(DESIGNS))
    for name, default in (("studies", 1000), ("sets", 200), ("samples", 400), ("length", 12)):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    titles = ["model", "prompts x texts x seeds", "units", *FIGURES]
    print("| " + " | ".join(titles) + " |\n| --- | --- |" + " ---: |" * (len(titles) - 2))
    for name in asked.models:
        pool = Pool.drawn(name, asked.samples, asked.length)
        for design in asked.designs:
            held = coverage(pool, design, asked.studies, asked.sets)
            prompts, n, seeds = design
            labels = [(p, s, i) for s in range(seeds) for p in range(prompts) for i in range(n)]
            row = _row(name, " x ".join(map(str, design)), len(Inference.of_design(labels)), held)
            print("| " + " | ".join(row) + " |", flush=True)
        if asked.designs != list(DESIGNS):
            continue
        for row in of_human_texts(name, asked.studies, 4 * asked.samples, asked.length):
            print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
