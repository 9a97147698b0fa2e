"""The JSON of an answer in OpenAI's shape, whole or in chunks."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from typing import Any

from corelm import Generation, TokenRecord
from corelm.runs import Strategy
from corelm_serve.models import ServedModel
from corelm_serve.rollouts import SETS, rollout
from corelm_serve.scheduling.jobs import Job, Written
from corelm_serve.tables import Column
from corelm_serve.tool_calls import CallFormat, CallReader

REASONS = {"end": "stop", "stop": "stop", "loop": "stop", "length": "length", "error": "error"}
"""corelm's reasons why a text ended, as OpenAI says them."""


TEXT = "text_completion"


@cache
def corelm_version() -> str:
    """Return the version of corelm."""
    return version("corelm")


@dataclass(frozen=True)
class Call:
    """A request that was read, and its jobs.

    Attributes:
        served: the model.
        strategy: the sampler and the decoder.
        seed: the seed of the texts.
        jobs: one for each prompt.
        prompts: the text of each prompt.
        n: the number of texts that are returned for each prompt.
        stream: send chunks.
        usage: end the chunks with the usage.
        echo: begin each text with its prompt.
        is_chat: the texts are answers to messages.
        is_masked: the sampler has masks, whose cost the answer has.
        calls: how a text writes calls of tools; None if it may call none.
        notes: the engine whose settings were read, and settings without effect.
        id: the id of the answer.
        created: its time.
    """

    served: ServedModel
    strategy: Strategy
    seed: int
    jobs: list[Job]
    prompts: list[str]
    n: int
    stream: bool = False
    usage: bool = False
    echo: bool = False
    is_chat: bool = False
    is_masked: bool = False
    calls: CallFormat | None = None
    notes: dict[str, Any] = field(default_factory=dict)
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def about(self) -> dict[str, Any]:
        """Everything that the texts depend on, so that anybody can draw them again."""
        decoder = self.strategy.decoder
        return {
            "version": corelm_version(),
            "sampler": str(self.strategy.sampler),
            "decoder": "ancestral" if decoder is None else str(decoder),
            "seed": self.seed,
            **self.notes,
        }

    @property
    def head(self) -> dict[str, Any]:
        """The first members of the answer, and of each chunk of a streamed one."""
        prefix, kind = ("chatcmpl", "chat.completion") if self.is_chat else ("cmpl", TEXT)
        if self.is_chat and self.stream:
            kind += ".chunk"
        return {
            "id": f"{prefix}-{self.id}",
            "object": kind,
            "created": self.created,
            "model": self.served.name,
        }

    @property
    def has_tables(self) -> bool:
        """True if the answer has log-probabilities."""
        return any(job.tables is not None for job in self.jobs)

    @property
    def has_notes(self) -> bool:
        """True if the answer has more for each token than its entropies."""
        return self.has_tables or any(job.record is not None for job in self.jobs)

    @property
    def prompt_tokens(self) -> int:
        """The tokens of all prompts."""
        return sum(len(job.ids) for job in self.jobs)

    def usage_of(self, drawn: int) -> dict[str, int]:
        """Return the usage for a number of drawn tokens."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": drawn,
            "total_tokens": self.prompt_tokens + drawn,
        }


def best(written: Written, n: int) -> list[int]:
    """Return the n texts with the largest mean log-probability under the model."""

    def surprisal(at: int) -> float:
        steps = written.texts[at].steps
        return math.fsum(step.model_surprisal for step in steps) / max(len(steps), 1)

    return sorted(range(len(written.texts)), key=surprisal)[:n]


def chosen(call: Call, written: Written) -> list[int]:
    """Return the texts of a prompt that the answer has."""
    return best(written, call.n) if len(written.texts) > call.n else [*range(call.n)]


def about_text(text: Generation, entropies: list[float], masked: bool) -> dict[str, Any]:
    """Return what corelm says of one text."""
    about = {"sample": text.sample, "finish_reason": text.finish_reason, "entropy": entropies}
    about |= about_tokens(text.steps, masked)
    if masked:
        about |= {"constraint_cost": text.constraint_cost, "is_cut_off": text.is_cut_off}
    return about


def about_tokens(records: Sequence[TokenRecord], masked: bool) -> dict[str, Any]:
    """Return the figures of tokens that were measured.

    Args:
        records: of the tokens.
        masked: with the model's probability of the tokens that masks allow.
    """
    if not records:
        return {}
    found = {"model_entropy": [record.model_entropy for record in records]}
    if masked:  # a decoder's own steps lack it
        masses = [record.allowed_mass for record in records]
        found["allowed_mass"] = [None if math.isnan(mass) else mass for mass in masses]
    return found


def drawn_tokens(written: Sequence[Written]) -> int:
    """Return the number of tokens that were drawn."""
    return sum(len(text.tokens) for each in written for text in each.texts)


def answer(call: Call, written: Sequence[Written]) -> dict[str, Any]:
    """Return the answer to a request whose jobs have ended; long lists are iterators."""
    return {
        **call.head,
        "choices": _choices(call, written),
        "usage": call.usage_of(drawn_tokens(written)),
        "corelm": call.about,
    }


def _choices(call: Call, written: Sequence[Written]) -> Iterator[dict[str, Any]]:
    index = 0
    for job, each in zip(call.jobs, written, strict=True):
        for at in chosen(call, each):
            yield _choice(call, job, each, at, index)
            index += 1


def _choice(call: Call, job: Job, written: Written, at: int, index: int) -> dict[str, Any]:
    text = written.texts[at]
    prompt = call.prompts[job.index] if call.echo else ""
    choice: dict[str, Any] = {
        "index": index,
        "finish_reason": reason_of(text.finish_reason),
        "logprobs": None,
        "corelm": about_text(text, written.entropies[at], call.is_masked),
    }
    if job.record is not None:
        found = rollout(job.ids, written.recorded[at], job.record == SETS)
        choice["corelm"]["rollout"] = found
    if call.is_chat:
        choice |= _message(call, text)
    else:
        choice["text"] = prompt + text.text
    if job.tables is not None:
        column = Column(call.served.model.vocabulary, job.ids)
        if written.scores is not None:
            column.add_prompt(written.scores, prompt)
        elif call.echo:
            column.skip(prompt)
        column.add(text.steps, written.tables[at])
        choice |= column.as_chat() if call.is_chat else column.as_completion()
    return choice


def _message(call: Call, text: Generation) -> dict[str, Any]:
    """Return the parts of a choice that an answer to messages has."""
    message: dict[str, Any] = {"role": "assistant", "content": text.text, "refusal": None}
    if call.calls is None:
        return {"message": message}
    reader = CallReader(call.calls)
    reader.add(text.text, last=True)
    if not reader.calls:
        return {"message": message}
    message["content"] = reader.content or None
    message["tool_calls"] = [each.document for each in reader.calls]
    return {"message": message, "finish_reason": reason_of(text.finish_reason, called=True)}


def reason_of(finish_reason: str, *, called: bool = False) -> str:
    """Return why a text ended, as OpenAI says it."""
    reason = REASONS[finish_reason]
    return "tool_calls" if called and reason == "stop" else reason
