"""The content of a report: one dataclass for each part of the document `corelm.report/4`.

Each field has the name of its key, except `human`, whose key is `reference`. Fields that earlier
versions lack have defaults. `Report.to_dict()` is the public form; these classes may change.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

from corelm_report.document.figures import GENERATED, HUMAN, TEACHER_FORCED
from corelm_report.document.parts import (
    COUNT,
    IF_GIVEN,
    IF_MEASURED,
    OTHERS,
    PRESENT,
    REQUIRED,
    Best,
    Bounds,
    Count,
    Curve,
    DocumentPart,
    Front,
    Header,
    Interval,
    KeptText,
    Natural,
    Rule,
    Simultaneous,
    TryIt,
    Values,
)
from corelm_stats.intervals import IDENTITY, FigureScale

if TYPE_CHECKING:
    from corelm_stats.estimates import Estimate
    from corelm_stats.study_design import VarianceParts

SCHEMA = "corelm.report/4"
Intervals = dict[str, Interval | None]
Parameters = dict[str, Any]
"""The parameters of a sampler, as JSON values."""
_NUMBERS = {key: {"type": "integer", **COUNT} for key in ("position", "n")}
Position = Annotated[dict[str, Any], Rule(required=[*_NUMBERS], properties=_NUMBERS)]
"""The figures at one position, with the number of texts that reach it."""


# Keyword-only, as fields are in the order of the JSON: a default may precede a required field.
@dataclass(kw_only=True)
class EntropySummary(DocumentPart):
    """The entropy over the positions of the contexts: mean, its interval, percentiles."""

    mean: float | None
    ci95: Interval | None = None
    median: float | None = None
    p05: float | None = None
    p95: float | None = None


@dataclass(kw_only=True)
class TeacherForced(DocumentPart):
    """The figures on the contexts; `figures` has all but the entropy, by name."""

    n: Count = field(default=0, metadata=REQUIRED)
    # Empty by default, so that a document without it still has a summary to look up.
    entropy: EntropySummary = field(default_factory=lambda: EntropySummary(mean=None))
    figures: Values = field(default_factory=dict, metadata=OTHERS)
    bits: Values | None = field(default=None, metadata=IF_GIVEN)
    ci95: Intervals = field(default_factory=dict)
    by_position: list[Position] = field(default_factory=list, metadata=REQUIRED)


@dataclass(kw_only=True)
class HumanContexts(DocumentPart):
    """The figures of human texts as contexts: word surprisal, and the model's entropy.

    Attributes:
        model_entropy: the entropy of the model's own distribution on human text. Human text itself
            has no entropy, so nothing is compared with it.
    """

    n: Natural | None = field(default=0, metadata=REQUIRED)
    model_entropy: EntropySummary = field(
        default_factory=lambda: EntropySummary(mean=None), metadata=REQUIRED
    )
    figures: Values = field(default_factory=dict, metadata=OTHERS)
    ci95: Intervals = field(default_factory=dict)
    by_position: list[Position] = field(default_factory=list)


@dataclass(kw_only=True)
class TemperatureFit(DocumentPart):
    """The temperature at which drawn tokens are as surprising as human words, on the contexts.

    Attributes:
        surprisal: human surprisal on the contexts of the samplers, in nats.
        ci95: its interval.
        t: the maximum-likelihood temperature; None if it is beyond the end of the curve.
        t_ci95: its interval; None if that reaches above the curve, or if `t` is estimated.
        beyond: "above" or "below" if `t` is beyond that end of the curve, "undetermined" if all
            temperatures of the curve are equally likely.
        estimated: True if the contexts are not human text, so that human surprisal was scaled to
            them.
        verdict: "overconfident" or "underconfident" if the model differs from human text, in 99 of
            100 reports together with all differences of the samplers; None if it cannot be told.
    """

    surprisal: float
    ci95: Interval | None = field(default=None, metadata=REQUIRED)
    t: float | None = field(default=None, metadata=REQUIRED)
    t_ci95: Interval | None = field(default=None, metadata=REQUIRED)
    beyond: str | None = None
    estimated: bool = field(default=False, metadata=REQUIRED)
    verdict: Annotated[str, Rule(enum=["overconfident", "underconfident"])] | None = field(
        default=None, metadata=IF_GIVEN
    )


@dataclass(kw_only=True)
class SeedSpread(DocumentPart):
    """A figure for each seed's texts, and its standard deviation over the seeds."""

    sd: float | None
    values: list[float | None]


@dataclass(kw_only=True)
class GeneratedTexts(DocumentPart):
    """The figures of generated texts, by name; the metrics of plugins by full name.

    Attributes:
        units: the number of independent units behind the intervals of means: prompts if there are
            8 or more; else texts, each with those of the same seed and sample of the other prompts;
            the prompts, too, if all texts of each are the same.
        set_size: the number of texts behind a figure of a whole set, such as `distinct_2`; of human
            text the mean over random sets of this size.
        texts_used: the number of texts that have a figure, such as texts that are long enough;
            figures that all texts have are left out.
        by_seed: with several seeds, each figure of the texts of each seed, in the order of the
            header's seeds, and their standard deviation.
    """

    n: Natural | None = field(default=None, metadata=REQUIRED)
    units: Natural | None = None
    set_size: Natural | None = None
    texts_used: dict[str, Count] = field(default_factory=dict)
    tokens: Natural | None = field(default=None, metadata=REQUIRED)
    figures: Values = field(default_factory=dict, metadata=OTHERS)
    ci95: Intervals = field(default_factory=dict)
    by_seed: dict[str, SeedSpread] | None = None
    by_position: list[Position] = field(default_factory=list)


@dataclass(kw_only=True)
class Difference(DocumentPart):
    """A figure minus the same figure of a different entry.

    Attributes:
        value: the difference.
        ci95: its interval.
        p: the two-sided p-value for a true difference of 0; below 5 % if the interval excludes 0.
        units: the number of independent units behind it.
        between, within: the variance of a text's paired difference between and within prompts; None
            if each prompt has one text. Without pairs, as with human text, the variance is of the
            sampler's own figure.
        other: the variance of the subtracted figure; None if the texts are paired.
    """

    value: float | None
    ci95: Interval | None
    p: Annotated[float, Rule(minimum=0, maximum=1)] | None = field(default=None, metadata=REQUIRED)
    units: Natural | None = field(default=None, metadata=REQUIRED)
    between: float | None = field(default=None, metadata=IF_MEASURED)
    within: float | None = field(default=None, metadata=IF_MEASURED)
    other: float | None = field(default=None, metadata=IF_MEASURED)

    @classmethod
    def of(
        cls,
        apart: Estimate | None,
        parts: VarianceParts | None = None,
        other: float | None = None,
        scale: FigureScale = IDENTITY,
    ) -> Difference:
        """Return a difference of estimates with its interval, its p-value and its units.

        Args:
            apart: the difference; None if a figure is undefined.
            parts: the parts of its variance, or of the sampler's own figure.
            other: the variance of the subtracted figure, if the texts are not paired.
            scale: the scale of its error.
        """
        if apart is None:
            return cls(value=None, ci95=None)
        return cls(
            value=apart.value,
            ci95=apart.interval(scale=scale),
            p=apart.p_value(scale),
            units=apart.units,
            between=parts.between if parts else None,
            within=parts.within if parts else None,
            other=other if parts else None,
        )


@dataclass(kw_only=True)
class Differences(DocumentPart):
    """The differences of two entries, by view and by the names that `--fail-if` takes."""

    against: str
    teacher_forced: dict[str, Difference] = field(default_factory=dict, metadata=REQUIRED)
    generated_texts: dict[str, Difference] = field(default_factory=dict, metadata=REQUIRED)

    def of(self, view: str) -> dict[str, Difference]:
        """Return the differences of a view."""
        return {TEACHER_FORCED: self.teacher_forced, GENERATED: self.generated_texts}[view]


@dataclass(kw_only=True)
class Plugin(DocumentPart):
    """The package and the entry point that a sampler comes from."""

    distribution: str
    version: str
    entry_point: str


@dataclass(kw_only=True)
class Stage(DocumentPart):
    """A stage of a chain, or the decoder around it."""

    name: str
    kind: str | None = field(default=None, metadata=IF_GIVEN)
    params: Parameters
    plugin: Plugin | None = field(default=None, metadata=PRESENT)
    sources: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class MatchedTo(DocumentPart):
    """The target that the open parameter of a sampler was matched to."""

    open: str
    figure: str
    target: float
    asked: str


@dataclass(kw_only=True)
class Failure(DocumentPart):
    """The error at which a sampler failed."""

    type: str
    message: str


class Entry(DocumentPart):
    """The figures of a sampler or of human text, in both views."""

    name: str
    teacher_forced: TeacherForced | HumanContexts | None
    generated_texts: GeneratedTexts | None
    failed_metrics: dict[str, str] | None
    error: Failure | None = None
    matched: MatchedTo | None = None
    differences: Differences | None = None

    @property
    def label(self) -> str:
        """The name by which the report lists it."""
        return self.name

    def part(self, view: str) -> TeacherForced | HumanContexts | GeneratedTexts | None:
        """Return the figures of a view."""
        return self.teacher_forced if view == TEACHER_FORCED else self.generated_texts


@dataclass(kw_only=True)
class HumanEntry(Entry):
    """The entry of human text, or of one half of it with its differences from the other half.

    Attributes:
        same_places: True if the samplers wrote their texts at its places: behind its beginnings, or
            as far behind others.
        compared: True if their texts are compared with it: at the same places, or where a user
            asks for it (`against="human"`). The contexts compare in any case.
    """

    name: str = field(default=HUMAN, metadata=REQUIRED)
    description: str = field(default="", metadata=REQUIRED)
    same_places: bool = field(default=False, metadata=REQUIRED)
    compared: bool = field(default=False, metadata=REQUIRED)
    teacher_forced: HumanContexts | None = field(default=None, metadata=PRESENT)
    temperature: TemperatureFit | None = None
    generated_texts: GeneratedTexts | None = field(default=None, metadata=PRESENT)
    failed_metrics: dict[str, str] | None = field(default=None, metadata=IF_GIVEN)
    differences: Differences | None = field(default=None, metadata=IF_MEASURED)


@dataclass(kw_only=True)
class HumanHalves(HumanEntry):
    """A random half of the human texts, with its differences from the other half.

    They are the floor of every distance from human text.
    """

    teacher_forced: None = None
    differences: Differences | None = field(default=None, metadata=PRESENT)


@dataclass(kw_only=True)
class SamplerEntry(Entry):
    """The entry of a sampler, its parameters and its origin.

    Attributes:
        temperature: the softmax temperature of a sampler that is nothing but one.
        sweep: the sweep of one parameter that the row is a setting of; its rows have the same text
            here.
        matched: the figure to which the open parameter of the sampler was matched.
    """

    sampler: str
    name: str = field(default="", metadata=REQUIRED)
    params: Parameters = field(default_factory=dict, metadata=REQUIRED)
    plugin: Plugin | None = field(default=None, metadata=REQUIRED)
    temperature: float | None = None
    stages: list[Stage] = field(default_factory=list)
    sweep: str | None = None
    matched: MatchedTo | None = None
    error: Failure | None = field(default=None, metadata=REQUIRED)
    teacher_forced: TeacherForced | None = field(default=None, metadata=REQUIRED)
    generated_texts: GeneratedTexts | None = field(default=None, metadata=REQUIRED)
    texts: list[KeptText] = field(default_factory=list, metadata=REQUIRED)
    differences: Differences | None = None
    failed_metrics: dict[str, str] | None = field(default=None, metadata=IF_GIVEN)

    @property
    def label(self) -> str:
        """The expression of the sampler."""
        return self.sampler


@dataclass(kw_only=True)
class Document(DocumentPart):
    """An entropy comparison report.

    Entropies and surprisals are in nats; a value that was not measured is null. A version may get
    new keys, but none is renamed.

    Attributes:
        closest: the rows whose surprisal may be the closest to human text: a 99 % confidence set
            that includes the error of human text.
        too_few: the rows with too few independent texts or prompts to be compared with the others.
        too_short, too_long: the rows whose texts have on average less than half, or more than
            twice, as many tokens as human texts, so that they are not compared with these.
        simultaneous: the difference of each row's surprisal from human text, with intervals that
            hold for all rows at once, at 99 %.
        shares: the share of repeated 4-grams and of texts that end in loops in each row, with
            intervals whose low ends hold for all rows at once, at 99 %.
        excess: the expected surprisal of each row minus the surprisal of human words on the
            contexts, or on other contexts minus the model's entropy, with such intervals.
        best: for each sampler that was tried with several settings, the one that comes nearest to
            human text, corrected for the choice.
        fronts: the rows that no other one beats in two figures at once.
    """

    schema: Annotated[str, Rule(const=SCHEMA)] = field(default=SCHEMA, metadata=REQUIRED)
    header: Header
    units: Annotated[str, Rule(const="nats")] = field(default="nats", metadata=REQUIRED)
    vocabulary: Count
    drawable: Count
    bounds: Bounds
    human: HumanEntry | None = field(default=None, metadata={"key": "reference", **REQUIRED})
    human_halves: HumanHalves | None = field(default=None, metadata=IF_GIVEN)
    samplers: list[SamplerEntry]
    closest: list[str] = field(default_factory=list)
    too_few: list[str] = field(default_factory=list)
    too_short: list[str] = field(default_factory=list)
    too_long: list[str] = field(default_factory=list)
    simultaneous: list[Simultaneous] = field(default_factory=list)
    shares: list[Simultaneous] = field(default_factory=list)
    excess: list[Simultaneous] = field(default_factory=list)
    best: list[Best] = field(default_factory=list)
    fronts: list[Front] = field(default_factory=list)
    curve: Curve
    try_it: TryIt | None = None
    warnings: list[str] = field(default_factory=list, metadata=REQUIRED)

    @property
    def entries(self) -> list[Entry]:
        """Every entry that has figures, the human ones first."""
        human = [each for each in (self.human, self.human_halves) if each is not None]
        return [entry for entry in [*human, *self.samplers] if not entry.error]
