"""Count the honest receipts that verification rejects, and the planted changes that it finds.

    python honest_receipts.py --texts 1000 [--scorer transformers:tiny-gpt2 ...]

The model draws the texts under eight chains; each scorer, the model itself first, verifies them.
In every tenth text one token, one log-probability or the seed is changed, too.
"""

import argparse
import dataclasses

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


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="gpt2")
    parser.add_argument("--scorer", nargs="*", default=[])
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--length", type=int, default=30)
    parser.add_argument("--tolerance", type=float, default=1e-3)
    options = parser.parse_args()
    model, rng = corelm.load(options.model), np.random.default_rng(1)
    scorers = {options.model: model} | {name: corelm.load(name) for name in options.scorer}
    each = options.texts // len(CHAINS)
    for name, scorer in scorers.items():
        rejected = tokens = found = changes = 0
        for index, chain in enumerate(CHAINS):
            drawn = receipts(model, "This movie", sampler=chain, length=options.length, n=each,
                             seed=index)  # fmt: skip
            for i, (_, receipt) in enumerate(drawn):
                findings = verify(receipt, scorer, tolerance=options.tolerance)
                rejected, tokens = rejected + bool(findings), tokens + len(receipt.tokens)
                if findings:
                    print(chain, findings[0])
                if i % 10 == 0:
                    changes += 1
                    changed = planted(receipt, rng)
                    found += bool(verify(changed, scorer, tolerance=options.tolerance))
        texts = each * len(CHAINS)
        print(f"{name}: {rejected} of {texts} honest texts, {tokens} tokens, rejected; "
              f"{found} of {changes} planted changes found", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
