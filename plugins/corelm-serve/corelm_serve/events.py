"""Server-sent events: the chunks of an answer while it is written."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from corelm import TokenRecord
from corelm_serve.answers import Call, about_tokens, reason_of
from corelm_serve.errors import as_api_error
from corelm_serve.json_parts import encode
from corelm_serve.rollouts import SETS, rollout
from corelm_serve.scheduling.jobs import Event, Job, Piece, Written
from corelm_serve.scoring import Scores
from corelm_serve.tables import Column
from corelm_serve.tool_calls import CallReader

END = b"data: [DONE]\n\n"

ECHOED = 64
"""Tokens of an echoed prompt in one chunk: their likely tokens are named one after the other."""


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
            found = rollout(prompt, piece.recorded, job.record == SETS)
            choice["corelm"]["rollout"] = found
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


def ends(what: Event) -> bool:
    """Return True if an event is the last of its job."""
    return isinstance(what, (Written, BaseException))
