"""A report besides its entries: the header, statements about all rows, the model's own figures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

from corelm_report.document.parts import (
    IF_GIVEN,
    Count,
    DocumentPart,
    Interval,
    Json,
    Natural,
    Rule,
)

if TYPE_CHECKING:
    from corelm.runs import NamedModel


@dataclass(kw_only=True)
class ModelName(DocumentPart):
    """The name of a model, and the checksum of its manifest or files if it has any."""

    name: str
    sha256: str | None

    @classmethod
    def of(cls, model: NamedModel) -> ModelName:
        """Name a model; without files it has no checksum, which would take a pass."""
        has_files = model.sha256 or getattr(model.model, "files", None)
        return cls(name=model.name, sha256=model.fingerprint() if has_files else None)

    @property
    def title(self) -> str:
        """The last part of its path, for headings."""
        return self.name.replace("\\", "/").rstrip("/").rpartition("/")[2]


@dataclass(kw_only=True)
class ContextsSummary(DocumentPart):
    """The contexts of the teacher-forced view."""

    source: Annotated[str, Rule(enum=["human", "model"])]
    description: str
    texts: Count
    positions: Count


@dataclass(kw_only=True)
class FailedPlugin(DocumentPart):
    """A plugin that was needed and could not be loaded."""

    plugin: str
    reason: str


@dataclass(kw_only=True)
class MetricOfPlugin(DocumentPart):
    """A plugin's metric, whose figures are in `generated_texts` under its full name."""

    name: str
    version: str
    meaning: str
    source: str = ""


@dataclass(kw_only=True)
class MatchTarget(DocumentPart):
    """A figure that open parameters were matched to: the target as written, and as a number."""

    figure: str
    asked: str
    target: float


@dataclass(kw_only=True)
class Citation(DocumentPart):
    """A paper, and the figures or intervals that it defines."""

    of: list[str]
    source: str


@dataclass(kw_only=True)
class Header(DocumentPart):
    """The facts about a report besides its figures.

    Attributes:
        beginnings: the source of the prompts in words, if the report chose them.
        clusters: the cluster of each prompt, such as its document, if prompts have some.
        settings: further settings, by name, where any has another value than its default.
        metrics: the metrics of plugins, whose figures are in `generated_texts`.
        matched: the figures that open parameters were matched to.
        until: the condition at which a growing report stopped, and whether it was reached.
        sources: the papers that define the figures and the intervals of the report.
    """

    corelm: str
    python: str | None = field(default=None, metadata=IF_GIVEN)
    numpy: str | None = field(default=None, metadata=IF_GIVEN)
    platform: str | None = field(default=None, metadata=IF_GIVEN)
    processor: str | None = field(default=None, metadata=IF_GIVEN)
    kernels: bool | None = field(default=None, metadata=IF_GIVEN)
    vector_width: int | None = None
    created: str
    command: str | None
    model: ModelName
    scorer: str | None = field(default=None, metadata=IF_GIVEN)
    second_scorer: ModelName | None = None
    prompts: list[str]
    beginnings: str | None = field(default=None, metadata=IF_GIVEN)
    clusters: list[str] | None = field(default=None, metadata=IF_GIVEN)
    n: Count
    length: Count
    seed: Natural
    seeds: list[Natural] = field(default_factory=list)
    settings: Json | None = field(default=None, metadata=IF_GIVEN)
    contexts: ContextsSummary
    failed_plugins: list[FailedPlugin]
    settings_tried: dict[str, Count] = field(default_factory=dict)
    metrics: list[MetricOfPlugin] = field(default_factory=list)
    matched: list[MatchTarget] = field(default_factory=list)
    until: str | None = field(default=None, metadata=IF_GIVEN)
    ci: str | None = field(default=None, metadata=IF_GIVEN)
    sources: list[Citation] = field(default_factory=list)

    @property
    def drawn(self) -> int:
        """The number of texts that each sampler writes."""
        return self.n * len(self.prompts) * len(self.seeds or [self.seed])

    @property
    def cluster_of(self) -> dict[str, str]:
        """The cluster of each prompt, by prompt; empty if each is its own."""
        return dict(zip(self.prompts, self.clusters, strict=True)) if self.clusters else {}


@dataclass(kw_only=True)
class Simultaneous(DocumentPart):
    """A figure of a row, or a difference, with an interval.

    The intervals of all rows hold the truth simultaneously in 99 of 100 reports.
    """

    sampler: str
    figure: str
    value: float
    interval: Interval | None


@dataclass(kw_only=True)
class Best(DocumentPart):
    """The setting of a sampler that is closest to human text, corrected for the choice."""

    name: str
    tried: Count
    sampler: str
    figure: str
    target: float
    corrected: float
    ci95: Interval | None


@dataclass(kw_only=True)
class Front(DocumentPart):
    """The entries that no other entry beats in two figures at once."""

    view: str
    larger: str
    smaller: str
    entries: list[str] = field(metadata={"key": "rows"})


@dataclass(kw_only=True)
class Bounds(DocumentPart):
    """The least and the largest possible entropy, in nats."""

    min: float
    max: float


@dataclass(kw_only=True)
class Curve(DocumentPart):
    """The model's entropy at each temperature, in nats, its slope, and the expected surprisal.

    Attributes:
        surprisal: the mean surprisal under the model of a token drawn at each temperature, given
            that it is not the end of the text.
    """

    t: list[float]
    entropy: list[float]
    slope: list[float]
    surprisal: list[float]


@dataclass(kw_only=True)
class TryIt(DocumentPart):
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
