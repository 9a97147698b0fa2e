"""The content of a report: one dataclass for each part of the document `corelm.report/4`.

Each field has the name of its key, except `human`, whose key is `reference`. Fields that earlier
versions lack have defaults. `Report.to_dict()` is the public form; these classes may change.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypedDict

from corelm_report.document.figure import GENERATED, HUMAN, TEACHER_FORCED
from corelm_report.document.schema import IF_GIVEN, OTHERS, SCHEMA, Header, Part

Interval = list[float]
"""The lower and the upper end."""
Values = dict[str, float | None]
"""Figures by name; None if they are undefined or were not measured."""
Intervals = dict[str, Interval | None]
Parameters = dict[str, Any]
"""The parameters of a sampler, as JSON values."""


# A dict, not a dataclass: a report has one for each of thousands of tokens, and plain dicts are
# read and written without a copy.
class TokenDetails(TypedDict):
    """The details of a token that was drawn.

    Keys:
        token: the text that it added; an end token's name.
        rank: its rank under the model, 1 for the likeliest; ties go to the lowest id.
        p: its probability under the model.
        q: its probability in the distribution drawn from.
        entropy: of the distribution drawn from, in nats.
        alternatives: the model's likeliest tokens, as [text, p].
    """

    token: str
    rank: int | None
    p: float
    q: float
    entropy: float
    alternatives: list[list[Any]]


# Keyword-only, as fields are in the order of the JSON: a default may precede a required field.
@dataclass(kw_only=True)
class Bounds(Part):
    """The least and the largest possible entropy, in nats."""

    min: float
    max: float


@dataclass(kw_only=True)
class EntropySummary(Part):
    """The entropy over the positions of the contexts: mean, its interval, percentiles."""

    mean: float | None
    ci95: Interval | None = None
    median: float | None = None
    p05: float | None = None
    p95: float | None = None


@dataclass(kw_only=True)
class TeacherForced(Part):
    """The figures on the contexts; `figures` has all but the entropy, by name."""

    n: int | None = 0
    # Empty by default, so that a document without it still has a summary to look up.
    entropy: EntropySummary = field(default_factory=lambda: EntropySummary(mean=None))
    figures: Values = field(default_factory=dict, metadata=OTHERS)
    bits: Values | None = field(default=None, metadata=IF_GIVEN)
    ci95: Intervals = field(default_factory=dict)
    by_position: list[dict[str, Any]] = field(default_factory=list)


@dataclass(kw_only=True)
class HumanContexts(Part):
    """The figures of human texts as contexts: word surprisal, and the model's entropy.

    Human text itself has no entropy, so there is no difference from it.
    """

    n: int | None = 0
    model_entropy: EntropySummary = field(default_factory=lambda: EntropySummary(mean=None))
    figures: Values = field(default_factory=dict, metadata=OTHERS)
    ci95: Intervals = field(default_factory=dict)
    by_position: list[dict[str, Any]] = field(default_factory=list)


@dataclass(kw_only=True)
class TemperatureFit(Part):
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
    ci95: Interval | None = None
    t: float | None = None
    t_ci95: Interval | None = None
    beyond: str | None = None
    estimated: bool = False
    verdict: str | None = field(default=None, metadata=IF_GIVEN)


@dataclass(kw_only=True)
class SeedSpread(Part):
    """A figure for each seed's texts, and its standard deviation over the seeds."""

    sd: float | None
    values: list[float | None]


@dataclass(kw_only=True)
class GeneratedTexts(Part):
    """The figures of generated texts, by name; the metrics of plugins by full name.

    `units` is the number of independent units behind the intervals of means. `set_size` is the
    number of texts behind a figure of a whole set, such as `distinct_2`; `texts_used` is the number
    of texts that have a figure, if some lack it.
    """

    n: int | None = None
    units: int | None = None
    set_size: int | None = None
    texts_used: dict[str, int] = field(default_factory=dict)
    tokens: int | None = None
    figures: Values = field(default_factory=dict, metadata=OTHERS)
    ci95: Intervals = field(default_factory=dict)
    by_seed: dict[str, SeedSpread] | None = None
    by_position: list[dict[str, Any]] = field(default_factory=list)


@dataclass(kw_only=True)
class Difference(Part):
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
    p: float | None = None
    units: int | None = None
    between: float | None = field(default=None, metadata=IF_GIVEN)
    within: float | None = field(default=None, metadata=IF_GIVEN)
    other: float | None = field(default=None, metadata=IF_GIVEN)


@dataclass(kw_only=True)
class Differences(Part):
    """The differences of two entries, by view and figure."""

    against: str
    teacher_forced: dict[str, Difference] = field(default_factory=dict)
    generated_texts: dict[str, Difference] = field(default_factory=dict)

    def of(self, view: str) -> dict[str, Difference]:
        """Return the differences of a view."""
        return {TEACHER_FORCED: self.teacher_forced, GENERATED: self.generated_texts}[view]


@dataclass(kw_only=True)
class KeptText(Part):
    """A text that the report keeps; the tokens have details for the first samples only."""

    prompt: str
    seed: int | None = field(default=None, metadata=IF_GIVEN)
    sample: int
    text: str
    finish_reason: str | None = field(default=None, metadata=IF_GIVEN)
    tokens: list[TokenDetails] = field(default_factory=list)
    figures: Values | None = field(default=None, metadata=IF_GIVEN)
    by_token: dict[str, list[Any]] | None = field(default=None, metadata=IF_GIVEN)


@dataclass(kw_only=True)
class Plugin(Part):
    """The package and the entry point that a sampler comes from."""

    distribution: str
    version: str
    entry_point: str


@dataclass(kw_only=True)
class Stage(Part):
    """A stage of a chain, or the decoder around it."""

    name: str
    kind: str | None = field(default=None, metadata=IF_GIVEN)
    params: Parameters
    plugin: Plugin | None = None
    sources: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class MatchedTo(Part):
    """The target that the open parameter of a sampler was matched to."""

    open: str
    figure: str
    target: float
    asked: str


@dataclass(kw_only=True)
class Failure(Part):
    """The error at which a sampler failed."""

    type: str
    message: str


class Entry(Part):
    """The figures of a sampler or of human text, in both views."""

    teacher_forced: TeacherForced | HumanContexts | None
    generated_texts: GeneratedTexts | None
    failed_metrics: dict[str, str] | None
    error: Failure | None = None
    matched: MatchedTo | None = None
    differences: Differences | None = None

    @property
    def label(self) -> str:
        """The name by which the report lists it."""
        return HUMAN

    def part(self, view: str) -> TeacherForced | HumanContexts | GeneratedTexts | None:
        """Return the figures of a view."""
        return self.teacher_forced if view == TEACHER_FORCED else self.generated_texts


@dataclass(kw_only=True)
class HumanEntry(Entry):
    """The entry of human text, or of one half of it with its differences from the other half."""

    name: str = HUMAN
    description: str = ""
    teacher_forced: HumanContexts | None = None
    temperature: TemperatureFit | None = None
    generated_texts: GeneratedTexts | None = None
    failed_metrics: dict[str, str] | None = field(default=None, metadata=IF_GIVEN)
    differences: Differences | None = field(default=None, metadata=IF_GIVEN)

    @property
    def label(self) -> str:
        """The name by which the report lists it."""
        return self.name


@dataclass(kw_only=True)
class SamplerEntry(Entry):
    """The entry of a sampler, its parameters and its origin."""

    sampler: str
    name: str = ""
    params: Parameters = field(default_factory=dict)
    plugin: Plugin | None = None
    temperature: float | None = None
    stages: list[Stage] = field(default_factory=list)
    sweep: str | None = None
    matched: MatchedTo | None = None
    error: Failure | None = None
    teacher_forced: TeacherForced | None = None
    generated_texts: GeneratedTexts | None = None
    texts: list[KeptText] = field(default_factory=list)
    differences: Differences | None = None
    failed_metrics: dict[str, str] | None = field(default=None, metadata=IF_GIVEN)

    @property
    def label(self) -> str:
        """The expression of the sampler."""
        return self.sampler

    @property
    def parts(self) -> list[Stage]:
        """Its stages; documents of early versions list only the sampler."""
        return self.stages or [Stage(name=self.name, params=self.params, plugin=self.plugin)]


@dataclass(kw_only=True)
class Best(Part):
    """The setting of a sampler that is closest to human text, corrected for the choice."""

    name: str
    tried: int
    sampler: str
    figure: str
    target: float
    corrected: float
    ci95: Interval | None


@dataclass(kw_only=True)
class Simultaneous(Part):
    """A figure of a row, or a difference, with an interval.

    The intervals of all rows hold the truth simultaneously in 99 of 100 reports.
    """

    sampler: str
    figure: str
    value: float
    interval: Interval | None


@dataclass(kw_only=True)
class Front(Part):
    """The entries that no other entry beats in two figures at once."""

    view: str
    larger: str
    smaller: str
    entries: list[str] = field(metadata={"key": "rows"})


@dataclass(kw_only=True)
class Curve(Part):
    """The model's entropy at each temperature, in nats, its slope, and the expected surprisal."""

    t: list[float]
    entropy: list[float]
    slope: list[float]
    surprisal: list[float]


@dataclass(kw_only=True)
class TryIt(Part):
    """A next-token distribution on which readers of a page can try samplers.

    Attributes:
        prompt: the text that the next token follows.
        logits: the logits of the tokens that can be drawn, in falling order, shifted so that the
            first is 0, as little-endian float32 in base64.
        words: the text that each of the likeliest tokens would add.
    """

    prompt: str
    logits: str
    words: list[str]


@dataclass(kw_only=True)
class Document(Part):
    """The whole report."""

    schema: str = SCHEMA
    header: Header
    units: str = "nats"
    vocabulary: int
    drawable: int
    bounds: Bounds
    human: HumanEntry | None = field(default=None, metadata={"key": "reference"})
    human_halves: HumanEntry | None = field(default=None, metadata=IF_GIVEN)
    samplers: list[SamplerEntry]
    closest: list[str] = field(default_factory=list)
    too_few: list[str] = field(default_factory=list)
    simultaneous: list[Simultaneous] = field(default_factory=list)
    shares: list[Simultaneous] = field(default_factory=list)
    excess: list[Simultaneous] = field(default_factory=list)
    best: list[Best] = field(default_factory=list)
    fronts: list[Front] = field(default_factory=list)
    curve: Curve
    try_it: TryIt | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def entries(self) -> list[Entry]:
        """Every entry that has figures, the human ones first."""
        human = [each for each in (self.human, self.human_halves) if each is not None]
        return [entry for entry in [*human, *self.samplers] if not entry.error]
