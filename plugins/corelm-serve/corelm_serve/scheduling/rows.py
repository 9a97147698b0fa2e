"""Rows of jobs with equal chains, whose tokens are drawn in one call.

A chain of corelm's own samplers that reads nothing but the logits treats each row by itself, to the
last bit. So the rows of all jobs with such a chain are drawn together, whatever their lengths are.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corelm import Array, Choice, Context, LanguageModel, Mask, RandomStream, Step, draw
from corelm.batching import SessionView, SharedSession
from corelm.toolkit import ModelLogits, apply, registry
from corelm_serve.scheduling.jobs import Job

OWN = "corelm_samplers."
"""The package of corelm's own samplers, which a row's company never changes."""


@dataclass(frozen=True)
class Drawn:
    """Tokens of some rows, and the distributions that they were drawn from.

    Attributes:
        step: the tokens and distributions, as one step of all rows.
        entropy: (batch,) nats, of the distributions drawn from.
        grows: (batch,) True for tokens that don't end their text.
    """

    step: Step
    entropy: NDArray[np.float64]
    grows: NDArray[np.bool_]

    def of(self, first: int, end: int) -> Drawn:
        """Return the part of some rows."""
        rows, step = slice(first, end), self.step
        part = Step(
            step.position, step.samples[rows], step.tokens[rows], step.model_logits[rows],
            step.logits[rows], step.surprisal[rows],
        )  # fmt: skip
        return Drawn(part, self.entropy[rows], self.grows[rows])


class JobRows:
    """The rows of a job whose chain reads nothing but the logits.

    Args:
        model: the language model.
        job: the job.
        view: a session that has read the prompt, in one row.

    Attributes:
        view: its rows in the shared session; None after the last token.
    """

    def __init__(self, model: LanguageModel, job: Job, view: SessionView) -> None:
        self._job, self._vocabulary = job, model.vocabulary
        self._prepare = ModelLogits(model.vocabulary, job.unknown)
        self._ends = list(model.vocabulary.ends)
        self._samples: NDArray[np.int64] = np.arange(job.samples)
        self._stream = RandomStream(job.seed, range(job.samples))
        self._position = 0
        self._step: Step | None = None
        view.select(np.zeros(job.samples, dtype=np.int64))
        self.view: SessionView | None = view

    @staticmethod
    def fit(job: Job) -> bool:
        """Return True if the job's tokens can be drawn with those of others."""
        stages = job.strategy.sampler.active_stages
        return job.is_ancestral and all(
            not stage.reads
            and not isinstance(stage, (Choice, Mask))
            and type(stage).__module__.startswith(OWN)
            for stage in stages
        )

    @property
    def key(self) -> Hashable:
        """The key of jobs that are drawn together: all have an equal one."""
        return self._job.strategy.sampler, self._job.unknown

    @property
    def is_drawn(self) -> bool:
        """True if the tokens of its next step are drawn."""
        return self._step is not None

    @property
    def is_shared(self) -> bool:
        """True if its view has joined the shared session."""
        return self.view is not None and self.view.own is None

    @property
    def uniforms(self) -> NDArray[np.float64]:
        """The random numbers of the next tokens."""
        return self._stream.at(self._position, self._samples)

    def draw(self, logits: Array, uniforms: NDArray[np.float64]) -> Drawn:
        """Draw tokens for rows of this job, and of others with an equal key.

        Args:
            logits: (batch, vocabulary) the model's, which are overwritten.
            uniforms: (batch,) numbers in [0, 1).
        """
        model_logits = self._prepare(logits, self._position)
        context = Context.of(
            np.empty((len(logits), 0), dtype=np.int64), vocabulary=self._vocabulary
        )
        result = apply(self._job.strategy.sampler, model_logits, context)
        tokens, surprisal = draw(result, uniforms)
        # Computed for all rows at once: a call for each job would take as long as the model.
        rows = np.arange(len(tokens))
        step = Step(self._position, rows, tokens, model_logits, result, surprisal)
        grows = np.ones(len(tokens), dtype=bool)
        for end in self._ends:
            grows &= tokens != end
        return Drawn(step, step.entropy, grows)

    def take(self, drawn: Drawn) -> None:
        """Append the tokens to the session, so that the model can go on before they are read."""
        assert self.view is not None
        step = drawn.step
        self._step = Step(
            self._position, self._samples, step.tokens, step.model_logits, step.logits,
            step.surprisal,
        )  # fmt: skip
        vars(self._step)["entropy"] = drawn.entropy  # where the step would keep it
        self._position += 1
        if self._position == self._job.length or not drawn.grows.any():
            self.view = None
            return
        tokens = step.tokens
        if not drawn.grows.all():
            self.view.select(np.flatnonzero(drawn.grows))
            self._samples, tokens = self._samples[drawn.grows], tokens[drawn.grows]
        self.view.extend(tokens)

    def steps(self) -> Iterator[Step]:
        """Yield the steps; the tokens of a step that were not drawn with others are drawn here."""
        observers = registry()
        observed = observers.load_observers()
        while self.view is not None or self._step is not None:
            if self._step is None:
                assert self.view is not None
                self.take(self.draw(self.view.next_logits(), self.uniforms))
            step, self._step = self._step, None
            assert step is not None
            if observed:
                observers.observe(step)
            yield step


def draw_together(shared: SharedSession, rows: Sequence[JobRows]) -> None:
    """Draw the tokens of jobs with equal chains in one call for each chain.

    Args:
        shared: the session of all views, whose logits are computed.
        rows: jobs whose views have joined it.
    """
    groups: dict[Hashable, list[JobRows]] = {}
    for each in rows:
        groups.setdefault(each.key, []).append(each)
    for group in groups.values():
        views = [each.view for each in group if each.view is not None]
        logits = _logits_of(shared, views)
        drawn = group[0].draw(logits, np.concatenate([each.uniforms for each in group]))
        end = 0
        for each, view in zip(group, views, strict=True):
            first, end = end, end + view.size
            each.take(drawn.of(first, end))


def _logits_of(shared: SharedSession, views: Sequence[SessionView]) -> Array:
    """Return the logits of all rows of some views, without a copy if these are neighbours."""
    rows = np.concatenate([view.rows for view in views])
    first, end = int(rows[0]), int(rows[-1]) + 1
    if end - first == len(rows) and (np.diff(rows) == 1).all():
        return shared.logits(first, end)
    return np.concatenate([view.next_logits() for view in views])
