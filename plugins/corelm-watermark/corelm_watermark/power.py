"""Measure a detector: false positives on human texts, and power on the model's own."""

from pathlib import Path

import numpy as np

import corelm
from corelm.errors import UsageError
from corelm_watermark.detection import detect

LENGTHS = (25, 50, 100, 200)
TEMPERATURES = (0.3, 0.7, 1.0)
WATERMARKS = ("green_list", "synthid")
KEYS = 20
"""Keys of the model's texts: those with one key have much in common, above all with synthid."""
HUMAN_KEYS = 4
"""Keys for the human texts: with one key, common phrases fall on one side in all of them."""


def tables(model, texts, human=None, most=2500, level=0.01, seed=1):
    """Yield the lines of the tables.

    Args:
        model: the language model.
        texts: the number of texts of each kind.
        human: a folder with human texts, `*.txt`; None leaves them out.
        most: the largest number of human texts, spread evenly over the folder.
        level: the largest p-value that counts as detected.
        seed: the seed of the texts.
    """
    yield _row(f"detected at p <= {level:g}", [f"{n} tokens" for n in LENGTHS])
    if human is not None:
        tokens = [model.vocabulary.encode(text) for text in human_texts(human, most)]
        for name in WATERMARKS:
            pairs = [(_keyed(name, i), text) for i in range(HUMAN_KEYS) for text in tokens]
            yield _row(f"{len(tokens):,} human texts, {name}", rates(pairs, model, level))
    for t in TEMPERATURES:
        chain = f"temperature(t={t})"
        plain = _write(model, [chain] * KEYS, texts, seed)
        yield f"{texts} texts at temperature {t:g}, {_entropy(plain)}"
        for name in WATERMARKS:
            watermarks = [_keyed(name, i) for i in range(KEYS)]
            marked = _write(model, [f"{chain} | {w}" for w in watermarks], texts, seed)
            yield _row(f"  {name}, {_entropy(marked)}", _rates(watermarks, marked, model, level))
            yield _row(f"  {name}, unmarked", _rates(watermarks, plain, model, level))


def rates(pairs, model, level):
    """Return the share of texts that are detected, by their first tokens: one a length.

    Texts with fewer tokens are left out; nan where there is none.

    Args:
        pairs: each a watermark and the tokens of a text.
        model: the language model.
        level: the largest p-value that counts as detected.
    """
    shares = []
    for n in LENGTHS:
        found = [_p_value(w, text[:n], model) <= level for w, text in pairs if len(text) >= n]
        shares.append(np.mean(found) if found else np.nan)
    return shares


def _p_value(watermark, tokens, model):
    try:
        return detect(watermark, tokens, model.vocabulary).p_value
    except UsageError:  # nothing but unknown words: no evidence
        return 1.0


def human_texts(folder, most):
    """Return texts of a folder, spread evenly over its files."""
    files = sorted(Path(folder).rglob("*.txt"))
    if not files:
        raise UsageError(f"there are no .txt files in {folder}")
    chosen = np.linspace(0, len(files) - 1, min(most, len(files))).round().astype(int)
    return [files[i].read_text("utf-8") for i in chosen]


def _keyed(name, i):
    return corelm.sampler(name, key=f"key {i}")


def _write(model, samplers, texts, seed):
    """Return texts, one list for each sampler."""
    counts = [len(part) for part in np.array_split(range(texts), len(samplers))]
    # No text may end early: the longest of the lengths needs them all.
    return [
        corelm.generate(
            model,
            "This movie",
            sampler=f"min_length(n={LENGTHS[-1]}) | {sampler}",
            length=LENGTHS[-1],
            n=n,
            seed=seed + i,
        )
        for i, (sampler, n) in enumerate(zip(samplers, counts, strict=True))
    ]


def _rates(watermarks, written, model, level):
    encode = model.vocabulary.encode
    pairs = [
        (watermark, encode(text.text))
        for watermark, texts in zip(watermarks, written, strict=True)
        for text in texts
    ]
    return rates(pairs, model, level)


def _entropy(written):
    steps = (step for texts in written for text in texts for step in text.steps)
    return f"{np.mean([step.entropy for step in steps]):.2f} nats a token"


def _row(name, cells):
    shown = (c if isinstance(c, str) else "-" if np.isnan(c) else f"{c:.1%}" for c in cells)
    return f"{name:34}" + "".join(f"{cell:>12}" for cell in shown)
