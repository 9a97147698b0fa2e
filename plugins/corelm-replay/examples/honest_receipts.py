"""Count the honest receipts that verification rejects, and the planted changes that it finds.

    corelm models export gpt2 --to transformers tiny-gpt2
    corelm models export gpt2 --to gguf gpt2.gguf
    python honest_receipts.py --engine transformers:tiny-gpt2 --engine gguf:gpt2.gguf

Each engine draws texts under eight chains, and the model in NumPy verifies them; it also draws
texts that the engine verifies. In every tenth text one token, one log-probability or the seed is
changed, too.
"""

import argparse
import dataclasses
from collections import Counter

import numpy as np
from corelm_replay import receipts, verify

import corelm

CHAINS = (
    "stochastic",
    "temperature(t=0.7)",
    "top_p(p=0.9) | temperature(t=0.8)",
    "top_k(k=50) | top_p(p=0.95)",
    "min_p(p=0.05)",
    "repetition_penalty(penalty=1.2) | top_p(p=0.9)",
    "typical(p=0.9)",
    "mirostat(tau=5)",
)
BATCH = 50
"""Texts that are drawn together."""


def planted(receipt, rng):
    """Return the receipt with one change."""
    place, kind = int(rng.integers(len(receipt.tokens))), int(rng.integers(3))
    if kind == 0:
        tokens = [*receipt.tokens]
        others = np.setdiff1d(np.arange(4, 4000), tokens[place : place + 1])
        tokens[place] = int(rng.choice(others))
        return dataclasses.replace(receipt, tokens=tokens)
    if kind == 1:
        logprobs = [*receipt.logprobs]
        logprobs[place] += 0.1
        return dataclasses.replace(receipt, logprobs=logprobs)
    return dataclasses.replace(receipt, seed=receipt.seed + 1)


def count(writer, verifier, texts, length):
    """Return the counts of texts, tokens, rejections, changes and changes found."""
    counts, rng = Counter(), np.random.default_rng(1)
    for seed in range(texts // (BATCH * len(CHAINS))):
        for chain in CHAINS:
            drawn = receipts(writer, "This movie", sampler=chain, length=length, n=BATCH, seed=seed)
            for i, (_, receipt) in enumerate(drawn):
                findings = verify(receipt, verifier)
                counts += Counter(texts=1, tokens=len(receipt.tokens), rejected=bool(findings))
                if findings:
                    print(f"{chain}, seed {seed}, sample {receipt.sample}: {findings}", flush=True)
                if i % 10 == 0:
                    found = bool(verify(planted(receipt, rng), verifier))
                    counts += Counter(changes=1, found=found)
    return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="gpt2")
    parser.add_argument("--engine", action="append", default=[], help="the same model elsewhere")
    parser.add_argument("--texts", type=int, default=20_000, help="drawn by each engine")
    parser.add_argument("--verified", type=int, default=2_000, help="verified by each engine")
    parser.add_argument("--length", type=int, default=8)
    options = parser.parse_args()
    model = corelm.load(options.model)
    for name in options.engine or [options.model]:
        engine = corelm.load(name)
        for verb, texts, pair in (
            ("draws", options.texts, (engine, model)),
            ("verifies", options.verified, (model, engine)),
        ):
            n = count(*pair, texts, options.length)
            rejected = f"{n['rejected']} of {n['texts']} texts, {n['tokens']} tokens, rejected"
            changes = f"{n['found']} of {n['changes']} changes found"
            print(f"{name} {verb}: {rejected}; {changes}", flush=True)


if __name__ == "__main__":
    main()
