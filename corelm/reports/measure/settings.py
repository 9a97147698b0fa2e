"""The settings of a report, checked: everything that its figures depend on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from corelm import Decoder, LanguageModel, Sampler
from corelm.errors import UsageError
from corelm.models.corpus import read_texts
from corelm.models.identity import checksum_of, identity_of, manifest_of
from corelm.reports.document.lookup import HUMAN
from corelm.reports.document.provenance import releases_of
from corelm.reports.measure.defaults import CONTEXTS, LENGTH, SEED, TEXTS, N
from corelm.reports.measure.free_parameter import FreeParameter
from corelm.reports.measure.targets import OF_PEOPLE, Target
from corelm.scaling.job import Job
from corelm.toolkit import (
    Offer,
    Parameter,
    Rule,
    Setting,
    Strategy,
    built_in,
    default_prompt,
    home,
    notes,
    numbers_of,
    registry,
    settings_of,
    shown,
    unknown_words_note,
)
from corelm.toolkit import strategy as read_strategy

DEFAULT = ("greedy", *(f"temperature(t={t})" for t in (0.2, 0.5, 0.7, 1.0, 1.5)), "uniform",
           "top_p(p=0.9)")  # fmt: skip
MATCHED = ("temperature", "top_p", "min_p", "typical")
"""The samplers to compare and to match by default; the built-in ones."""

NUMBERS = {name: Parameter(name, int, None, Rule(ge=least)) for name, least in
           (("n", 1), ("length", 1), ("seed", 0), ("texts", 0), ("contexts", 1))}  # fmt: skip


@dataclass(frozen=True)
class Candidate:
    """One sampler of a report.

    Attributes:
        sampler: the sampler to measure; before matching, the one with the default parameter.
        open: the expression that leaves a parameter open to match; None if nothing is matched.
        target: what it is matched to.
        alone: True if it is matched to nothing else, so that the expression names its row.
        sweep: the sweep that it is a setting of, as `sweeps.Setting` has it.
        decoder: the decoder around the sampler; None for ancestral sampling.
    """

    sampler: Sampler
    open: str | None = None
    target: Target | None = None
    alone: bool = True
    sweep: str | None = None
    decoder: Decoder | None = None

    @property
    def strategy(self) -> Strategy:
        """The sampler and the decoder."""
        return Strategy(self.sampler, self.decoder)

    @property
    def row(self) -> str:
        """The name of its row before anything is measured."""
        if self.open is None:
            return str(self.strategy)
        return self.open if self.alone else f"{self.open} at {self.target}"


@dataclass(frozen=True)
class Reference:
    """Human texts: the source of the human row and the contexts of all samplers."""

    texts: tuple[str, ...]
    description: str


@dataclass(frozen=True)
class NamedModel:
    """A language model and the name that it was loaded by."""

    model: LanguageModel
    name: str

    @property
    def sha256(self) -> str | None:
        """The checksum of the model's manifest, or None if it has none."""
        return checksum_of(self.model)

    def fingerprint(self, prompt: str) -> str:
        """Return the checksum; for a model without one, that of its distribution after a prompt."""
        return identity_of(self.model, prompt)


@dataclass(frozen=True)
class Settings:
    """The settings of a report; `settings` checks and makes them.

    Attributes:
        model: the language model.
        model_name: its name.
        candidates: the samplers.
        prompts: the beginnings of the texts.
        n: texts of each sampler for each prompt.
        length: tokens of a text, at most.
        seeds: the random seeds of the texts; the first one is that of contexts from the model.
        reference: human texts, if there are any.
        contexts: texts on whose positions the samplers are compared, at most.
        match: the figures to match.
        against: the row that the others are compared with, or "human"; None for human text, or
            without any for the first sampler.
        metrics: the metrics of plugins to measure on the texts.
        texts: the texts of each prompt to keep, the first ones; None for all.
        scorer: a second model, under which the surprisal of the texts is measured too.
        warnings: likely mistakes in these settings.
    """

    model: LanguageModel
    model_name: str
    candidates: tuple[Candidate, ...]
    prompts: tuple[str, ...]
    n: int
    length: int
    seeds: tuple[int, ...]
    reference: Reference | None
    contexts: int
    match: tuple[Target, ...]
    against: str | None = None
    metrics: tuple[Offer, ...] = ()
    texts: int | None = TEXTS
    scorer: NamedModel | None = None
    warnings: tuple[str, ...] = ()

    @property
    def sha256(self) -> str | None:
        """The checksum of the model's manifest, or None if it has none."""
        return NamedModel(self.model, self.model_name).sha256

    @property
    def models(self) -> list[LanguageModel]:
        """The model, and the second scorer if there is one."""
        return [self.model] if self.scorer is None else [self.model, self.scorer.model]

    def jobs(
        self,
        name: str,
        scorer: str | None,
        device: str | None = None,
        dtype: str | None = None,
    ) -> list[Job]:
        """Return what workers need for this report, for each of its models.

        Args:
            name: the name or path by which the model was loaded.
            scorer: the same of the second scorer.
            device: the device that the model was loaded with.
            dtype: the number format that it was loaded with.

        Raises:
            UsageError: a sampler that they cannot have.
        """
        strategies = [candidate.strategy for candidate in self.candidates]
        things = [thing for strategy in strategies for thing in strategy if thing is not None]
        text = self.prompts[0]
        jobs = [Job.of(name, self.model, text, things, device, dtype)]
        if self.scorer is not None and scorer is not None:
            jobs.append(Job.of(scorer, self.scorer.model, text, ()))
        return jobs

    def as_json(self) -> dict[str, Any]:
        """Return everything that the figures depend on, to tell one report from another."""
        reference = self.reference and [self.reference.description, _digest(self.reference.texts)]
        return {
            "corelm": version("corelm"),
            "numpy": np.__version__,
            "model": self._identified(NamedModel(self.model, self.model_name)),
            "scorer": self.scorer and self._identified(self.scorer),
            "samplers": [[c.row, *releases_of(c.strategy)] for c in self.candidates],
            "prompts": list(self.prompts),
            "n": self.n,
            "length": self.length,
            "seeds": list(self.seeds),
            "reference": reference,
            "contexts": self.contexts,
            "match": [str(target) for target in self.match],
            "against": self.against,
            "metrics": [f"{o.full_name} {o.source.version}" for o in self.metrics],
        }

    def _identified(self, model: NamedModel) -> list[str]:
        return [model.name, model.fingerprint(self.prompts[0])]


def settings(
    model: LanguageModel,
    model_name: str,
    samplers: Iterable[str | Sampler | Decoder] | None = None,
    *,
    prompts: str | Sequence[str] | None = None,
    n: int | str = N,
    length: int | str = LENGTH,
    seed: int | str | None = None,
    seeds: str | Iterable[int | str] | None = None,
    reference: Any = None,
    contexts: int | str = CONTEXTS,
    match: str | Iterable[str] = (),
    against: str | Sampler | Decoder | None = None,
    metrics: str | Iterable[str] = (),
    texts: int | str = TEXTS,
    scorer: NamedModel | None = None,
) -> Settings:
    """Check the settings of a report, convert numbers given as text, and fill in defaults.

    Raises:
        UsageError: the settings cannot be met.
        UnknownNameError, AmbiguousNameError: no such metric, or several.
        DataError: the reference cannot be read.
    """
    targets = _targets(match)
    candidates, warnings = _once(_candidates(samplers, targets))
    asked = {"n": n, "length": length, "contexts": contexts}
    numbers = {name: NUMBERS[name].convert(value) for name, value in asked.items()}
    beginnings = _prompts(prompts, model)
    wanted = max(numbers["contexts"], numbers["n"] * len(beginnings))
    people = _reference(reference, model, wanted)
    _refuse_without_people(targets, people)
    return Settings(
        model,
        model_name,
        candidates,
        beginnings,
        seeds=_seeds(seed, seeds),
        reference=people,
        match=targets,
        against=_against(against, candidates),
        metrics=_metrics(metrics, people),
        texts=None if texts == "all" else NUMBERS["texts"].convert(texts),
        scorer=scorer,
        warnings=(*warnings, *_notes(candidates, model, beginnings)),
        **numbers,
    )


def _candidates(
    samplers: Iterable[str | Sampler | Decoder] | None, targets: Sequence[Target]
) -> list[Candidate]:
    if samplers is None:
        samplers = _names(MATCHED) if targets else [*map(built_in, DEFAULT)]
    given = [samplers] if isinstance(samplers, (str, Sampler, Decoder)) else list(samplers)
    if not given:
        raise UsageError("a report needs at least one sampler")
    return [candidate for each in given for candidate in _settings_of(each, targets)]


def _settings_of(given: str | Sampler | Decoder, targets: Sequence[Target]) -> list[Candidate]:
    """Return a candidate for each setting of a sweep; one for anything else."""
    if not isinstance(given, str):
        sampler, decoder = read_strategy(given)
        return [Candidate(sampler, decoder=decoder)]
    return [found for setting in settings_of(given) for found in _matches(setting, targets)]


def _matches(setting: Setting, targets: Sequence[Target]) -> list[Candidate]:
    """Return a candidate for each target if the expression leaves a number open, else one."""
    expression, sweep = setting
    sampler, decoder = read_strategy(expression)
    if decoder is not None or not targets or FreeParameter.find(expression) is None:
        return [Candidate(sampler, sweep=sweep, decoder=decoder)]
    alone = len(targets) == 1
    return [Candidate(sampler, expression, target, alone, sweep) for target in targets]


def _names(samplers: Iterable[str]) -> list[str]:
    """Return the names of built-in samplers: full ones where other plugins offer the same."""
    return [built_in(name).name for name in samplers]


def _once(candidates: list[Candidate]) -> tuple[tuple[Candidate, ...], tuple[str, ...]]:
    """Keep each sampler once, with a warning for those named again."""
    kept = {candidate.row: candidate for candidate in reversed(candidates)}
    rows = list(dict.fromkeys(candidate.row for candidate in candidates))
    several = [row for row in rows if sum(c.row == row for c in candidates) > 1]
    warnings = tuple(f"{row} was named more than once; it is measured once" for row in several)
    return tuple(kept[row] for row in rows), warnings


def _prompts(given: str | Sequence[str] | None, model: LanguageModel) -> tuple[str, ...]:
    """The prompts, each once; the model's own if none was given."""
    if given is None:
        return (default_prompt(model),)
    prompts = (given,) if isinstance(given, str) else tuple(dict.fromkeys(given))
    if not prompts:
        raise UsageError("a report needs at least one prompt")
    return prompts


def _notes(
    candidates: Iterable[Candidate], model: LanguageModel, prompts: Iterable[str]
) -> Iterator[str]:
    """The likely mistakes in the chains and in the prompts."""
    for candidate in candidates:
        yield from notes(candidate.sampler)
    if note := unknown_words_note(model.vocabulary, prompts):
        yield note


def _against(given: str | Sampler | Decoder | None, candidates: Sequence[Candidate]) -> str | None:
    """The row to compare with; a sampler may be written in any way that reads as the same."""
    if given is None or given == HUMAN:
        return given
    rows = [candidate.row for candidate in candidates]
    if isinstance(given, str) and given.strip() in rows:
        return given.strip()
    strategy = read_strategy(given)
    found = [c.row for c in candidates if c.open is None and c.strategy == strategy]
    if not found:
        raise UsageError(
            f"{strategy} is not in the report; compare with human, or with one of: "
            f"{', '.join(rows)}"
        )
    return found[0]


def _seeds(seed: int | str | None, seeds: str | Iterable[int | str] | None) -> tuple[int, ...]:
    """The random seeds, each once; one of them unless several were asked for."""
    if seed is not None and seeds is not None:
        raise UsageError("seed and seeds contradict each other; give one of them")
    given: Iterable[int | str] = [SEED if seed is None else seed]
    if seeds is not None:
        given = numbers_of(seeds) if isinstance(seeds, str) else seeds
    found = tuple(dict.fromkeys(NUMBERS["seed"].convert(each) for each in given))
    if not found:
        raise UsageError("a report needs at least one seed")
    return found


def _metrics(given: str | Iterable[str], people: Reference | None) -> tuple[Offer, ...]:
    """The metrics of these names, each once."""
    names = [given] if isinstance(given, str) else list(given)
    for name in names:
        if not isinstance(name, str):
            raise UsageError(f"a metric is the name of one, such as 'mattr', not {shown(name)}")
    offers = [registry().find("corelm_metrics", name) for name in names]
    for offer in offers:
        if people is None and offer.value.compare is not None:
            raise UsageError(
                f"{offer.name} compares with human text: give some as the reference, or leave the "
                "metric out"
            )
    return tuple({offer.full_name: offer for offer in offers}.values())


def _targets(match: str | Iterable[str]) -> tuple[Target, ...]:
    """Read the figures to match, each once."""
    texts = [match] if isinstance(match, str) else list(match)
    return tuple(dict.fromkeys(Target.read(text) for text in texts))


def _refuse_without_people(targets: Iterable[Target], people: Reference | None) -> None:
    for target in targets:
        if people is None and target.figure in OF_PEOPLE:
            raise UsageError(
                f"{target.figure} needs contexts that people wrote: give some as the reference"
            )


def _reference(given: Any, model: LanguageModel, count: int) -> Reference | None:
    """The texts given; if none are, the reviews that the model has not seen, if they are here."""
    if given is None:
        path = home() / "data" / "aclImdb" / "test"
        corpus = manifest_of(model).get("training")
        if not isinstance(corpus, Mapping) or corpus.get("corpus") != "imdb" or not path.is_dir():
            return None
        return Reference(tuple(read_texts(path, count)), "IMDB reviews that the model has not seen")
    if isinstance(given, (str, Path)):
        return Reference(tuple(read_texts(Path(given), count)), f"texts of {Path(given).name}")
    texts = tuple(given)
    if not all(isinstance(text, str) for text in texts) or not any(map(str.strip, texts)):
        raise UsageError("the reference must be a path of texts, or a list of texts")
    return Reference(texts[:count], f"{len(texts[:count])} texts given")


def _digest(texts: Sequence[str]) -> str:
    """The checksum of several texts."""
    whole = hashlib.sha256()
    for text in texts:
        whole.update(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
    return whole.hexdigest()
