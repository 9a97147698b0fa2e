"""Chains of every built-in sampler and of portable plugins, and batches drawn under them."""

import numpy as np

import corelm

CHAINS = (
    "stochastic",
    "greedy",
    "temperature(t=0.7)",
    "top_k(k=4)",
    "top_p(p=0.8) | temperature(t=0.7)",
    "temperature(t=1.4) | min_p(p=0.05)",
    "typical(p=0.8)",
    "epsilon(epsilon=0.03)",
    "eta(epsilon=0.05)",
    "top_a(a=0.2)",
    "top_h(h=0.7)",
    "top_n_sigma(n=1.2)",
    "tail_free(z=0.9)",
    "min_k(tau=3)",
    "p_less",
    "uniform",
    "top_p(p=0.9) | dynamic_temperature(t_min=0.5, t_max=1.5)",
    "edt(t=1.2, theta=0.5)",
    "quadratic(factor=0.3, curve=1.2)",
    "xtc(probability=0.5, threshold=0.1)",
    "xtc(probability=0.5, threshold=0.1) | top_p(p=0.8) | temperature(t=0.7)",
    "repetition_penalty(penalty=1.3) | top_k(k=6)",
    "repetition_penalty(penalty=1.3, normalised=True)",
    "presence_penalty(penalty=0.4) | frequency_penalty(penalty=0.2) | top_p(p=0.9)",
    "dry(multiplier=0.8, allowed_length=1)",
    "logit_bias(bias={1: 0.5, 2: -1e999})",
    "length_bias(weight=0.2)",
    "mirostat(tau=2.5)",
    "adaptive_p(target=0.3)",
    "ban(words=[3]) | top_k(k=5)",
    "no_repeat_ngram(n=2) | top_p(p=0.95)",
    "min_length(n=3)",
    "force(words=[2, 5], at=1)",
    "schedule(first=temperature(t=1.5), last=temperature(t=0.5), over=4)",
    "schedule(first=top_k(k=3), last=temperature(t=2.0), over=4)",
    "phase(start=1, end=2, inside=temperature(t=0.5), outside=min_p(p=0.05))",
    "green_list(key='a', delta=1.5)",
    "gumbel_max(key='a', context=2)",
    "synthid(keys=[654, 400], context=2)",
)

KINDS = (
    "top_p(p=0.8) | temperature(t=0.7)",
    "typical(p=0.8)",
    "top_p(p=0.9) | dynamic_temperature(t_min=0.5, t_max=1.5)",
    "xtc(probability=0.5, threshold=0.1)",
    "xtc(probability=0.5, threshold=0.1) | top_p(p=0.8) | temperature(t=0.7)",
    "repetition_penalty(penalty=1.3) | top_k(k=6)",
    "dry(multiplier=0.8, allowed_length=1)",
    "mirostat(tau=2.5)",
    "ban(words=[3]) | top_k(k=5)",
    "gumbel_max(key='a', context=2)",
)
"""A chain of each kind, for a library that compiles each operation when it first runs."""


class Ends:
    """A vocabulary without words, in which the last id ends a text."""

    padding = unknown = None

    def __init__(self, size):
        self.size, self.ends = size, (size - 1,)

    def __len__(self):
        return self.size

    def encode(self, text):
        return []

    def decode(self, ids):
        return ""


def drawn_batch(chain, size=13, prompts=(2, 4, 4), lengths=(6, 3, 5), seed=1):
    """Draw texts position by position, one at a time, as a generation does.

    Returns:
        Raw logits (batch, time, size), tokens and mask (batch, 4 + time), and the log-probability
        of each token that its draw reported: (batch, time).
    """
    sampler, rng = corelm.sampler(chain), np.random.default_rng(seed)
    before, time = max(prompts), max(lengths)
    logits = rng.normal(size=(len(prompts), time, size)) * 2
    tokens = rng.integers(0, size - 1, size=(len(prompts), before + time))
    mask = np.zeros(tokens.shape, np.int64)
    drawn_with = np.zeros(logits.shape[:2])
    for row, (prompt, length) in enumerate(zip(prompts, lengths, strict=True)):
        mask[row, before - prompt : before + length] = 1
        nats, model_nats = [np.full(prompt, np.nan)] * 2
        for at in range(length):
            context = corelm.Context.of(
                tokens[row, before - prompt : before + at], surprisal=nats[None],
                model_surprisal=model_nats[None], prompt_length=prompt, vocabulary=Ends(size),
            )  # fmt: skip
            now = logits[row : row + 1, at]
            out = sampler(now, context)
            token, cost = corelm.draw(out, rng.random(1))
            tokens[row, before + at] = token[0]
            drawn_with[row, at] = -cost[0]
            nats = np.append(nats, cost)
            model_nats = np.append(model_nats, corelm.surprisals(now, token))
    return logits, tokens, mask, drawn_with
