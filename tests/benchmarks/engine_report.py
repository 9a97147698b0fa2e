"""Measure a report on a random model of an engine: passes, tokens, seconds and memory.

    python tests/benchmarks/engine_report.py [--layers 12 --width 768] [--one-by-one]

The model is a GPT-2 of transformers, of about 100 million parameters by default. Its passes are
counted where torch runs them, when corelm opens the model and in the report: human text is read
by all samplers together, and each sampler writes texts. `--one-by-one` reads contexts one token a
pass, as every engine once was; passes and tokens don't depend on the load of the machine.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
import transformers
from corelm_transformers import TransformersModel

import corelm
from corelm.generation import teacher_forcing
from corelm.interop.testing import tiny_tokenizer

SAMPLERS = ("top_p(p=0.9)", "min_p(p=0.05)", "temperature(t=0.7)")
REFERENCE = ["see the cat sit and the cat see the cat " * 3] * 8


@dataclass
class Passes:
    """Passes of the network.

    Attributes:
        count: how many.
        tokens: the ids that they read.
        seconds: the time that they took.
    """

    count: int = 0
    tokens: int = 0
    seconds: float = 0.0


@contextmanager
def counted(model: Any) -> Iterator[Passes]:
    """Count the passes of a torch model."""
    passes, began = Passes(), [0.0]

    def before(module: Any, args: Any, options: Any) -> None:
        ids = options.get("input_ids", args[0] if args else None)
        passes.count, passes.tokens = passes.count + 1, passes.tokens + ids.numel()
        began[0] = time.perf_counter()

    def after(*_: Any) -> None:
        passes.seconds += time.perf_counter() - began[0]

    hooks = [
        model.register_forward_pre_hook(before, with_kwargs=True),
        model.register_forward_hook(after),
    ]
    yield passes
    for hook in hooks:
        hook.remove()


def engine(layers: int, width: int) -> tuple[Any, Any]:
    """Return a random GPT-2 of transformers and its tokenizer."""
    tokenizer = tiny_tokenizer()
    config = transformers.GPT2Config(
        vocab_size=50_257, n_layer=layers, n_embd=width, n_head=width // 64, n_positions=256,
        bos_token_id=None, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    torch.manual_seed(0)
    return transformers.GPT2LMHeadModel(config).eval(), tokenizer


def row(name: str, passes: Passes, seconds: float) -> str:
    """Return a line of the table."""
    share = passes.seconds / seconds
    return f"| {name} | {passes.count} | {passes.tokens:,} | {seconds:.1f} | {share:.0%} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--texts", type=int, default=8)
    parser.add_argument("--length", type=int, default=30)
    parser.add_argument("--one-by-one", action="store_true")
    options = parser.parse_args(arguments)
    model, tokenizer = engine(options.layers, options.width)
    size = sum(weight.numel() for weight in model.parameters())
    print(f"{size / 1e6:.0f} million parameters\n")
    print("| | passes | tokens | seconds | in the model |\n|---|---|---|---|---|")
    with counted(model) as passes:
        began = time.perf_counter()
        opened = TransformersModel(model, tokenizer)
        print(row("opening", passes, time.perf_counter() - began), flush=True)
    # A block has at least one token.
    bound = 0 if options.one_by_one else teacher_forcing.LOGITS_BYTES
    with counted(model) as passes, mock.patch.object(teacher_forcing, "LOGITS_BYTES", bound):
        began = time.perf_counter()
        corelm.compare(
            opened, SAMPLERS, prompts="the cat", n=options.texts, length=options.length, seed=1,
            reference=REFERENCE,
        )  # fmt: skip
        print(row("report", passes, time.perf_counter() - began))
    unit = 2**20 if sys.platform == "darwin" else 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    print(f"\n{peak:,.0f} MiB at most")


if __name__ == "__main__":
    main()
