"""Measure how often a filter keeps other tokens when an engine rounds the logits differently.

    python tests/benchmarks/rounding.py [--texts 10] [--size 3e-5]

The logits of a model after every token of some of its texts are moved at random, each by at most a
size in nats, as another order of additions moves them. A row has the share of the contexts in
which the filter then keeps other tokens, and the largest change of a probability.
"""

from __future__ import annotations

import argparse

import numpy as np

import corelm

FILTERS = (
    "tail_free(z=0.9)", "tail_free(z=0.95)", "tail_free(z=0.99)", "tail_free(z=0.999)",
    "top_p(p=0.9)", "top_p(p=0.95)", "typical(p=0.95)", "min_p(p=0.05)", "top_a(a=0.2)",
)  # fmt: skip
LENGTH = 100


def contexts(model: corelm.LanguageModel, texts: int) -> np.ndarray:
    """Return the logits after the tokens of texts, (contexts, vocabulary) float32."""
    options = {"sampler": "stochastic", "length": LENGTH, "seed": 1}
    prompt = model.vocabulary.encode("This movie")
    rows = []
    for text in corelm.generate(model, "This movie", n=texts, **options):
        session = model.start(np.array([prompt]))
        for token in text.tokens:
            rows.append(session.next_logits()[0].copy())
            session.extend(np.array([token]))
    return np.array(rows, dtype=np.float32)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="imdb")
    parser.add_argument("--texts", type=int, default=10)
    parser.add_argument("--size", type=float, default=3e-5, help="nats")
    options = parser.parse_args()
    logits = contexts(corelm.load(options.model), options.texts)
    noise = np.random.default_rng(0).uniform(-options.size, options.size, logits.shape)
    moved = (logits + noise).astype(np.float32)
    print(f"{len(logits)} contexts, logits moved by up to {options.size:g} nats")
    print("| filter | other tokens kept | largest change of a probability |\n|---|--:|--:|")
    for name in FILTERS:
        one, other = (
            corelm.sampling_distribution(corelm.sampler(name), x) for x in (logits, moved)
        )
        changed = ((one > 0) != (other > 0)).any(axis=1).mean()
        print(f"| `{name}` | {changed:.1%} | {np.abs(one - other).max():.0e} |")


if __name__ == "__main__":
    main()
