"""The JSON of an answer in OpenAI's shape, whole or in chunks."""

from __future__ import annotations

import json
import math
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from typing import Any

from corelm import Generation, TokenRecord
from corelm.runs import Strategy
from corelm_serve.errors import as_api_error
from corelm_serve.requests.completion import new_id
from corelm_serve.scheduling.jobs import Event, Job, Piece, Written
from corelm_serve.scoring import SETS, Scores, rollout
from corelm_serve.service import ServedModel
from corelm_serve.tables import Column
from corelm_serve.tool_calls import CallFormat, CallReader

REASONS = {"end": "stop", "stop": "stop", "loop": "stop", "length": "length", "error": "error"}
"""corelm's reasons why a text ended, as OpenAI says them."""
TEXT = "text_completion"
END = b"data: [DONE]\n\n"
ECHOED = 64
"""Tokens of an echoed prompt in one chunk: their likely tokens are named one after the other."""


def _list(value: Any) -> list[Any]:
    if isinstance(value, Iterator):
        return list(value)
    raise TypeError(f"{type(value).__name__} has no JSON")


# Kept, since `json.dumps` with separators makes an encoder for each call.
encode = json.JSONEncoder(allow_nan=False, separators=(",", ":"), default=_list).encode
"""Return a value as strict JSON in ASCII; an iterator is written as a list."""


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
    id: str = field(default_factory=new_id)
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


def chosen(call: Call, written: Written) -> list[int]:
    """Return the texts of a prompt that the answer has.

    Of more texts these are the ones with the largest mean log-probability under the model.
    """

    def surprisal(at: int) -> float:
        steps = written.texts[at].steps
        return math.fsum(step.model_surprisal for step in steps) / max(len(steps), 1)

    texts = [*range(len(written.texts))]
    return sorted(texts, key=surprisal)[: call.n] if len(texts) > call.n else texts


def about_text(text: Generation, entropies: list[float], masked: bool) -> dict[str, Any]:
    """Return what corelm says of one text."""
    about: dict[str, Any] = {
        "sample": text.sample,
        "finish_reason": text.finish_reason,
        "entropy": entropies,
    }
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
    about: dict[str, Any] = {"model_entropy": [record.model_entropy for record in records]}
    if masked:  # a decoder's own steps lack it
        masses = [record.allowed_mass for record in records]
        about["allowed_mass"] = [None if math.isnan(mass) else mass for mass in masses]
    return about


def drawn_tokens(written: Sequence[Written]) -> int:
    """Return the number of tokens that were drawn."""
    return sum(len(text.tokens) for each in written for text in each.texts)


def answer(call: Call, written: Sequence[Written]) -> dict[str, Any]:
    """Return the answer to a request whose jobs have ended; long lists are iterators."""
    listed = zip(call.jobs, written, strict=True)
    places = ((job, each, at) for job, each in listed for at in chosen(call, each))
    return {
        **call.head,
        "choices": (_choice(call, *place, index) for index, place in enumerate(places)),
        "usage": call.usage_of(drawn_tokens(written)),
        "corelm": call.about,
    }


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
        row = rollout(job.ids, written.recorded[at], job.record == SETS)
        choice["corelm"]["rollout"] = row
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


# ---- in chunks ----


class Stream:
    """The chunks of an answer, as server-sent events.

    Args:
        call: the request.
    """

    def __init__(self, call: Call) -> None:
        self._call = call
        self._start = f"data: {encode(call.head)[:-1]},"  # alike in all chunks
        self._rest: dict[str, Any] = {"usage": None} if call.usage else {}
        self._columns: dict[tuple[int, int], Column] = {}
        self._readers: dict[tuple[int, int], CallReader] = {}
        self._begun = set[tuple[int, int]]()  # texts whose first part of a rollout was sent
        self._costs: defaultdict[tuple[int, int], float] = defaultdict(float)
        self._is_first = True
        self.drawn = 0
        """The tokens drawn so far."""

    def begin(self) -> Iterator[bytes]:
        """Yield the first chunks: who speaks, and prompts to echo."""
        if self._call.is_chat:  # the first chunk of each choice says who speaks
            delta = {"role": "assistant", "content": ""}
            yield self._chunk(
                [self._bare(job, i, delta) for job in self._call.jobs for i in range(job.n)]
            )
        if self._call.echo:
            for job in self._call.jobs:
                if not job.scored:
                    yield from self._echo(job, None)

    def take(self, job: Job, what: Event) -> Iterator[bytes]:
        """Yield the chunks of an event."""
        if isinstance(what, Piece):
            self.drawn += len(what.entropies)
            yield self._chunk([self._choice(job, what)])
        elif isinstance(what, Scores):
            yield from self._echo(job, what)
        elif isinstance(what, BaseException):
            yield f"data: {encode(as_api_error(what).document)}\n\n".encode()

    def end(self) -> Iterator[bytes]:
        """Yield the last chunks."""
        if self._call.usage:
            yield self._chunk([], usage=self._call.usage_of(self.drawn))
        yield END

    def _chunk(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        if self._is_first:  # with a choice, which clients read without looking
            more, self._is_first = {**more, "corelm": self._call.about}, False
        members = encode({"choices": choices, **self._rest, **more})
        return f"{self._start}{members[1:]}\n\n".encode()

    def _echo(self, job: Job, scores: Scores | None) -> Iterator[bytes]:
        text = self._call.prompts[job.index]
        if scores is None or not job.ids:
            for sample in range(job.n):
                yield self._chunk([self._bare(job, sample, text)])
            return
        column = Column(self._call.served.model.vocabulary, job.ids)
        column.add_prompt(scores, text)
        for sample in range(job.n):
            for part in column.echoed(text, ECHOED):
                yield self._chunk([self._bare(job, sample, "") | part])

    def _bare(self, job: Job, sample: int, what: Any) -> dict[str, Any]:
        index = job.index * self._call.n + sample
        name = "delta" if self._call.is_chat else "text"
        return {"index": index, name: what, "finish_reason": None, "logprobs": None}

    def _choice(self, job: Job, piece: Piece) -> dict[str, Any]:
        key, called = (job.index, piece.sample), False
        added: Any = {"content": piece.text} if self._call.is_chat else piece.text
        if self._call.calls is not None:
            reader = self._readers.setdefault(key, CallReader(self._call.calls))
            added = reader.add(piece.text, last=piece.finish_reason is not None)
            called = bool(reader.calls)
        choice = self._bare(job, piece.sample, added)
        choice["corelm"] = {
            "sample": piece.sample,
            "entropy": piece.entropies,
            **about_tokens(piece.records, self._call.is_masked),
        }
        if job.record is not None:
            prompt = job.ids if key not in self._begun else []
            self._begun.add(key)
            row = rollout(prompt, piece.recorded, job.record == SETS)
            choice["corelm"]["rollout"] = row
        if self._call.is_masked:
            self._costs[key] += constraint_cost(piece.records)
        if piece.finish_reason is not None:
            choice["finish_reason"] = reason_of(piece.finish_reason, called=called)
            choice["corelm"]["finish_reason"] = piece.finish_reason
            if self._call.is_masked:
                cost = self._costs[key]
                choice["corelm"]["constraint_cost"] = cost if math.isfinite(cost) else None
        if job.tables is not None:
            choice |= self._tables(job, piece)
        return choice

    def _tables(self, job: Job, piece: Piece) -> dict[str, Any]:
        key = job.index, piece.sample
        column = self._columns.get(key)
        if column is None:
            column = Column(self._call.served.model.vocabulary, job.ids)
            if self._call.echo:
                column.skip(self._call.prompts[job.index])
            self._columns[key] = column
        column.forget()
        column.add(piece.records, piece.tables)
        return column.as_chat() if self._call.is_chat else column.as_completion()


def constraint_cost(records: Sequence[TokenRecord]) -> float:
    """Return the sum of -ln of the allowed masses of tokens, in nats; infinite for a mass of 0."""
    masses = [record.allowed_mass for record in records]
    return sum((-math.log(mass) if mass else math.inf for mass in masses), 0.0)
