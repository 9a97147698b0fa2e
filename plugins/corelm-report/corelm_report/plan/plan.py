"""The plan of a report, checked: everything that its figures depend on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from typing import Any

import numpy as np

from corelm import Decoder, HumanMetric, LanguageModel, Sampler, lint
from corelm.abilities import FullVocabulary
from corelm.bundles import Corpus
from corelm.errors import ExpressionError, UsageError
from corelm.runs import Expression, NamedModel, Strategy, params, plugins, printable, scaling
from corelm_report.document.figures import HUMAN
from corelm_report.document.parts import ModelName
from corelm_report.plan.candidates import Candidate, _candidates, _once, numbers_of, releases_of
from corelm_report.plan.targets import Target
from corelm_report.plan.texts import (
    HOW_TO_GIVE,
    Beginnings,
    HumanCorpus,
    by_default,
    check_human,
    clusters_of,
    continued,
    distinct,
    known_texts,
    of_human_texts,
    read_corpus,
)
from corelm_report.settings import DEFAULTS, SEED, SETTINGS, TEXTS

OWN = ("corelm_report", "corelm_stats")
"""The packages whose code decides the figures of every report."""
RunUnits = Callable[[Iterator[scaling.Unit | None], int], Iterator[tuple[scaling.Unit, str]]]
"""A function that takes units and the index of their model, and yields each unit with its result as
JSON, in any order."""

LEAST = {"count": 1, "seed": 0, "kept": 0}
"""The least number of each kind of setting that is one."""
NUMBERS = {
    name: params.Parameter.of(name, int, None, ge=LEAST[each.kind])
    for name, each in SETTINGS.items()
    if each.kind in LEAST
}


@dataclass(frozen=True)
class Plan:
    """The plan of a report; the function `plan` checks and creates it.

    Attributes:
        model: the language model.
        model_name: its name.
        candidates: the samplers.
        prompts: the beginnings of the texts.
        beginnings: the source of these in words; None for prompts that a user gave, and for the
            model's own prompt.
        clusters: the cluster of each prompt, such as its document; empty if each is its own.
        n: the number of texts per sampler and prompt.
        length: the largest number of tokens of a text.
        seeds: the random seeds of the texts; contexts from the model use the first one.
        human: human texts, if there are any.
        contexts: the most texts on whose positions the samplers are compared.
        match: the figures to match.
        against: the entry that the others are compared with, or "human"; None for human text, or
            without human text for the first sampler.
        metrics: the metrics of plugins to measure on the texts.
        texts: the number of each prompt's first texts to keep; None for all.
        scorer: a second model that also measures the surprisal of the texts.
        warnings: likely mistakes in it.
        anytime: its intervals are confidence sequences, because it may grow.
        plain: the other settings, which are checked and otherwise taken as they were given.
        messages: of prompts in a chat template, the messages in them.
    """

    model: LanguageModel
    model_name: str
    candidates: tuple[Candidate, ...]
    prompts: tuple[str, ...]
    n: int
    length: int
    seeds: tuple[int, ...]
    human: HumanCorpus | None
    contexts: int
    match: tuple[Target, ...]
    against: str | None = None
    metrics: tuple[plugins.Offer, ...] = ()
    texts: int | None = TEXTS
    scorer: NamedModel | None = None
    warnings: tuple[str, ...] = ()
    beginnings: str | None = None
    clusters: tuple[str, ...] = ()
    anytime: bool = False
    plain: Mapping[str, Any] = field(default_factory=dict)
    messages: Mapping[str, str] = field(default_factory=dict)

    @property
    def cluster_of(self) -> dict[str, str]:
        """The cluster of each prompt, by prompt; empty if each is its own."""
        return dict(zip(self.prompts, self.clusters, strict=True)) if self.clusters else {}

    @cached_property
    def sha256(self) -> str | None:
        """The checksum of the model's manifest or files; None if it has neither."""
        return ModelName.of(NamedModel(self.model, self.model_name)).sha256

    @property
    def changed(self) -> dict[str, Any]:
        """The plain settings that don't have their defaults, by name."""
        return {name: value for name, value in self.plain.items() if value != DEFAULTS[name]}

    @property
    def set_size(self) -> int:
        """The number of texts that a sampler writes for one seed."""
        return self.n * len(self.prompts)

    @property
    def kept_prompts(self) -> Sequence[str] | None:
        """The beginnings whose texts the report keeps; None for some texts of every prompt."""
        return self.prompts[: self.texts] if self.beginnings else None

    def keeps(self, prompt: str, seed: int, sample: int) -> bool:
        """Return True if the report keeps this text: one of the first, of the first seed."""
        if self.texts is None:
            return True
        kept = self.kept_prompts
        is_first = sample < self.texts if kept is None else prompt in kept
        return seed == self.seeds[0] and is_first

    @property
    def has_human_places(self) -> bool:
        """True if the samplers continue what the human texts begin with, or begin as they do."""
        return self.continues_people or (self.human is not None and self.prompts == ("",))

    def compares_people(self, same_places: bool) -> bool:
        """Return True if texts compare with human text: at the same places, or if asked to."""
        return same_places or self.against == HUMAN

    @property
    def continues_people(self) -> bool:
        """True if each prompt is the beginning of a human text."""
        return bool(self.human and self.human.prompt_lengths)

    def written(self, prompt: str) -> str:
        """Return a prompt as the user wrote it, without the marks of a chat template."""
        return self.messages.get(prompt, prompt)

    @property
    def models(self) -> list[LanguageModel]:
        """The model, and the second scorer if there is one."""
        return [self.model] if self.scorer is None else [self.model, self.scorer.model]

    def opened(self, executor: scaling.Executor) -> AbstractContextManager[RunUnits]:
        """Open an executor for the units of this report.

        Raises:
            UsageError: a model or a sampler that workers can't create.
            ExecutorError: the workers can't be reached.
        """
        of_units = scaling.Dependencies(self._things(), OWN)
        return executor.opened(self.models, of_units)

    def as_json(self) -> dict[str, Any]:
        """Return everything that the figures depend on: the identity of the report."""
        human, scorer = self.human, self.scorer
        model = NamedModel(self.model, self.model_name)
        return {
            "corelm": version("corelm"),
            "numpy": np.__version__,
            "model": model.name,
            "weights of the model": model.fingerprint(),
            "scorer": scorer and scorer.name,
            "weights of the scorer": scorer and scorer.fingerprint(),
            "samplers": [" of ".join((c.name, *releases_of(c.strategy))) for c in self.candidates],
            "prompts": list(self.prompts),
            **({"clusters": list(self.clusters)} if self.clusters else {}),
            **({"anytime": True} if self.anytime else {}),
            **self.changed,
            "texts for each prompt": self.n,
            "length": self.length,
            "seeds": list(self.seeds),
            "reference": human and human.description,
            "texts of the reference": human and Corpus.digest(human.texts),
            "prompts_from_reference": max(human.prompt_lengths, default=None) if human else None,
            "contexts": self.contexts,
            "match": [str(target) for target in self.match],
            "against": self.against,
            "values of secrets": self.secrets(),
            "metrics": [f"{o.full_name} {o.source.version}" for o in self.metrics],
            "code": self.code(),
            # Without `texts`, as the number of texts kept changes no figure.
        }

    def _things(self) -> list[Sampler | Decoder]:
        return [thing for c in self.candidates for thing in c.strategy if thing is not None]

    def weights(self) -> dict[str, str]:
        """Return the identity of the model and of the second scorer, by name."""
        named = [NamedModel(self.model, self.model_name), *([self.scorer] if self.scorer else [])]
        return {each.name: each.fingerprint() for each in named}

    def code(self) -> dict[str, str]:
        """Return the digests of the packages whose code decides the figures, by name."""
        metrics = [offer.value for offer in self.metrics]
        modules = [*OWN, *(offer.source.value for offer in self.metrics)]
        return scaling.Dependencies([*self.models, *self._things(), *metrics], modules).code

    def secrets(self) -> Mapping[str, str]:
        """Return a hash of each environment variable that a sampler names, by its name."""
        return scaling.Dependencies(self._things()).secrets

    def plugins(self) -> dict[str, str]:
        """Return the versions of the packages that offer a part of the report, by name."""
        loaders = [loader for model in self.models if (loader := NamedModel(model).plugin)]
        of_metrics = [offer.source for offer in self.metrics]
        source_of = plugins.registry().source_of
        of_parts = [source_of(type(part)) for thing in self._things() for part in thing.parts()]
        sources = [*of_parts, *of_metrics, *loaders]
        return {each.distribution: each.version for each in sources if each.version}


def plan(
    model: LanguageModel,
    model_name: str,
    samplers: Iterable[str | Sampler | Decoder] | None = None,
    scorer: NamedModel | None = None,
    **settings: Any,
) -> Plan:
    """Check the options of a report, convert numbers given as text, and fill in defaults.

    Args:
        model: the language model.
        model_name: its name.
        samplers: the samplers, sweeps and decoders; by default a set of them.
        scorer: the second scorer, loaded.
        settings: `Settings`, without the scorer.

    Raises:
        UsageError: the plan cannot be carried out.
        UnknownNameError, AmbiguousNameError: no such metric, or several.
        DataError: the reference cannot be read.
    """
    options = {**DEFAULTS, **settings}
    for name in options.keys() - DEFAULTS.keys():
        raise TypeError(f"a report has no setting {name!r}{printable.did_you_mean(name, DEFAULTS)}")
    reference, match = options["reference"], options["match"]
    listed = [match] if isinstance(match, str) else list(match)
    targets = tuple(dict.fromkeys(map(Target.read, listed)))  # each once
    candidates, warnings = _once(_candidates(samplers, targets))
    chosen = () if samplers is None else candidates  # the default ones have no notes
    numbers = {name: NUMBERS[name].convert(options[name]) for name in ("n", "length", "contexts")}
    seeds = _seeds(options["seed"], options["seeds"])
    texts = _beginnings(model, options, numbers, seeds[0])
    check_human(texts.human, (target.figure for target in targets), model)
    return Plan(
        model,
        model_name,
        candidates,
        texts.prompts,
        n=texts.n,
        length=texts.length,
        contexts=numbers["contexts"],
        seeds=seeds,
        beginnings=texts.source,
        human=texts.human,
        match=targets,
        against=_against(options["against"], candidates),
        metrics=_metrics(options["metrics"], texts.human),
        texts=None if options["texts"] == "all" else NUMBERS["texts"].convert(options["texts"]),
        # A number and its text on a command line are the same.
        plain={
            name: NUMBERS[name].convert(value) if name in NUMBERS and value is not None else value
            for name, value in ((n, options[n]) for n in SETTINGS if SETTINGS[n].is_plain)
        },
        scorer=scorer,
        messages=texts.messages,
        clusters=clusters_of(options["prompts"]),
        warnings=(
            *warnings,
            *known_texts(reference, model),
            *texts.notes,
            *(note for each in chosen for note in lint(each.sampler)),
            *NamedModel(model).notes(texts.prompts),
        ),
    )


def _beginnings(
    model: LanguageModel, options: Mapping[str, Any], numbers: Mapping[str, int], seed: int
) -> Beginnings:
    """Return what the samplers continue: prompts, messages, beginnings of human texts.

    Raises:
        UsageError: settings that exclude each other, too few prompts, or a model without a template
            for messages.
    """
    prompts, reference, chat = (options[name] for name in ("prompts", "reference", "chat"))
    n, length, contexts = (numbers[name] for name in ("n", "length", "contexts"))
    tokens = options["prompts_from_reference"]
    if tokens is not None:
        if prompts is not None or chat:
            raise UsageError("give prompts, or prompts from the reference, but not both")
        corpus = read_corpus(reference, model, contexts)
        size = NUMBERS["prompts_from_reference"].convert(tokens)
        starts, people, notes = of_human_texts(model, corpus, size)
        return Beginnings(starts, people, n, length, notes=notes)
    if prompts is None and not chat:
        return by_default(model, reference, n, length, contexts, seed)
    starts, notes = distinct(NamedModel.MESSAGE if prompts is None else prompts)
    # Enough human texts for the contexts, and as many as each sampler writes.
    human = read_corpus(reference, model, max(contexts, n * len(starts)))
    if not chat:
        return Beginnings(starts, human, n, length, notes=notes)
    write = FullVocabulary(model.vocabulary).message
    if human is None:
        messages = {write(each): each for each in starts}
        return Beginnings((*messages,), None, n, length, notes=notes, messages=messages)
    if prompts is not None or not human.prompts:
        raise UsageError(
            "a chat model is compared with human answers to the same messages: give the reference "
            "as a .jsonl file with a prompt and a text in each line, and no other prompts"
        )
    return continued(model, human, n, length, write)


def _against(wanted: str | Sampler | Decoder | None, candidates: Sequence[Candidate]) -> str | None:
    """Return the entry to compare with, given in any form that means the same sampler."""
    if wanted is None or wanted == HUMAN:
        return wanted
    names = [candidate.name for candidate in candidates]
    if isinstance(wanted, str) and wanted.strip() in names:
        return wanted.strip()
    strategy = Strategy.of(wanted)
    matches = [c.name for c in candidates if c.open is None and c.strategy == strategy]
    if not matches:
        raise UsageError(
            f"{strategy} is not in the report; compare with human, or with one of: "
            f"{', '.join(names)}"
        )
    return matches[0]


def _seeds(seed: int | str | None, seeds: str | Iterable[int | str] | None) -> tuple[int, ...]:
    """Return the distinct random seeds: one, unless several were requested."""
    if seed is not None and seeds is not None:
        raise UsageError("seed and seeds contradict each other; give one of them")
    listed: Iterable[int | str] = [SEED if seed is None else seed]
    if seeds is not None:
        listed = numbers_of(seeds) if isinstance(seeds, str) else seeds
    distinct = tuple(dict.fromkeys(NUMBERS["seed"].convert(each) for each in listed))
    if not distinct:
        raise UsageError("a report needs at least one seed")
    return distinct


def _metrics(
    expressions: str | Iterable[str], human: HumanCorpus | None
) -> tuple[plugins.Offer, ...]:
    """Return the metrics of these expressions, each once."""
    offers = [
        _metric(text) for text in ([expressions] if isinstance(expressions, str) else expressions)
    ]
    for offer in offers:
        if human is None and isinstance(offer.value, HumanMetric):
            how = f"{HOW_TO_GIVE}, or leave the metric out"
            raise UsageError(f"{offer.name} compares with human text: {how}")
    return tuple({offer.full_name: offer for offer in offers}.values())


def _metric(text: str) -> plugins.Offer:
    """Return the metric of a name or of an expression, such as `mattr(window=30)`."""
    if not isinstance(text, str):
        raise UsageError(
            f"a metric is the name of one, such as 'mattr', not {printable.shown(text)}"
        )
    written = Expression.read(text)
    if len(written.stages) > 1:
        raise ExpressionError(
            f"{printable.shown(text)} is a chain; a metric is one name with its parameters"
        )
    offer = plugins.registry().find("corelm_metrics", written.stages[0][0])
    metric = written.make(offer.value, offer.name)
    declared = {each.name: each.default for each in metric.parameters()}
    if any(getattr(metric, each) != default for each, default in declared.items()):
        offer = offer._replace(name=str(metric))  # two settings of one metric are two figures
    return offer._replace(value=metric)
