"""Receipts: what anyone needs to recompute each draw of a text."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import corelm
from corelm.abilities import FullVocabulary
from corelm.errors import UsageError
from corelm.runs import NamedModel, SafeFile
from corelm_replay.documents import are_ids, are_numbers, read_document
from corelm_replay.recording import RANGES, Rollouts, figures_of, record

FORMAT = "corelm.receipt/1"
DRAWN = ("tokens", "logprobs", "model_logprobs", "kept_mass", "kept_size")
"""The fields of a receipt with an entry for each token."""


@dataclass(frozen=True)
class Receipt:
    """A record of the draws of a text.

    Attributes:
        model: the name of the model, and `model_sha256` its checksum.
        chain: the sampler, as an expression.
        seed, sample, prompt_index: these decide the uniform numbers.
        prompt, tokens: ids.
        logprobs, model_logprobs: of each token under the chain, and under the model.
        kept_mass, kept_size: of each token's set. The size is 0 where nothing was removed: engines
            differ in the number of impossible tokens.
    """

    model: str
    model_sha256: str
    chain: str
    seed: int
    sample: int
    prompt_index: int
    prompt: list[int]
    tokens: list[int]
    logprobs: list[float]
    model_logprobs: list[float]
    kept_mass: list[float]
    kept_size: list[int]

    @classmethod
    def of(
        cls, rollouts: Rollouts, row: int, *, model: str, model_sha256: str, seed: int, sample: int,
        prompt_index: int = 0,
    ) -> Receipt:  # fmt: skip
        """Return the receipt of a row of `Rollouts`, with the fields that they don't have."""
        before, drawn = rollouts.ids(row)
        figures = (
            each[row, : len(drawn)].tolist()
            for each in (rollouts.logprobs, rollouts.model_logprobs, rollouts.kept_mass,
                         rollouts.kept.sizes)
        )  # fmt: skip
        return cls(
            model, model_sha256, rollouts.chain, seed, sample, prompt_index, before, drawn, *figures
        )

    def to_json(self) -> str:
        """Return the receipt as one JSON document."""
        return json.dumps({"format": FORMAT} | asdict(self), allow_nan=False, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Receipt:
        """Read a receipt from a JSON document.

        Raises:
            UsageError: another kind of document, or values of other types.
        """
        try:
            receipt = cls(**read_document(text, FORMAT))
        except TypeError as error:
            raise UsageError(f"not a receipt: {error}") from None
        receipt.check()
        return receipt

    def check(self) -> None:
        """Raise if no draws can have these values.

        Raises:
            UsageError: no token, or ids, figures or lengths that are impossible.
        """
        words = self.model, self.model_sha256, self.chain
        lists: tuple[list[Any], ...]
        lists = self.tokens, self.logprobs, self.model_logprobs, self.kept_mass, self.kept_size
        if not (
            all(type(word) is str for word in words)
            and are_ids([self.seed], below=math.inf)
            and are_ids([self.sample, self.prompt_index])
            and all(map(are_ids, (self.prompt, self.tokens, self.kept_size)))
            and all(are_numbers(getattr(self, name), *RANGES[name]) for name in DRAWN[1:4])
            and {len(each) for each in lists} == {len(self.tokens)}
        ):
            raise UsageError("not a receipt: its ids, figures or lengths are impossible")
        if not self.tokens:
            raise UsageError("the receipt has no token, so it shows nothing")


class ReceiptLog:
    """The receipt of a text while it is drawn: `corelm sample --receipt` writes it.

    Args:
        model_name: the name that the receipt holds.
        model: the model.
        prompt: a text or a list of ids.
        sampler: the sampler.
        seed: decides the random numbers, of sample 0.

    Example:
        >>> from corelm.testing import ToyModel
        >>> model, greedy = ToyModel(), corelm.sampler("greedy")
        >>> how = {"prompt": "the", "sampler": greedy, "seed": 1}
        >>> log = ReceiptLog("", model, **how)
        >>> for step in log.watch(corelm.stream(model, length=2, **how)): print(step.text)
         cat
         sat
        >>> log.receipt().tokens
        [4, 9]
    """

    def __init__(
        self, model_name: str, model: Any, *, prompt: Any, sampler: corelm.Sampler, seed: int
    ) -> None:
        self._known: dict[str, Any] = {
            "model": model_name, "model_sha256": NamedModel(model).fingerprint(),
            "chain": str(sampler), "seed": seed, "sample": 0, "prompt_index": 0,
            "prompt": list(FullVocabulary(model.vocabulary).prompt_ids(prompt)),
        }  # fmt: skip
        self._drawn: dict[str, list[Any]] = {name: [] for name in DRAWN}

    def watch(self, steps: Iterable[corelm.Step]) -> Iterator[corelm.Step]:
        """Yield the steps of the text, and keep the figures of their tokens."""
        for step in steps:
            figures = figures_of(step.model_logits, step.logits, step.tokens)
            logprobs, model_logprobs, mass = (figure.tolist() for figure in figures[:3])
            drawn = step.tokens.tolist(), logprobs, model_logprobs, mass, [len(figures[-1][0])]
            for name, [value] in zip(DRAWN, drawn, strict=True):
                self._drawn[name].append(value)
            yield step

    def receipt(self) -> Receipt:
        """Return the receipt of the steps so far."""
        return Receipt(**self._known | self._drawn)

    def write(self, file: str) -> None:
        """Write the receipt into a file."""
        SafeFile(file).write(self.receipt().to_json().encode())


def receipts(
    model: Any, prompt: Any, *, sampler: corelm.Sampler | str, length: int = 50, n: int = 1,
    seed: int | None = None,
) -> list[tuple[str, Receipt]]:  # fmt: skip
    """Draw texts, and return a receipt of each with its text.

    Args:
        model: the name of a model, which the receipt holds; or a model, whose name is unknown then.
        prompt, sampler, length, n, seed: as for `record`.

    Returns:
        Pairs of a text and its `Receipt`.
    """
    named = isinstance(model, str)
    loaded = corelm.load(model) if named else model
    seed = corelm.RandomStream.fresh_seed() if seed is None else seed
    rollouts = record(loaded, [prompt], sampler=sampler, length=length, n=n, seed=seed)
    name, digest = model if named else "", NamedModel(loaded).fingerprint()
    return [
        (text, Receipt.of(rollouts, row, model=name, model_sha256=digest, seed=seed, sample=row))
        for row, text in enumerate(rollouts.texts)
    ]
