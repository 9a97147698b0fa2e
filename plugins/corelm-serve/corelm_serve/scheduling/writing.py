"""The texts of a job, one step at a time."""

from __future__ import annotations

from collections.abc import Iterator

from corelm import LanguageModel, Step, log_softmax
from corelm.toolkit import OpenTexts, steps
from corelm_serve.scheduling.jobs import Job, Piece, TokenTable, Written
from corelm_serve.scheduling.reading import PromptReader
from corelm_serve.scoring import likeliest, score


def write(model: LanguageModel, job: Job, piece: int) -> Iterator[list[Piece]]:
    """Write the texts of a job; yield the new pieces after each step, and last tell its end.

    Args:
        model: the language model.
        job: what to write.
        piece: the largest number of tokens of the prompt to read at a time.
    """
    scores = None
    if job.scored:
        # Yields between blocks, so that a long prompt holds up nobody.
        scores = yield from score(model, job.ids, job.tables or 0, piece, job.unknown)
        if job.streamed:
            job.tell(job, scores)
    texts = OpenTexts(
        model, job.ids, range(job.samples), seed=job.seed, length=job.length,
        sampler=job.strategy.sampler, endings=job.endings, measured=True,
    )  # fmt: skip
    reader = PromptReader(model, job.ids, piece)
    for _ in reader.read():
        yield []
    collector = _Collector(job, texts)
    for step in texts.take(_steps(reader if job.is_ancestral else model, job)):
        yield collector.pieces(step)
    written = texts.generations()
    if job.length == 0 and job.streamed:
        yield [Piece(sample, "", [], [], "length") for sample in range(job.samples)]
    job.tell(job, Written(written, collector.tables, scores))


def _steps(model: LanguageModel, job: Job) -> Iterator[Step]:
    return steps(
        model, job.ids, sampler=job.strategy.sampler, length=job.length,
        samples=range(job.samples), seed=job.seed, decoder=job.strategy.decoder,
        unknown=job.unknown,
    )  # fmt: skip


class _Collector:
    """The tables of a job's tokens, and what is new in each text.

    Args:
        job: the job.
        texts: its texts.
    """

    def __init__(self, job: Job, texts: OpenTexts) -> None:
        self._job, self._texts = job, texts
        self._sent = [0] * job.samples
        self._ended = [False] * job.samples
        self.tables: list[list[TokenTable]] = [[] for _ in range(job.samples)]

    def pieces(self, step: Step) -> list[Piece]:
        """Return the pieces of a step; none for a job that isn't streamed."""
        if self._job.tables is not None:
            self._add_tables(step)
        if not self._job.streamed:
            return []
        return [self._piece(sample) for sample in step.samples.tolist() if not self._ended[sample]]

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
            self._texts.records[sample][sent:],
            self.tables[sample][sent:],
            reason,
        )
