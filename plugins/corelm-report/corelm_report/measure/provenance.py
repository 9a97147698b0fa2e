"""The parts of a report other than figures: versions, plugins, papers, warnings, parameters."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from corelm import Decoder, LanguageModel, Sampler
from corelm.runs import Strategy, machine, plugins
from corelm_report.document.content import Entry, Failure, MatchedTo, Plugin, SamplerEntry, Stage
from corelm_report.document.figures import FIGURES, MEAN
from corelm_report.document.lookup import estimates, listed
from corelm_report.document.parts import (
    Citation,
    ContextsSummary,
    FailedPlugin,
    Header,
    MatchTarget,
    MetricOfPlugin,
    ModelName,
)
from corelm_report.measure.contexts import Contexts
from corelm_report.measure.journal import Result
from corelm_report.plan.candidates import Candidate
from corelm_report.plan.targets import Target
from corelm_stats import intervals
from corelm_stats.conclusions import discoveries
from corelm_stats.estimates import FEWEST, Estimate
from corelm_stats.inference import Inference

if TYPE_CHECKING:
    from corelm_report.plan.plan import Plan


FEW = 30
"""With fewer positions than this, a report warns that its figures are uncertain."""
SAMPLED = 1000
"""The number of tokens to compare in two vocabularies."""
_UNITS = (
    "over independent units, from the figure without each of them in turn (jackknife), on the log "
    "odds for shares"
)
_OF_BOTH = (
    "The units are the prompts, or their clusters, if there are 8 or "
    "more: then it is about prompts like these; else the units are the texts of one seed and "
    "sample, and it is about these prompts. None where fewer than 8 units differ from the others; "
    "self-BLEU has none where fewer than 8 "
    "texts share a phrase of four tokens, because its smoothing decides it there. Differences of "
    "samplers are paired by unit, and so are those from human continuations of the same prompts; "
    "those from other human texts are not, but for expected surprisal at their positions; each has "
    "a p-value over the same units. The statements of the report share 5%: its marked differences "
    "(as their false discovery rate), its permutation tests, the set of the closest samplers, "
    "equivalence and shares above a limit have 1% each"
)
INTERVALS = (
    f"95%: Student's t {_UNITS}; it reaches as far as Hall's correction for skewness says where "
    "that is further. Wilson's score interval for the share of texts that end in loops. " + _OF_BOTH
)
ANYTIME = (
    "95% at every moment: in 95 of 100 studies the intervals hold the truth after every batch, so "
    "a study may stop when they are narrow enough; not so for entropy_drift, which a few long "
    "texts decide. Asymptotic confidence sequences for means (Waudby-Smith et al. 2024), "
    f"{_UNITS}; the beta-binomial mixture for the share of texts that end in loops (Howard et al. "
    "2021). " + _OF_BOTH
)
PAPERS_OF_INTERVALS = {
    Estimate.interval: "intervals",
    Estimate.of_left_out: "errors over units",
    Inference.of_design: "independent units",
    intervals.share_interval: "intervals of shares",
    discoveries: "marked differences",
}


def header(
    plan: Plan,
    tried: Iterable[str],
    targets: Mapping[Target, float],
    contexts: Contexts,
    entries: Iterable[Entry],
) -> Header:
    """Return the facts about a report besides its figures; the command line fills in `command`.

    Args:
        plan: the plan of the report.
        tried: the registered name of each sampler, once for each setting.
        targets: the targets of matching with their values.
        contexts: the contexts of the samplers.
        entries: the entries of the samplers.
    """
    scorer, here = plan.scorer, machine.facts()
    del here["cores"]  # how many there are changes no figure
    return Header(
        corelm=version("corelm"),
        **here,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=None,
        model=ModelName(name=plan.model_name, sha256=plan.sha256),
        scorer=plan.model_name,
        second_scorer=ModelName.of(scorer) if scorer else None,
        prompts=list(map(plan.written, plan.prompts)),
        beginnings=plan.beginnings,
        clusters=list(plan.clusters) or None,
        n=plan.n,
        length=plan.length,
        seed=plan.seeds[0],
        seeds=list(plan.seeds),
        settings=plan.changed or None,
        contexts=ContextsSummary(
            source=contexts.source,
            description=contexts.description,
            texts=len(contexts.texts),
            positions=contexts.positions,
        ),
        failed_plugins=[
            FailedPlugin(plugin=str(source), reason=reason)
            for source, reason in plugins.registry().failures.items()
        ],
        settings_tried=dict(Counter(tried)),
        metrics=[
            MetricOfPlugin(
                name=offer.full_name,
                version=offer.source.version,
                meaning=offer.value.meaning,
                source=plugins.citation_of(type(offer.value)),
            )
            for offer in plan.metrics
        ],
        matched=[
            MatchTarget(figure=target.figure, asked=str(target), target=value)
            for target, value in targets.items()
        ],
        ci=ANYTIME if plan.anytime else INTERVALS,
        sources=citations(entries),
    )


def warnings(
    plan: Plan,
    contexts: Contexts,
    entries: Iterable[Entry],
    of_one_text: Iterable[str],
) -> Iterator[str]:
    """Yield warnings about figures that prove less than they seem to.

    Args:
        plan: the plan of the report.
        contexts: the contexts of the samplers.
        entries: the entries of the samplers.
        of_one_text: the entries of decoders that write the same text each time.
    """
    yield from plan.warnings
    if contexts.positions < FEW:
        yield (
            f"the samplers were compared at {contexts.positions} positions only, which is too few "
            "for a conclusion; write more texts (-n) or longer ones (--length)"
        )
    # The number of units follows from the design: prompts, seeds and samples.
    texts = [(p, s, i) for s in plan.seeds for p in plan.prompts for i in range(plan.n)]
    if len(Inference.of_design(texts, clusters=plan.cluster_of)) < FEWEST:
        yield (
            f"intervals need at least {FEWEST} texts of each prompt (-n), or as many "
            f"{'clusters of ' if plan.clusters else ''}prompts (--prompts)"
        )
    if plan.human and (copies := len(plan.human.texts) - len(set(plan.human.texts))):
        yield (
            f"{copies} of the {len(plan.human.texts)} human texts {'is' if copies == 1 else 'are'} "
            "the same as another one; such texts are one independent unit"
        )
    if plan.human and len(plan.human.texts) < plan.set_size:
        yield (
            f"human text has no distinct-n, self-BLEU, Zipf, compression or metrics of plugins: "
            f"these compare equal numbers of texts, and the reference has {len(plan.human.texts)}, "
            f"fewer than the {plan.set_size:,} of each sampler"
            f"{'; -n 1 writes as many' if plan.continues_people else ''}"
        )
    if plan.scorer and have_one_vocabulary(plan.model, plan.scorer.model):
        yield (
            f"the second scorer, {plan.scorer.name}, is of the same family as {plan.model_name}, "
            "whose vocabulary it has, and likes what that likes; choose one that was trained apart"
        )
    for name in of_one_text if plan.n > 1 else ():
        yield (
            f"{name} draws nothing at random, so it wrote one text for each prompt; give more "
            "prompts (--prompts) for more. Its figures that depend on the number of texts, such as "
            "distinct-n, are compared with no other"
        )
    yield from undefined(entries, plan.metrics)


def have_one_vocabulary(first: LanguageModel, second: LanguageModel) -> bool:
    """Return True if a sample of two models' tokens is equal.

    Example:
        >>> from corelm.testing import ToyModel
        >>> have_one_vocabulary(ToyModel(), ToyModel()), have_one_vocabulary(
        ...     ToyModel(), ToyModel(["the", "cat"])
        ... )
        (True, False)
    """
    sizes = len(first.vocabulary), len(second.vocabulary)
    if sizes[0] != sizes[1]:
        return False
    ids = range(0, sizes[0], max(sizes[0] // SAMPLED, 1))
    return all(first.vocabulary.decode([i]) == second.vocabulary.decode([i]) for i in ids)


def undefined(entries: Iterable[Entry], metrics: Iterable[plugins.Offer]) -> Iterator[str]:
    """Yield a sentence for each metric of a plugin that could not be measured for some entries."""
    measured = [entry for entry in entries if not entry.error and entry.generated_texts]
    for name in (offer.full_name for offer in metrics):
        lacking = [
            entry.label
            for entry in measured
            if entry.generated_texts
            and entry.generated_texts.figures.get(name) is None
            and name not in (entry.failed_metrics or {})
        ]
        if lacking:
            yield (
                f"{name} could not be measured for {listed(lacking)}: it is undefined for these "
                "texts, which may be too short or too few"
            )


def citations(entries: Iterable[Entry]) -> list[Citation]:
    """Return the papers of the measured figures and of the intervals."""
    measured = {each.figure for entry in entries if not entry.error for each in estimates(entry)}
    by_function: dict[str, list[str]] = {}
    for figure in FIGURES:
        if figure.source:
            name = MEAN if figure.name == "entropy" else figure.name
            by_function.setdefault(figure.source, []).append(name)
    papers = [
        Citation(
            of=[name for name in names if name in measured],
            source=plugins.citation_of(resolve_name(function)),
        )
        for function, names in by_function.items()
    ]
    papers += [
        Citation(of=[name], source=plugins.citation_of(function))
        for function, name in PAPERS_OF_INTERVALS.items()
    ]
    return [each for each in papers if each.of and each.source and measured]


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
        candidate, strategy, matched = self.candidate, self.strategy, None
        open_, asked = candidate.open, candidate.target
        if open_ is not None and asked is not None and self.target is not None:
            matched = MatchedTo(
                open=open_, figure=asked.figure, target=self.target, asked=str(asked)
            )
        stages = [_stage(stage) for stage in strategy.stages]
        # A chain has the parameters of each stage.
        alone, t = stages[0] if len(stages) == 1 else None, strategy.temperature
        is_open = open_ is not None and self.sampler is candidate.sampler
        return SamplerEntry(
            sampler=candidate.name if is_open else str(strategy),
            name=name_of(strategy),
            params=alone.params if alone and not is_open else {},
            plugin=alone.plugin if alone else None,
            # JSON has no infinity.
            temperature=t if t is not None and math.isfinite(t) and not is_open else None,
            stages=stages,
            sweep=candidate.sweep,
            matched=matched,
            error=self.error,
        )

    def take(self, result: Result) -> Result | None:
        """Return the unit's result, or None if the sampler failed; keep the first error."""
        if self.error is None and "error" in result:
            self.error = Failure(**result["error"])
        return None if self.error else result


def name_of(strategy: Strategy) -> str:
    """Return the registered name; for a chain, the names of its stages joined by bars."""
    return " | ".join(stage.name for stage in strategy.stages)


def _stage(sampler: Sampler | Decoder) -> Stage:
    """Return a stage, with the sources in its docstring and in those of its nested samplers."""
    source = plugins.registry().source_of(type(sampler))
    citations = [plugins.citation_of(type(part)) for part in sampler.parts()]
    return Stage(
        name=sampler.name,
        kind="decoder" if isinstance(sampler, Decoder) else sampler.kind,
        params={p.name: _plain(getattr(sampler, p.name)) for p in sampler.parameters()},
        plugin=Plugin(
            distribution=source.distribution,
            version=source.version,
            entry_point=source.entry_point,
        ),
        sources=list(dict.fromkeys(filter(None, citations))),
    )


def _plain(value: Any) -> Any:
    """Convert a value for JSON; one that JSON lacks, such as infinity, becomes text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (bool, int, str)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return str(value)
