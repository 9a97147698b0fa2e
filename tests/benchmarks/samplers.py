"""Time each sampler and its counterpart in transformers, in one run.

    pip install -e ".[bench]"
    python tests/benchmarks/samplers.py [--only top_] [--seconds 1]

Both get the same context and the same float32 logits. They take turns, and the median of each is
reported in microseconds, with the ratio: above 1 corelm is faster. transformers runs on the
processor, on torch's default number of threads.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import transformers
from timing import CONTEXT, Call, Input, head, in_turns, line, place, ratio

import corelm
from corelm.decoding.draws import RandomStream

SIZES = ((50_257, 1), (50_257, 32), (256_000, 1), (256_000, 32))
BIAS = {10: 1.5, 20: -2.0, 30: 0.5}
BY_SEQUENCE = {"sequence_bias": {(token,): bias for token, bias in BIAS.items()}}
BAD_WORDS = {"bad_words_ids": [[10], [20], [30]]}
MIN_LENGTH = {"prompt_length_to_skip": CONTEXT, "min_new_tokens": 50, "eos_token_id": 2}
CASES: dict[str, tuple[str, dict[str, Any]] | None] = {
    "temperature(t=0.7)": ("TemperatureLogitsWarper", {"temperature": 0.7}),
    "dynamic_temperature(t_min=0.5, t_max=1.5)": None,
    "edt(t=1, theta=0.5)": None,
    "top_k(k=50)": ("TopKLogitsWarper", {"top_k": 50}),
    "top_p(p=0.9)": ("TopPLogitsWarper", {"top_p": 0.9}),
    "min_p(p=0.05)": ("MinPLogitsWarper", {"min_p": 0.05}),
    "typical(p=0.9)": ("TypicalLogitsWarper", {"mass": 0.9}),
    "epsilon(epsilon=0.0003)": ("EpsilonLogitsWarper", {"epsilon": 0.0003}),
    "eta(epsilon=0.0003)": ("EtaLogitsWarper", {"epsilon": 0.0003}),
    "top_h(h=0.4)": ("TopHLogitsWarper", {"top_h": 0.4}),
    "top_n_sigma(n=1)": None,
    "top_a(a=0.2)": None,
    "tail_free(z=0.95)": None,
    "xtc(probability=0.5)": None,
    "quadratic(factor=0.3)": None,
    "mirostat(tau=5)": None,
    "adaptive_p(target=0.3)": None,
    "repetition_penalty(penalty=1.2)": ("RepetitionPenaltyLogitsProcessor", {"penalty": 1.2}),
    "presence_penalty(penalty=0.5)": None,
    "frequency_penalty(penalty=0.5)": None,
    "dry(multiplier=0.8)": None,
    "no_repeat_ngram(n=3)": ("NoRepeatNGramLogitsProcessor", {"ngram_size": 3}),
    f"logit_bias(bias={BIAS})": ("SequenceBiasLogitsProcessor", BY_SEQUENCE),
    "ban(words=(10, 20, 30))": ("NoBadWordsLogitsProcessor", BAD_WORDS),
    "min_length(n=50)": ("MinNewTokensLengthLogitsProcessor", MIN_LENGTH),
}
"""Expressions, and what does the same in transformers, if anything does."""
DRAW = "the draw"
ELEMENTWISE = ("temperature", "logit_bias", "ban")
"""Bound by memory in either library, so the median ratio leaves them out."""


def ours(expression: str, data: Input) -> Call:
    """Return a call of corelm's sampler."""
    sampler, logits = corelm.sampler(expression), data.logits.view()
    logits.flags.writeable = False
    return lambda: sampler(logits, data.context)


def theirs(name: str, arguments: dict[str, Any], data: Input) -> Call:
    """Return a call of a processor of transformers."""
    processors = transformers.generation.logits_process
    processor = getattr(processors, name)(**arguments)
    if name == "TopHLogitsWarper":  # it takes the 100 likeliest tokens for all; here it sees all
        processor.top_n = 10**9
    scores = torch.from_numpy(data.logits.copy())
    tokens = torch.from_numpy(data.context.tokens.copy())
    return lambda: processor(tokens, scores)


def draws(data: Input) -> list[Call]:
    """Return the draws of both."""
    uniforms = RandomStream(0, range(len(data.logits))).at(0)
    scores = torch.from_numpy(data.logits.copy())
    return [
        lambda: corelm.draw(data.logits, uniforms),
        lambda: torch.multinomial(torch.softmax(scores, dim=-1), num_samples=1),
    ]


def calls(name: str, data: Input) -> list[Call]:
    """Return corelm's call and, where there is one, its counterpart's."""
    if name == DRAW:
        return draws(data)
    counterpart = CASES[name]
    return [ours(name, data), *([theirs(*counterpart, data)] if counterpart else [])]


def report(only: str, seconds: float) -> Iterator[str]:
    """Measure, and yield the lines of the table and what is above and below it."""
    inputs, ratios = [Input.of(*size) for size in SIZES], {}
    nats = float(corelm.filters.min_and_shannon_entropy(inputs[-1].logits)[1].mean())
    yield f"{place('torch', 'transformers')} on {torch.get_num_threads()} threads\n"
    yield "Microseconds per call, corelm / transformers = ratio, vocabulary x batch;"
    yield f"float32, entropy {nats:.1f} nats at the last size, {CONTEXT} tokens of context.\n"
    yield head(["sampler", *(f"{vocabulary:,} x {batch}" for vocabulary, batch in SIZES)])
    for name in (*CASES, DRAW):
        if only in name:
            times = [in_turns(calls(name, data), seconds) for data in inputs]
            yield line([f"`{name}`", *(ratio(*t) if t[1:] else f"{t[0]:,.0f}" for t in times)])
            if times[0][1:] and not name.startswith(ELEMENTWISE):
                ratios |= {(name, size): t[1] / t[0] for size, t in zip(SIZES, times, strict=True)}
    if ratios:
        (name, size), least = min(ratios.items(), key=lambda item: item[1])
        yield f"\nMedian ratio {np.median([*ratios.values()]):.1f}, smallest {least:.2f} "
        yield f"(`{name}` at {size[0]:,} x {size[1]}); without the purely elementwise ones."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help="rows with this in their name")
    parser.add_argument("--seconds", type=float, default=1.0, help="for each call")
    options = parser.parse_args()
    for text in report(options.only, options.seconds):
        print(text, flush=True)


if __name__ == "__main__":
    main()
