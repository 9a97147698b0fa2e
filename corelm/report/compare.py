"""Compare samplers on one model: `corelm.compare`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from corelm.language_model import LanguageModel
from corelm.model.load import load
from corelm.report.defaults import LENGTH, PROMPT, SEED, N
from corelm.report.document import Report
from corelm.report.journal import Journal
from corelm.report.settings import Match, settings
from corelm.report.work import Progress, Work
from corelm.sampler import Sampler


def compare(
    model: LanguageModel | str,
    samplers: Iterable[str | Sampler] | None = None,
    *,
    prompts: str | Sequence[str] = PROMPT,
    n: int = N,
    length: int = LENGTH,
    seed: int = SEED,
    reference: str | Path | Sequence[str] | None = None,
    match_entropy: Match = None,
    progress: Progress | None = None,
) -> Report:
    """Measure what samplers do to a model's distributions, and what they write.

    Every sampler is measured on the model's distributions at the same positions, exactly, and on
    texts of its own, drawn with the same luck. One that fails becomes a row that says why.

    Args:
        model: the language model, or the name of one.
        samplers: samplers, registered names or expressions; a set that shows the range from
            greedy to uniform when left out.
        prompts: what the texts go on from: one, or several.
        n: how many texts of each sampler for each prompt.
        length: tokens to draw at most for each text.
        seed: decides all luck.
        reference: human texts to compare with, or the path of a folder or a file of them. When
            left out, the IMDB reviews that the model has not seen, where they were fetched and
            the model is one of IMDB reviews; else texts drawn from the model are the contexts.
        match_entropy: nats, or "human": a sampler that leaves one parameter open, such as
            `top_p`, gets the value with which its mean entropy on the same contexts is this.
            "human" is the same share of the model's own entropy there as people's surprisal is
            of the model's entropy on human text.
        progress: is told the stage, how many of its units of work are done, and how many there
            are.

    Raises:
        UsageError: what was asked for cannot be done.
        DataError: a reference that cannot be read.
        ModelOutputError: logits that no sampler could use.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> report = corelm.compare(
        ...     ToyModel(), ["greedy", "temperature(t=0.5)"], prompts="the", n=4, length=8
        ... )
        >>> [row["sampler"] for row in report.to_dict()["samplers"]]
        ['greedy', 'temperature(t=0.5)']
    """
    name = model if isinstance(model, str) else type(model).__name__
    loaded = load(model) if isinstance(model, str) else model
    asked = settings(
        loaded, name, samplers, prompts=prompts, n=n, length=length, seed=seed,
        reference=reference, match=match_entropy,
    )  # fmt: skip
    return Report(Work(asked, Journal(), progress or _silent).document())


def _silent(stage: str, done: int, total: int) -> Any:
    """Tell nobody."""
