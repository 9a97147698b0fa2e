"""A program as a user would write it, for type checkers: `.ci/types` checks it strictly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

import corelm
from corelm import Context, Decoder, DecodingTask, Sampler, Step, hookimpl, param
from corelm.filters import top_k
from corelm.testing import ToyModel, obeys_the_laws

Logits = NDArray[Any]


class Sharp(Sampler):
    """Keep a few tokens, or the likeliest one."""

    k: int = param(3, "how many tokens", ge=1)

    kind = "filter"
    reads = frozenset({"position"})

    def __call__(self, logits: Logits, context: Context) -> Logits:
        return (
            corelm.apply_temperature(logits, 0) if context.position == 0 else top_k(logits, self.k)
        )


class Plain(Decoder):
    """Draw token after token."""

    def __call__(self, task: DecodingTask) -> Iterator[Step]:
        decoding = task.start()
        for position in range(task.length):
            yield decoding.draw()
            if position + 1 < task.length:
                decoding.advance()


@hookimpl
def corelm_samplers() -> dict[str, type[Sampler]]:
    return {"sharp": Sharp}


@obeys_the_laws(Sharp(), Sharp(k=1))
def test_law(sampler: Sampler, law: Callable[[Sampler], None]) -> None:
    law(sampler)


def main() -> None:
    model = ToyModel()
    sampler = corelm.sampler("top_p", p=0.9) | Sharp(k=2)
    texts = corelm.generate(model, "the", sampler=sampler, length=5, n=2, seed=1)
    for step in corelm.stream(model, "the", sampler="greedy", length=5, seed=1):
        print(step.tokens, step.model_distribution.shape)
    row: Logits = corelm.sampling_distribution(sampler, np.zeros(5, np.float32))
    print([text.text for text in texts], corelm.entropy(row))
    report = corelm.compare(model, ["greedy", sampler], prompts="the", n=2, length=4)
    print(report.summary, report.to_dict()["samplers"])
    settings = corelm.from_settings({"temp": 0.7, "top_k": 3, "rep_pen": 1.0})
    print(settings.sampler, corelm.to_settings("greedy", settings.engine))


if __name__ == "__main__":
    main()
