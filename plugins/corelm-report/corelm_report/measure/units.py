"""The units of work of a report, the entries that take their results, and its stages.

An executor runs the units on any number of workers; a journal stores the finished ones.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from itertools import chain
from typing import Any, TypeVar

from corelm import LanguageModel, Sampler
from corelm.errors import PluginError, SamplerError, UsageError
from corelm.runs import ContinuousBatch, Strategy, Texts, plugins, scaling
from corelm_report.document.content import Failure, MatchedTo, SamplerEntry
from corelm_report.measure import generated_texts, on_contexts
from corelm_report.measure.contexts import Contexts, model_contexts
from corelm_report.measure.journal import Journal
from corelm_report.measure.matching import Matcher
from corelm_report.measure.provenance import described
from corelm_report.measure.text_records import Score, TextRecord, score
from corelm_report.plan.candidates import Candidate


@dataclass(frozen=True)
class DrawContexts:
    """Draw texts from the model, to compare samplers at their positions."""

    prompts: tuple[str, ...]
    each: int
    length: int
    seed: int
    name: str = "contexts"

    def __call__(self, model: LanguageModel) -> dict[str, Any]:
        prompts, each = len(self.prompts), self.each
        by_prompt = model_contexts(model, self.prompts, each, self.length, self.seed)
        # The first sample of every prompt, then the second, so that no prompt is left out.
        return asdict(by_prompt.some([p * each + i for i in range(each) for p in range(prompts)]))


class Matchers:
    """A matcher for contexts, created once for all units that share this object.

    A pickled copy creates its own.

    Args:
        contexts: all positions of the report.
    """

    def __init__(self, contexts: Contexts) -> None:
        self._contexts = contexts
        self._made: Matcher | None = None

    def matcher(self, model: LanguageModel) -> Matcher:
        """Return the matcher on a model, the same one at every call."""
        self._made = self._made or Matcher(model, self._contexts)
        return self._made

    # The matcher may hold the model's logits at every position, which are too large to send, so
    # each worker creates its own.
    def __reduce__(self) -> tuple[type[Matchers], tuple[Contexts]]:
        return Matchers, (self._contexts,)


@dataclass(frozen=True)
class ModelEntropy:
    """Measure the mean entropy of the model's own distributions on the contexts."""

    matchers: Matchers
    name: str = "entropy of the model"

    def __call__(self, model: LanguageModel) -> dict[str, float]:
        return {"mean": self.matchers.matcher(model).model_entropy()}


@dataclass(frozen=True)
class Match:
    """Match the parameter that an expression leaves open; the result is a complete expression."""

    expression: str
    figure: str
    target: float
    matchers: Matchers
    of_words: bool = False

    @property
    def name(self) -> str:
        """The name in the journal."""
        return f"match {self.expression} {self.figure} {self.target!r}"

    def __call__(self, model: LanguageModel) -> dict[str, Any]:
        matcher = self.matchers.matcher(model)
        asked = self.expression, self.figure, self.target, self.of_words
        return attempted(lambda: str(matcher.match(*asked)))


@dataclass(frozen=True)
class MeasureOnContexts:
    """Measure all samplers on some of the contexts.

    Attributes:
        stage: the stage of the report.
        first: the index of the first text among all contexts.
        contexts: the contexts of this unit alone.
        samplers: the samplers.
        temperatures: the temperatures of the curve.
    """

    stage: str
    first: int
    contexts: Contexts
    samplers: tuple[Strategy, ...]
    temperatures: tuple[float, ...]

    @property
    def name(self) -> str:
        """The name in the journal."""
        return f"{self.stage} {self.first}"

    def __call__(self, model: LanguageModel) -> on_contexts.Record:
        samplers = [each.sampler for each in self.samplers]
        found = on_contexts.measure(model, self.contexts, samplers, self.temperatures)
        return on_contexts.numbered_from(self.first, found)


Part = tuple[tuple[Texts, Sequence[int]], ...]
"""Texts that are drawn together: the texts of each prompt, and the samples to draw of these."""


def parts_of(texts: Texts, prompts: Sequence[str], counted: bool) -> Iterator[Part]:
    """Divide the texts of several prompts into parts that are drawn together.

    Args:
        texts: the texts of any prompt.
        prompts: the prompts.
        counted: True to decode each prompt by itself, and its first text alone, so that the model's
            calls for that text can be counted.
    """
    if not counted:
        yield from map(tuple, texts.batches(prompts, independent=True))
        return
    for index, prompt in enumerate(prompts):
        of_prompt = replace(texts, prompt=prompt, prompt_index=index)
        others = (
            range(some.start + 1, some.stop + 1) for some in ContinuousBatch.batches(texts.n - 1)
        )
        for samples in chain([range(1)], others):
            yield ((of_prompt, samples),)


@dataclass(frozen=True)
class DrawTexts:
    """Draw some of the texts of one sampler or decoder.

    Attributes:
        entry: the index of the sampler.
        number: the index of the unit among the sampler's units.
        parts: the texts to draw.
        counted: True to count the calls of the model for the single text.
    """

    entry: int
    number: int
    parts: Part
    counted: bool = False

    @property
    def name(self) -> str:
        """The name in the journal."""
        return f"generated texts {self.entry} {self.number}"

    def __call__(self, model: LanguageModel) -> dict[str, Any]:
        # A sampler fails with corelm's errors, a decoder with any: it is plugin code.
        has_decoder = any(texts.strategy.decoder for texts, _ in self.parts)
        guarded = plugins.registry().guarded if has_decoder else nullcontext

        def work() -> list[TextRecord]:
            with guarded():
                return self._draw(model)

        return attempted(work)

    def _draw(self, model: LanguageModel) -> list[TextRecord]:
        if len(self.parts) > 1:
            return generated_texts.draw_together(model, self.parts)
        [(texts, samples)] = self.parts
        if self.counted:
            [sample] = samples
            return [generated_texts.draw_counted(model, texts, sample)]
        return generated_texts.draw(model, texts, samples)


@dataclass(frozen=True)
class ScoreTexts:
    """Score some texts under the model, which is the second scorer here.

    Attributes:
        stage: the stage of the report.
        entry: the index of their entry.
        first: the index of the first text.
        texts: the prompt of each text, and the text.
    """

    stage: str
    entry: int
    first: int
    texts: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        """The name in the journal."""
        return f"{self.stage} {self.entry} {self.first}"

    def __call__(self, model: LanguageModel) -> list[Score]:
        return score(model, self.texts)


def attempted(work: Callable[[], Any]) -> dict[str, Any]:
    """Return the value of one sampler's work, or the error that stopped it."""
    try:
        return {"value": work()}
    except (SamplerError, PluginError, UsageError) as error:
        return on_contexts.failure(error)


Result = dict[str, Any]
"""The result of a unit of work, as the journal stores it."""


@dataclass
class OpenEntry:
    """A sampler's entry during the run."""

    candidate: Candidate
    sampler: Sampler
    target: float | None = None
    error: Failure | None = None

    @property
    def strategy(self) -> Strategy:
        """The sampler and the decoder around it."""
        return Strategy(self.sampler, self.candidate.decoder)

    @property
    def name(self) -> str:
        """The name that the entry has in the report."""
        return str(self.strategy)

    @property
    def writes_one_text(self) -> bool:
        """True for a deterministic decoder, which writes one text per prompt."""
        decoder = self.candidate.decoder
        return decoder is not None and decoder.is_deterministic

    def described(self) -> SamplerEntry:
        """Return its entry without figures; an open parameter is shown as the user wrote it."""
        candidate, found = self.candidate, described(self.strategy)
        found = replace(found, sweep=candidate.sweep, matched=self._match(), error=self.error)
        if candidate.open is not None and self.sampler is candidate.sampler:
            return replace(found, sampler=candidate.name, params={}, temperature=None)
        return found

    def _match(self) -> MatchedTo | None:
        """Return the target that its open parameter was matched to, or None."""
        open_, asked = self.candidate.open, self.candidate.target
        if open_ is None or asked is None or self.target is None:
            return None
        return MatchedTo(open=open_, figure=asked.figure, target=self.target, asked=str(asked))

    def take(self, result: Result) -> Result | None:
        """Return the unit's result, or None if the sampler failed; keep the first error."""
        if self.error is None and "error" in result:
            self.error = Failure(**result["error"])
        return None if self.error else result


Progress = Callable[[str, int, int], None]
"""A function that is called with a stage, its finished units and its total of units."""
AnyUnit = TypeVar("AnyUnit", bound=scaling.Unit)


class Stages:
    """Run the unfinished units of a report, stage by stage.

    Args:
        executor: does the units of work.
        journal: the units that are finished.
        progress: called at every unit.
    """

    def __init__(self, executor: scaling.Executor, journal: Journal, progress: Progress) -> None:
        self._executor, self._journal, self.progress = executor, journal, progress

    def results(
        self,
        stage: str,
        units: Iterable[AnyUnit],
        total: int,
        model: int = 0,
    ) -> Iterator[tuple[AnyUnit, Any]]:
        """Yield units with their results, in order; run only units that aren't in the journal.

        Units are taken one by one, so the caller may skip units because of earlier results.

        Args:
            stage: the name of the stage.
            units: the units.
            total: the number of units.
            model: the index of their model in the executor's models.
        """
        # Results arrive in any order, but are yielded in the order of the units, so that a report
        # is the same on any number of workers.
        order: deque[AnyUnit] = deque()
        results: dict[str, Any] = {}
        journal, done = self._journal, 0

        def missing() -> Iterator[AnyUnit]:
            nonlocal done
            for unit in units:
                order.append(unit)
                if unit.name not in journal:
                    yield unit
                else:
                    done += 1

        def in_order() -> Iterator[tuple[AnyUnit, Any]]:
            while order and ((name := order[0].name) in results or name in journal):
                yield order.popleft(), results.pop(name) if name in results else journal.take(name)

        self.progress(stage, 0, total)
        for unit, result in self._executor.run(missing(), model):
            results[unit.name] = journal.keep(unit.name, result)
            done += 1
            self.progress(stage, done, total)
            yield from in_order()
        self.progress(stage, total, total)
        yield from in_order()

    def result(self, unit: scaling.Unit) -> Any:
        """Return the result of a unit that is a stage of its own."""
        return next(self.results(unit.name, [unit], 1))[1]
