"""Measure a detector: false positives on human texts, and power on the model's own."""

import math
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

import corelm
from corelm.commands import read_text
from corelm.errors import UsageError
from corelm_watermark.detection import detect

LENGTHS = (25, 50, 100, 200)
TEMPERATURES = (0.3, 0.7, 1.0)
WATERMARKS = ("green_list", "gumbel_max", "synthid")
KEYS = 20
"""The number of keys of the marked texts: texts with one key have much in common, especially with
synthid."""
AT_ONCE = 200
"""The number of texts written together: their steps take some 130 MB."""
HUMAN_KEYS = 4
"""The number of keys for the human texts: with one key, common phrases would have the same marks in
all of them."""
WIDTH = 17
"""The width of a column in characters: two levels fit."""
TIMES = 3
"""The number of times that each phrase occurs in a repetitive text."""


@dataclass(frozen=True)
class PowerPlan:
    """The measurements to make.

    Attributes:
        texts: the number of texts with each watermark, per temperature.
        unmarked: the number of texts without one.
        human: a folder with human texts, `*.txt`; None leaves them out.
        most: the largest number of human texts, spread evenly over the folder.
        levels: the largest p-values that count as detected.
        seed: the seed of the texts.
        watermarks: the names of the samplers.
        temperatures: the temperatures of the model's texts.
        repeat: also measure texts in which each phrase of this many tokens comes three times.
    """

    texts: int = 200
    unmarked: int = 200
    human: str | None = None
    most: int = 2500
    levels: tuple[float, ...] = (0.01,)
    seed: int = 1
    watermarks: tuple[str, ...] = WATERMARKS
    temperatures: tuple[float, ...] = TEMPERATURES
    repeat: int | None = None


def tables(model, plan):
    """Yield the lines of the tables."""
    levels = " and ".join(f"{level:g}" for level in plan.levels)
    yield _row(f"detected at p <= {levels}", [f"{n} tokens" for n in LENGTHS])
    if plan.human is not None:
        tokens = [model.vocabulary.encode(text) for text in human_texts(plan.human, plan.most)]
        for name in plan.watermarks:
            pairs = [(_keyed(name, i), text) for i in range(HUMAN_KEYS) for text in tokens]
            yield from _rows(f"{len(tokens):,} human texts, {name}", pairs, model, plan)
    for t in plan.temperatures:
        model_chain = f"temperature(t={t})"
        parts = max(KEYS, math.ceil(plan.unmarked / AT_ONCE))
        plain, nats = _write(model, [model_chain] * parts, plan.unmarked, plan.seed)
        texts = list(chain.from_iterable(plain))
        yield f"{plan.texts:,} marked texts at temperature {t:g}, {nats:.2f} nats a token"
        for name in plan.watermarks:
            watermarks = [_keyed(name, i) for i in range(KEYS)]
            chains = [f"{model_chain} | {w}" for w in watermarks]
            marked, nats = _write(model, chains, plan.texts, plan.seed)
            pairs = [(w, text) for w, part in zip(watermarks, marked, strict=True) for text in part]
            yield from _rows(f"  {name}, {nats:.2f} nats a token", pairs, model, plan)
            # A key for each text: with one key, phrases that texts share would count many times.
            pairs = [(_keyed(name, i), text) for i, text in enumerate(texts)]
            yield from _rows(f"  {name}, {len(texts):,} unmarked", pairs, model, plan)


def _rows(title, pairs, model, plan):
    """Yield a table's row for texts, and the row for the same texts with repeated phrases."""
    yield _row(title, _shares(p_values(pairs, model), plan.levels))
    if plan.repeat:
        again = [(watermark, repetitive(text, plan.repeat)) for watermark, text in pairs]
        yield _row("    phrases repeated", _shares(p_values(again, model), plan.levels))


def repetitive(text, size):
    """Return a text of the same length in which each phrase of `size` tokens occurs three times.

    Example:
        >>> repetitive([1, 2, 3, 4, 5, 6, 7, 8], 2)
        [1, 2, 1, 2, 1, 2, 3, 4]
    """
    phrases = (text[i : i + size] * TIMES for i in range(0, len(text), size))
    return list(chain.from_iterable(phrases))[: len(text)]


def p_values(pairs, model):
    """Return the p-values of the first tokens of texts: an array for each length.

    Texts with fewer tokens are left out.

    Args:
        pairs: each a watermark and the tokens of a text.
        model: the language model.
    """
    return [
        np.array([_p_value(w, text[:n], model) for w, text in pairs if len(text) >= n])
        for n in LENGTHS
    ]


def _shares(lengths, levels):
    """Format the shares of detected texts, one for each length; `-` without texts."""
    digits = 1 if len(levels) == 1 else 2
    return [
        " ".join(f"{np.mean(p <= level):7.{digits}%}" for level in levels) if len(p) else "-"
        for p in lengths
    ]


def _p_value(watermark, tokens, model):
    try:
        return detect(watermark, tokens, model.vocabulary).p_value
    except UsageError:  # only unknown words, so no evidence
        return 1.0


def human_texts(folder, most):
    """Return texts of a folder, spread evenly over its files."""
    files = sorted(Path(folder).rglob("*.txt"))
    if not files:
        raise UsageError(f"there are no .txt files in {folder}")
    chosen = np.linspace(0, len(files) - 1, min(most, len(files))).round().astype(int)
    return [read_text(str(files[i]), "the text") for i in chosen]


def _keyed(name, i):
    return corelm.sampler(name, key=f"key {i}")


def _write(model, samplers, texts, seed):
    """Return the tokens of texts, one list for each sampler, and their mean entropy in nats."""
    written, nats = [], []
    for i, part in enumerate(np.array_split(range(texts), len(samplers))):
        # No text may end early, as the largest length needs all of them.
        new = corelm.generate(
            model,
            "This movie",
            sampler=f"min_length(n={LENGTHS[-1]}) | {samplers[i]}",
            length=LENGTHS[-1],
            n=len(part),
            seed=seed + i,
        )
        written.append([model.vocabulary.encode(text.text) for text in new])
        nats += [np.mean([step.entropy for step in text.steps]) for text in new]
    return written, np.mean(nats)


def _row(name, cells):
    return f"{name:34}" + "".join(f"{cell:>{WIDTH}}" for cell in cells)
