"""Time each sampler and its counterpart in transformers, in one run.

    pip install -e ".[bench]"
    python tests/benchmarks/samplers.py [--only top_] [--seconds 1] [--write]

Both get the same context and the same float32 logits, which fall as a power of the rank, roughly as
in language models. They take turns, and the median of each is reported in microseconds, with the
ratio: above 1 corelm is faster. transformers runs on the CPU, on torch's default number of threads.
    Without torch and transformers only corelm's times are printed. With --write the table of
docs/explanation/performance.md is replaced: run it on an idle machine.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import corelm
from corelm import machine as this
from corelm.decoding.draws import RandomStream
from corelm.models.word_vocabulary import END, PADDING, UNKNOWN, WordVocabulary

VOCABULARIES = (15_000, 50_257, 256_000)
BATCHES = (1, 32)
CONTEXT = 512
TURNS = 4
PAUSE = 0.05
"""Seconds between two turns, in which the threads of the one before fall asleep."""
ALL_THERE = all(importlib.util.find_spec(name) for name in ("torch", "transformers"))
Call = Callable[[], Any]
PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "performance.md"
BEGIN = "<!-- made by tests/benchmarks/samplers.py"
AFTER = "\nWhy the samplers are fast:"


@dataclass(frozen=True)
class Case:
    """A sampler and what does the same in transformers, if anything does."""

    expression: str
    processor: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    elementwise: bool = False  # bound by memory, in either
    attributes: dict[str, Any] = field(default_factory=dict)  # set on the processor


BIAS = {10: 1.5, 20: -2.0, 30: 0.5}
CASES = [
    Case("temperature(t=0.7)", "TemperatureLogitsWarper", {"temperature": 0.7}, elementwise=True),
    Case("dynamic_temperature(t_min=0.5, t_max=1.5)"),
    Case("edt(t=1, theta=0.5)"),
    Case("top_k(k=50)", "TopKLogitsWarper", {"top_k": 50}),
    Case("top_p(p=0.9)", "TopPLogitsWarper", {"top_p": 0.9}),
    Case("min_p(p=0.05)", "MinPLogitsWarper", {"min_p": 0.05}),
    Case("typical(p=0.9)", "TypicalLogitsWarper", {"mass": 0.9}),
    Case("epsilon(epsilon=0.0003)", "EpsilonLogitsWarper", {"epsilon": 0.0003}),
    Case("eta(epsilon=0.0003)", "EtaLogitsWarper", {"epsilon": 0.0003}),
    # It looks at the 100 likeliest tokens and takes them for all; here it looks at all, as we do.
    Case("top_h(h=0.4)", "TopHLogitsWarper", {"top_h": 0.4}, attributes={"top_n": 10**9}),
    Case("top_n_sigma(n=1)"),
    Case("top_a(a=0.2)"),
    Case("tail_free(z=0.95)"),
    Case("xtc(probability=0.5)"),
    Case("quadratic(factor=0.3)"),
    Case("mirostat(tau=5)"),
    Case("adaptive_p(target=0.3)"),
    Case("repetition_penalty(penalty=1.2)", "RepetitionPenaltyLogitsProcessor", {"penalty": 1.2}),
    Case("presence_penalty(penalty=0.5)"),
    Case("frequency_penalty(penalty=0.5)"),
    Case("dry(multiplier=0.8)"),
    Case("no_repeat_ngram(n=3)", "NoRepeatNGramLogitsProcessor", {"ngram_size": 3}),
    Case(
        f"logit_bias(bias={BIAS})",
        "SequenceBiasLogitsProcessor",
        {"sequence_bias": {(token,): bias for token, bias in BIAS.items()}},
        elementwise=True,
    ),
    Case(
        "ban(words=(10, 20, 30))",
        "NoBadWordsLogitsProcessor",
        {"bad_words_ids": [[10], [20], [30]]},
        elementwise=True,  # a bias of minus infinity
    ),
    Case(
        "min_length(n=50)",
        "MinNewTokensLengthLogitsProcessor",
        {"prompt_length_to_skip": CONTEXT, "min_new_tokens": 50, "eos_token_id": 2},
    ),
]


@dataclass(frozen=True)
class Input:
    """The input of the samplers: the same numbers for both sides."""

    logits: np.ndarray
    context: corelm.Context

    @classmethod
    def of(cls, vocabulary: int, batch: int, exponent: float) -> Input:
        rng = np.random.default_rng(0)
        ranks = np.stack([rng.permutation(vocabulary) for _ in range(batch)]) + 1
        logits = (rng.normal(0, 0.1, ranks.shape) - exponent * np.log(ranks)).astype(np.float32)
        words = [PADDING, UNKNOWN, END, *(f"w{i}" for i in range(3, vocabulary))]
        tokens = rng.integers(3, 200, (batch, CONTEXT))
        return cls(logits, corelm.Context.of(tokens, vocabulary=WordVocabulary(words, "symbols")))

    def ours(self, case: Case) -> Call:
        sampler = corelm.sampler(case.expression)
        logits = self.logits.view()
        logits.flags.writeable = False
        return lambda: sampler(logits, self.context)

    def theirs(self, case: Case) -> Call | None:
        if not (ALL_THERE and case.processor):
            return None
        import torch
        import transformers

        made = getattr(transformers, case.processor, None)
        made = made or getattr(transformers.generation.logits_process, case.processor)
        processor, scores = made(**case.arguments), torch.from_numpy(self.logits.copy())
        for name, value in case.attributes.items():
            assert hasattr(processor, name)
            setattr(processor, name, value)
        tokens = torch.from_numpy(self.context.tokens.copy())
        return lambda: processor(tokens, scores)

    def our_draw(self) -> Call:
        uniforms = RandomStream(0, range(len(self.logits))).at(0)
        return lambda: corelm.draw(self.logits, uniforms)

    def their_draw(self) -> Call | None:
        if not ALL_THERE:
            return None
        import torch

        scores = torch.from_numpy(self.logits.copy())
        return lambda: torch.multinomial(torch.softmax(scores, dim=-1), num_samples=1)


def in_turns(calls: list[Call], seconds: float) -> list[float]:
    """The median time of each call in microseconds; they take turns of several calls."""
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(TURNS):
        for call, taken in zip(calls, times, strict=True):
            time.sleep(PAUSE)
            call()  # its threads wake, its memory is at hand
            taken += a_turn(call, seconds / TURNS)
    return [statistics.median(taken) * 1e6 for taken in times]


def a_turn(call: Call, seconds: float) -> list[float]:
    """How long calls take, one after the other, for a time."""
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(taken) < 3:
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return taken


def measured(data: Input, only: str, seconds: float) -> Iterator[tuple[str, bool, list[float]]]:
    """For each row of the table: its name, whether it is elementwise, one or two times."""
    rows = [(c.expression, c.elementwise, data.ours(c), data.theirs(c)) for c in CASES]
    rows.append(("the draw", False, data.our_draw(), data.their_draw()))
    for name, elementwise, ours, theirs in rows:
        if only in name:
            yield name, elementwise, in_turns([ours, theirs] if theirs else [ours], seconds)


def cell(times: list[float]) -> str:
    if len(times) == 1:
        return f"{times[0]:,.0f}"
    ours, theirs = times
    return f"{ours:,.0f} / {theirs:,.0f} = **{theirs / ours:.1f}**"


def machine() -> str:
    """The processor, the cores, the versions."""
    here = this.facts()
    packages = ["corelm", "numpy", *(["torch", "transformers"] if ALL_THERE else [])]
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    text = f"{here['processor']}, {here['cores']} cores; Python {here['python']}, {versions}"
    if ALL_THERE:
        import torch

        text += f" on {torch.get_num_threads()} threads"
    return text


def report(only: str, seconds: float, exponent: float) -> Iterator[str]:
    """Measure, and yield the lines of the table and what is above and below it."""
    columns: list[str] = []
    table: dict[str, list[str]] = {}
    ratios: dict[str, float] = {}
    for vocabulary in VOCABULARIES:
        for batch in BATCHES:
            columns.append(f"{vocabulary:,} x {batch}")
            data = Input.of(vocabulary, batch, exponent)
            for name, elementwise, times in measured(data, only, seconds):
                table.setdefault(name, []).append(cell(times))
                if len(times) == 2 and not elementwise:
                    ratios[f"{name} at {columns[-1]}"] = times[1] / times[0]
    nats = float(corelm.filters.min_and_shannon_entropy(data.logits)[1].mean())
    yield from (machine(), "")
    yield "Microseconds per call, corelm / transformers = ratio, vocabulary x batch;"
    yield f"float32, entropy {nats:.1f} nats at the last size, {CONTEXT} tokens of context."
    yield from ("", f"| sampler | {' | '.join(columns)} |", f"|---{'|---:' * len(columns)}|")
    yield from (f"| `{name}` | {' | '.join(cells)} |" for name, cells in table.items())
    if ratios:
        worst = min(ratios, key=lambda name: ratios[name])
        yield ""
        yield (
            f"Median ratio {statistics.median(ratios.values()):.1f}, smallest "
            f"{ratios[worst]:.2f} (`{worst}`); without the purely elementwise ones."
        )


def write(text: str, seconds: float) -> None:
    """Put the table into the page, in place of the one that is there."""
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    after = rest[rest.index(AFTER) :]
    made = f"{BEGIN} --seconds {seconds:g} -->"
    PAGE.write_text(f"{before}{made}\n\n{text}{after}", "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="rows with this in their name")
    parser.add_argument("--seconds", type=float, default=1.0, help="for each call")
    parser.add_argument("--exponent", type=float, default=1.4, help="of the power of the rank")
    parser.add_argument("--write", action="store_true", help="put the table into the page")
    options = parser.parse_args()
    if options.write and options.only:
        parser.error("--write needs all rows, from one run; leave out --only")
    text = "\n".join(report(options.only, options.seconds, options.exponent)) + "\n"
    print(text, end="")
    if options.write:
        write(text, options.seconds)


if __name__ == "__main__":
    main()
