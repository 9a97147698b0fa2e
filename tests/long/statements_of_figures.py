"""Count false statements from figures alone: a hundred times as fast as from whole reports.

The statements of `conclusions.py` follow from means over tokens and texts: here `closest` and
`loops`; `few_prompts.py` has the others. Two more are about contexts:

- `confident`: people write like the model, and it is called over- or underconfident;
- `tail`: the expected surprisal of ten rows is exactly 1 nat above human surprisal, and one of them
  is said to sample from the tail.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import chains
import numpy as np

from corelm_pages.evidence import LOOPING as NAMED
from corelm_pages.evidence import TAIL
from corelm_report.document.figures import EXPECTED
from corelm_report.measure.comparisons import LIMITED, excess, fit_on_human_text
from corelm_report.measure.entries import Measured
from corelm_stats import text_figures
from corelm_stats.conclusions import (
    closest_set,
    confidence,
)
from corelm_stats.estimates import Estimate
from corelm_stats.inference import HUMAN, Inference
from corelm_stats.intervals import Sums, along_texts

OF_FIGURES = ("closest", "loops", "confident", "tail")
LIKE_PEOPLE, LOOPING = 10, 8
"""The numbers of rows."""
BAND = (0.5, 1.5)
SAMPLER, PEOPLE = "temperature(t=1.0)", "temperature(t=1.07)"
TEMPERATURES = (0.8, 0.9, 1.0, 1.1, 1.2, 1.3)
HUMAN_TEXTS, RARELY = 64, 0.003
"""The number of human texts, and the share of texts that end in a loop."""
HOT = tuple(0.6 + 0.1 * i for i in range(LIKE_PEOPLE))
"""The temperatures of the rows that are 1 nat above human text."""
Design = tuple[int, int]


class Row(NamedTuple):
    """The figures of the texts of a sampler, as sums over texts, and their units."""

    sums: Mapping[str, Sums]
    inference: Inference

    def estimate(self, name: str) -> Estimate | None:
        """Return a figure with its error."""
        return self.inference.estimate(self.sums[name])


def sums_of(texts: chains.Texts) -> dict[str, Sums]:
    """Return the two sums of each text for every figure that is a mean."""
    rows = [each.reshape(-1, each.shape[2]) for each in (texts.surprisal, texts.entropy)]
    surprisals, entropies = ([row[~np.isnan(row)] for row in each] for each in rows)
    tokens = [row[row >= 0].tolist() for row in texts.tokens.reshape(-1, texts.tokens.shape[2])]
    found = along_texts(surprisals, entropies, BAND)
    for name, values in text_figures.by_text(tokens).items():
        found[name] = np.nan_to_num(values).tolist(), (~np.isnan(values)).tolist()
    return found


def false_statements_of_figures(chain: str, design: Design, seed: int) -> list[bool | None]:
    """Return whether each statement of a report is false; None if it says nothing."""
    rng = np.random.default_rng([seed, *design])
    some = chains.prompts_of(chain, design[0], rng)
    equal = [_row(some, SAMPLER, design, rng, chain) for _ in range(LOOPING)]
    return [
        _closest_is_left_out(chain, design, some, rng),
        _loops_are_named(equal, rng),
        *_misjudged_on_contexts(chain, design, rng),
    ]


def _row(
    some: chains.Topics, sampler: str, design: Design, rng: np.random.Generator, chain: str,
    uniforms: np.ndarray | None = None,
) -> Row:  # fmt: skip
    shape = (*design, chains.LENGTHS[chain])
    drawn = rng.random(shape) if uniforms is None else uniforms
    labels = [(p, 1, i) for p in range(design[0]) for i in range(design[1])]
    return Row(sums_of(chains.write(some, sampler, drawn)), Inference.of_design(labels))


def _people(chain: str, count: int, some: chains.Topics, rng: np.random.Generator) -> Row:
    """Return human texts, which are a sample of their own."""
    design = len(some.words), count // len(some.words)
    row = _row(some, PEOPLE, design, rng, chain)
    names = [(HUMAN, i) for i in range(design[0] * design[1])]
    return Row(row.sums, Inference.of_names(names))


def _closest_is_left_out(
    chain: str, design: Design, some: chains.Topics, rng: np.random.Generator
) -> bool | None:
    uniforms = rng.random((*design, chains.LENGTHS[chain]))
    settings = {}
    for t in TEMPERATURES:
        name = f"temperature(t={t})"
        found = _row(some, name, design, rng, chain, uniforms).estimate("surprisal")
        if found is not None:
            settings[name] = found
    many = design[0] >= chains.MANY
    target = _people(
        chain, HUMAN_TEXTS, chains.topics(chain, HUMAN_TEXTS, rng) if many else some, rng
    ).estimate("surprisal")
    if target is None or min(each.units or 0 for each in settings.values()) < 8:
        return None
    return true_closest(chain, design) not in closest_set(settings, target)


_TRUTHS: dict[tuple[str, int], str] = {}


def true_closest(chain: str, design: Design) -> str:
    """Return the row whose true mean surprisal is the closest to that of human text."""
    prompts = min(design[0], chains.MANY)
    if (chain, prompts) not in _TRUTHS:
        rng = np.random.default_rng(5)
        count = 4000 if prompts == chains.MANY else prompts
        some = chains.prompts_of(chain, count, rng)
        uniforms = rng.random((count, 40_000 // count, chains.LENGTHS[chain]))

        def mean(sampler: str) -> float:
            return float(np.nanmean(chains.write(some, sampler, uniforms).surprisal))

        target = mean(PEOPLE)
        names = [f"temperature(t={t})" for t in TEMPERATURES]
        _TRUTHS[chain, prompts] = min(names, key=lambda name: abs(mean(name) - target))
    return _TRUTHS[chain, prompts]


def _loops_are_named(rows: Sequence[Row], rng: np.random.Generator) -> bool:
    """Each text ends in a loop with a small probability, independently of all others."""
    level = confidence(len(LIMITED) * len(rows))
    for row in rows:
        n = len(row.inference.of)
        hits = (rng.random(n) < RARELY).astype(float).tolist()
        ends = row.inference.share((hits, [1.0] * n), level).ends
        if ends is not None and ends[0] > NAMED:
            return True
    return False


def _misjudged_on_contexts(chain: str, design: Design, rng: np.random.Generator) -> list[bool]:
    """Return whether the verdict on the model is wrong, and whether a row is said to be far off.

    The contexts are texts of people who write like the model.
    """
    texts, tables = _contexts(chain, design, rng)
    words = [row[~np.isnan(row)] for row in texts.surprisal.reshape(-1, texts.surprisal.shape[2])]
    own = _expected(texts, tables[1.0])
    curve = {
        "word_surprisal": [[each.sum()] * 3 for each in own],
        "word_surprisal_slope": [[1.0] * 3],
    }
    record = {"surprisal": [each.tolist() for each in words]}
    fit = fit_on_human_text(record, curve, [0.5, 1.0, 2.0], further=LIKE_PEOPLE)
    inference = Inference.of_names([(HUMAN, i) for i in range(len(words))])
    measured = {}
    for t in HOT:
        shift = TAIL - _true_excess(chain, design, t)
        rows = [(each + shift).tolist() for each in _expected(texts, tables[t])]
        measured[f"temperature(t={t})"] = Measured({EXPECTED: rows}, None, inference)  # type: ignore[arg-type]
    far = [each.interval for each in excess(measured, record) if each.interval]
    return [fit is None or fit.verdict is not None, any(low > TAIL for low, _ in far)]


def _contexts(
    chain: str, design: Design, rng: np.random.Generator, most: int = HUMAN_TEXTS
) -> tuple[chains.Texts, dict[float, np.ndarray]]:
    """Return human texts, and the expected surprisal after each word at every temperature."""
    count = min(design[0] * design[1], most)
    prompts = count if design[0] >= chains.MANY else design[0]
    some = chains.prompts_of(chain, prompts, rng)
    uniforms = rng.random((prompts, count // prompts, chains.LENGTHS[chain]))
    tables = {t: chains.expected_surprisal(some.logits, f"temperature(t={t})") for t in (1.0, *HOT)}
    return chains.write(some, SAMPLER, uniforms), tables


def _expected(texts: chains.Texts, table: np.ndarray) -> list[np.ndarray]:
    """Return the expected surprisal at each token of each text."""
    of_words = table[np.arange(len(table))[:, None, None], texts.states]
    pairs = zip(
        *(each.reshape(-1, each.shape[2]) for each in (of_words, texts.tokens)), strict=True
    )
    return [row[tokens >= 0] for row, tokens in pairs]


_EXCESS: dict[tuple[str, int], dict[float, float]] = {}


def _true_excess(chain: str, design: Design, t: float) -> float:
    """Return the true expected surprisal of a row minus human surprisal."""
    prompts = min(design[0], chains.MANY)
    if (chain, prompts) not in _EXCESS:
        large = (design[0], 10_000)
        texts, tables = _contexts(chain, large, np.random.default_rng(6), most=10_000)
        # At temperature 1 people are as surprising as the model's own tokens, on average.
        human = np.concatenate(_expected(texts, tables[1.0])).mean()
        _EXCESS[chain, prompts] = {
            at: float(np.concatenate(_expected(texts, tables[at])).mean() - human) for at in HOT
        }
    return _EXCESS[chain, prompts][t]
