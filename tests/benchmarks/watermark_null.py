"""Test the p-values of watermarks in texts without one: they must be uniform.

    python tests/benchmarks/watermark_null.py --human aclImdb/test
    python tests/benchmarks/watermark_null.py --temperature 1

The texts are human, from the files of a folder, or the model's, from one prompt. Each text has its
own key, or all share one: a key that happens to favour a phrase favours it in every text, so with
one key the texts are not independent. A row has the mean and the standard deviation of z, the
shares of p-values at three levels, and the p-value of a Kolmogorov-Smirnov test of the p-values.
The p-values of `green_list` count tokens, so they are discrete, and less often small; the test
draws a random point within each step, which is uniform if the distribution is right.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence

import numpy as np
from corelm_watermark import detect
from corelm_watermark.evidence import binomial_tail
from corelm_watermark.power import human_texts
from scipy import stats

import corelm
from corelm.errors import UsageError

LEVELS = (0.05, 0.01, 0.001)
HEADER = (
    "| texts | watermark | tokens | keys | texts scored | z, mean | z, sd "
    "| p <= 0.05 | 0.01 | 0.001 | KS |"
)
PART = 250
"""Texts of the model in a batch."""


def written(model: corelm.LanguageModel, texts: int, temperature: float, length: int) -> list[list]:
    """Return the tokens of texts of the model that do not end early."""
    found: list[list] = []
    for seed in range(-(-texts // PART)):
        sampler = f"min_length(n={length}) | temperature(t={temperature})"
        part = {"sampler": sampler, "length": length, "n": PART, "seed": seed}
        found += [list(text.tokens) for text in corelm.generate(model, "This movie", **part)]
    return found[:texts]


def evidence(
    watermarks: Iterable[corelm.Sampler], texts: Sequence[list], vocabulary: corelm.Vocabulary
) -> np.ndarray:
    """Return z, the p-value, and a random point of its step, of each text that can be scored."""
    rows, random = [], np.random.default_rng(0)
    for watermark, text in zip(watermarks, texts, strict=True):
        try:
            found = detect(watermark, text, vocabulary)
        except UsageError:  # too short
            continue
        below = found.p_value  # the p-value of one mark more
        if watermark.name == "green_list":
            marks = round(found.score * found.scored)
            below = binomial_tail(marks + 1, found.scored, found.chance)
        rows.append((found.z, found.p_value, random.uniform(below, found.p_value)))
    return np.array(rows)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--human", metavar="FOLDER", help="test texts of people")
    parser.add_argument("--temperature", type=float, nargs="*", default=[])
    parser.add_argument("--texts", type=int, default=10_000)
    parser.add_argument("--lengths", type=int, nargs="+", default=[50, 200])
    parser.add_argument("--watermarks", nargs="+", default=["green_list", "synthid"])
    parser.add_argument("--model", default="imdb")
    options = parser.parse_args()
    model = corelm.load(options.model)
    sources = {}
    for t in options.temperature:
        sources[f"model, t={t:g}"] = written(model, options.texts, t, max(options.lengths))
    if options.human:
        texts = human_texts(options.human, options.texts)
        sources["human"] = [model.vocabulary.encode(text) for text in texts]
    print(f"{HEADER}\n|{'---|' * 2}{'--:|' * 9}", flush=True)
    for source, texts in sources.items():
        for name in options.watermarks:
            one = corelm.sampler(name, key="one key")
            own = [corelm.sampler(name, key=f"key {i}") for i in range(len(texts))]
            for length in options.lengths:
                for keys, watermarks in (("own", own), ("one", [one] * len(texts))):
                    cut = [text[:length] for text in texts]
                    z, p, point = evidence(watermarks, cut, model.vocabulary).T
                    shares = " | ".join(f"{np.mean(p <= level):.2%}" for level in LEVELS)
                    ks = stats.kstest(point, "uniform").pvalue
                    print(
                        f"| {source} | `{name}` | {length} | {keys} | {len(z):,} | {z.mean():+.3f} "
                        f"| {z.std():.3f} | {shares} | {ks:.2g} |",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
