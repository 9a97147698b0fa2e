"""The parts of a document: dataclasses that are read from JSON and written to it.

First their base, then texts with the details of their tokens, the header, statements about all
rows, and the model's own figures. The entries are in `content.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import Field, dataclass, field, fields
from functools import cache
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Self,
    TypedDict,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

if TYPE_CHECKING:
    from corelm.runs import NamedModel

Json = dict[str, Any]


class Rule(Json):
    """Keywords of JSON Schema for what a type can't say, in `Annotated[TYPE, Rule(minimum=0)]`."""

    __hash__ = object.__hash__  # type: ignore[assignment]  # `|` of types needs one


COUNT = Rule(minimum=0, maximum=2**53 - 1)
Count = Annotated[int, COUNT]
Natural = Annotated[int, Rule(minimum=0)]
Interval = Annotated[list[float], Rule(minItems=2, maxItems=2)]
"""The lower and the upper end."""
Values = dict[str, float | None]
"""Figures by name; None if they are undefined or were not measured."""
PROBABILITY = Rule(minimum=0, maximum=1.000001)
Probability = Annotated[float, PROBABILITY]
"""A probability, which rounding may put a millionth above 1."""

REQUIRED = {"required": True}
"""The metadata of a field with a default whose key every document has."""
PRESENT = {"required": True, "nullable": False}
"""The metadata of such a field that is None in no document."""
IF_GIVEN = {"if_given": True, "nullable": False}
"""The metadata of a field that is left out of JSON if its value is None."""
IF_MEASURED = {"if_given": True}
"""The same, for a key that may also be null."""
OTHERS = {"others": True}
"""The metadata of the field that collects all other keys; at most one per class."""


class DocumentPart:
    """A part of a document: a dataclass whose fields are the keys of a JSON object.

    The metadata `key` of a field is its key, if that is not its name. `schema.py` makes the JSON
    Schema from the types, and the descriptions from the docstring and its section `Attributes`.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass
        ... class Pair(DocumentPart):
        ...     first: int
        ...     second: int | None = None
        >>> Pair.from_dict({"first": 1}), Pair(1).to_dict()
        (Pair(first=1, second=None), {'first': 1, 'second': None})
    """

    @classmethod
    def from_dict(cls, content: Json) -> Self:
        """Read the part from a JSON object that follows the schema; missing keys get defaults."""
        values: Json = {}
        keys = _keys(cls)  # type: ignore[arg-type]  # for mypy, unhashable
        named = {name for _, name, _ in keys}
        for each, name, read in keys:
            if "others" in each.metadata:
                values[each.name] = {key: content[key] for key in content if key not in named}
            elif name in content:
                values[each.name] = read(content[name])
        return cls(**values)

    def to_dict(self) -> Json:
        """Return the part as a JSON object, with its keys in the order of the fields."""
        made: Json = {}
        for each, name, _ in _keys(type(self)):  # type: ignore[arg-type]
            value = getattr(self, each.name)
            if "others" in each.metadata:
                made |= value
            elif value is not None or "if_given" not in each.metadata:
                made[name] = _as_json(value)
        return made


Reader = Callable[[Any], Any]


@cache
def _keys(kind: Any) -> list[tuple[Field[Any], str, Reader]]:
    """Return the fields of a class with their keys and the functions that read their values."""
    hints = get_type_hints(kind)
    return [
        (each, each.metadata.get("key", each.name), _reader(hints[each.name]))
        for each in fields(kind)
    ]


def _same(value: Any) -> Any:
    return value


# Plain lists and dicts pass unchanged in both directions: copying every number of every token would
# take longer than everything else.
def _reader(kind: Any) -> Reader:
    """Return the function that reads a value of a type from JSON."""
    kind = not_none(kind) or kind
    origin, inner = get_origin(kind), get_args(kind)
    of_item = _reader(inner[-1]) if origin in (list, dict) else _same
    if isinstance(kind, type) and issubclass(kind, DocumentPart):
        return _unless_none(kind.from_dict)
    if of_item is _same:
        return _same
    if origin is list:
        return _unless_none(lambda items: [of_item(each) for each in items])
    return _unless_none(lambda items: {name: of_item(each) for name, each in items.items()})


def _unless_none(read: Reader) -> Reader:
    return lambda value: None if value is None else read(value)


def _as_json(value: Any) -> Any:
    """Return the value of a field as JSON has it."""
    if isinstance(value, DocumentPart):
        return value.to_dict()
    if isinstance(value, list) and value and isinstance(value[0], DocumentPart):
        return [each.to_dict() for each in value]
    if isinstance(value, dict) and isinstance(next(iter(value.values()), None), DocumentPart):
        return {name: each.to_dict() for name, each in value.items()}
    return value


def not_none(kind: Any) -> Any:
    """Return the type besides None of a type that allows None; None for any other type."""
    inner = get_args(kind)
    if get_origin(kind) in (Union, UnionType) and len(inner) == 2 and NoneType in inner:
        return next(each for each in inner if each is not NoneType)
    return None


_TOKEN = [{"type": "string"}, {"type": "number", **PROBABILITY}]
Alternative = Annotated[list[Any], Rule(prefixItems=_TOKEN, minItems=2, maxItems=2)]
"""A token as its text and its probability."""
Reason = Annotated[str, Rule(enum=["end", "length", "stop", "loop", "error"])]


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
    rank: Annotated[int, Rule(minimum=1)] | None
    p: Probability
    q: Probability
    entropy: float
    alternatives: list[Alternative]


@dataclass(kw_only=True)
class KeptText(DocumentPart):
    """A text that the report keeps.

    Attributes:
        tokens: the details of its tokens, for the first samples only.
        by_token: a list for each figure of the tokens, all of the same length.
    """

    prompt: str
    seed: Count | None = field(default=None, metadata=IF_GIVEN)
    sample: Count
    text: str
    finish_reason: Reason | None = field(default=None, metadata=IF_GIVEN)
    tokens: list[TokenDetails] = field(default_factory=list, metadata=REQUIRED)
    figures: Values | None = field(default=None, metadata=IF_GIVEN)
    by_token: dict[str, list[Any]] | None = field(default=None, metadata=IF_GIVEN)


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
