"""The texts of a job, one step at a time."""

from __future__ import annotations

from collections.abc import Iterator

from corelm import LanguageModel, Step, log_softmax
from corelm.batching import SessionView, SharedSession, ViewedModel
from corelm.toolkit import OpenTexts, steps
from corelm_serve.scheduling.jobs import Job, Piece, TokenTable, Written
from corelm_serve.scheduling.reading import PromptReader
from corelm_serve.scheduling.rows import JobRows
from corelm_serve.scoring import likeliest, score


class Writing:
    """The texts of a job.

    Its rows are in a session that it shares with the texts of other jobs, unless its decoder is
    not ancestral.

    Args:
        model: the language model.
        job: what to write.
        piece: the largest number of tokens of the prompt to read at a time.
        shared: the shared session.

    Attributes:
        rows: its rows, if they can be drawn with those of other jobs; None before its first token.
        reads: tokens of the prompt that the next step reads.
    """

    def __init__(self, model: LanguageModel, job: Job, piece: int, shared: SharedSession) -> None:
        self._model, self._job, self._piece, self._shared = model, job, piece, shared
        self._reader = PromptReader(model, job.ids, piece)
        self._view: SessionView | None = None
        self.rows: JobRows | None = None
        self.reads: int = self._reader.next
        self.steps: Iterator[None] = self._write()

    @property
    def view(self) -> SessionView | None:
        """Its rows in the shared session; None where it needs none."""
        return self._view if self.rows is None else self.rows.view

    def _write(self) -> Iterator[None]:
        """Write the texts and tell of each piece; yield after each step but the last one."""
        job = self._job
        scores = None
        if job.scored:
            # Yields after each block, so that a long prompt holds up nobody.
            blocks = score(self._model, job.ids, job.tables or 0, self._piece, job.unknown)
            scores = yield from blocks
            if job.streamed:
                job.tell(job, scores)
        texts = self._open()
        collector = _Collector(job, texts)
        if job.length:
            yield from self._read()
            for step in texts.take(self._steps()):
                collector.tell(step)
                if None not in texts.finish_reasons:
                    break
                yield
        elif job.streamed:
            for sample in range(job.samples):
                job.tell(job, Piece(sample, "", [], [], [], "length"))
        job.tell(job, Written(texts.generations(), collector.entropies, collector.tables, scores))

    def _read(self) -> Iterator[None]:
        """Read the prompt of a job whose rows are shared; yield after each piece but the last."""
        if not self._job.is_ancestral:
            return
        for _ in self._reader.read():
            self.reads = self._reader.next
            yield
        self.reads = 0
        assert self._reader.session is not None
        self._view = SessionView(self._shared, self._reader.session)
        if JobRows.fit(self._job):
            self.rows = JobRows(self._model, self._job, self._view)

    def _open(self) -> OpenTexts:
        job = self._job
        return OpenTexts(
            self._model, job.ids, range(job.samples), seed=job.seed, length=job.length,
            sampler=job.strategy.sampler, endings=job.endings, measured=job.measured,
        )  # fmt: skip

    def _steps(self) -> Iterator[Step]:
        if self.rows is not None:
            return self.rows.steps()
        job, model = self._job, self._model
        return steps(
            model if self._view is None else ViewedModel(model, self._view), job.ids,
            sampler=job.strategy.sampler, length=job.length, samples=range(job.samples),
            seed=job.seed, decoder=job.strategy.decoder, unknown=job.unknown,
        )  # fmt: skip


class _Collector:
    """The entropies and tables of a job's tokens, and what is new in each text.

    Args:
        job: the job.
        texts: its texts.
    """

    def __init__(self, job: Job, texts: OpenTexts) -> None:
        self._job, self._texts = job, texts
        self._sent = [0] * job.samples
        self._ended = [False] * job.samples
        self.entropies: list[list[float]] = [[] for _ in range(job.samples)]
        self.tables: list[list[TokenTable]] = [[] for _ in range(job.samples)]

    def tell(self, step: Step) -> None:
        """Tell of the pieces of a step, if the job is streamed."""
        if self._job.tables is not None:
            self._add_tables(step)
        for sample, entropy in zip(step.samples.tolist(), step.entropy.tolist(), strict=True):
            if len(self.entropies[sample]) < len(self._texts.tokens[sample]):
                self.entropies[sample].append(entropy)
        if self._job.streamed:
            for sample in step.samples.tolist():
                if not self._ended[sample]:
                    self._job.tell(self._job, self._piece(sample))

    def _add_tables(self, step: Step) -> None:
        model, sampler = log_softmax(step.model_logits), log_softmax(step.logits)
        for row, sample in enumerate(step.samples.tolist()):
            if len(self.tables[sample]) == len(self._texts.tokens[sample]):
                continue  # its text had ended before this step
            ids = [int(step.tokens[row]), *likeliest(model[row], self._job.tables or 0)]
            table = TokenTable(ids, model[row, ids].tolist(), sampler[row, ids].tolist())
            self.tables[sample].append(table)

    def _piece(self, sample: int) -> Piece:
        reason = self._texts.finish_reasons[sample]
        sent, self._sent[sample] = self._sent[sample], len(self._texts.tokens[sample])
        self._ended[sample] = reason is not None
        return Piece(
            sample,
            self._texts.texts[sample].take_settled(last=reason is not None),
            self.entropies[sample][sent:],
            self._texts.records[sample][sent:],
            self.tables[sample][sent:],
            reason,
        )
