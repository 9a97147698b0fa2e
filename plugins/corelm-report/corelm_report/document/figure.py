"""The declaration of one figure of a report, and the words that it uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from corelm_stats.intervals import LOGIT, FigureScale

Form = Literal["bits", "choices", "count", "number", "per hundred", "share"]
"""The name of a number format."""
HUMAN = "human"
HUMAN_HALVES = "human against human"
"""The name of the entry that compares one half of the human texts with the other."""
TEACHER_FORCED, GENERATED = VIEWS = ("teacher_forced", "generated_texts")
"""The keys of the two views: the same contexts for every sampler, and its own texts."""
ENTROPY, DIVERGENCE = ("entropy", "divergence")
LIKELIHOOD, VARIETY = ("likelihood_and_repetition", "variety")
TABLES = (ENTROPY, DIVERGENCE, LIKELIHOOD, VARIETY)
"""The tables of the page; the first two are teacher-forced, the others are of generated texts."""
NATS, SHARE, TOKENS = "nats", "share", "tokens"
SET_SIZE, TEXT_LENGTH = "set size", "text length"
MEAN, EXPECTED, SURPRISAL = "entropy.mean", "expected_surprisal", "surprisal"
"""The figures that statements are about: randomness, and likelihood in both views."""
SHARES = (0.0, 1.0)
"""The least and the largest share."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """The declaration of one figure.

    Attributes:
        name: its key in a view of the document, and in CSV, data frames and `--fail-if`.
        view: the view that has it.
        unit: its unit; empty if it has none.
        formula: its formula in plain letters; empty if words say it better.
        text: its meaning, in one or two sentences.
        note: further remarks, for the reference page alone.
        required: every document of this schema has the key; null if it was not measured.
        derived: it has no key of its own in the view, but follows from another figure.
        depends_on: `SET_SIZE` or `TEXT_LENGTH` if it is comparable only at an equal number of
            texts, or an equal length.
        matched: its name in a sentence about matching; empty if nothing can be matched to it.
        source: the function whose docstring names the paper, as `pkgutil.resolve_name` takes it.
        table: the table of the page that has its column; empty if it has none.
        title: the heading of the column.
        term: the name under which the page defines it, if several columns share a definition.
        form: the format of its numbers.
        shows: the figure that the column formats, if it is another one.
        between: two figures that the page shows instead of the 95 % interval.
        human: the human figure that it is compared with, if that has another name.
        compared: True if the page shows its difference; False if another figure implies it.
        meaning: its definition in a few words; only columns of the overview need one.
        priority: the place of its column in the overview if there isn't room for all, 1 for the
            most important; 0 leaves it out.
        difference: the priority of the column of its difference from human text, or from the
            sampler that the report compares with.
        scale: the scale on which its error is more symmetric; by default the log odds for a share,
            otherwise the figure itself.
    """

    name: str
    view: str
    unit: str = ""
    formula: str = ""
    text: str = ""
    note: str = ""
    required: bool = False
    derived: bool = False
    depends_on: str = ""
    matched: str = ""
    source: str = ""
    table: str = ""
    title: str = ""
    term: str = ""
    form: Form = "number"
    shows: str = ""
    between: tuple[str, str] | None = None
    human: str = ""
    compared: bool = True
    meaning: str = ""
    priority: int = 0
    difference: int = 0
    scale: FigureScale | None = None

    @property
    def limits(self) -> tuple[float, float] | None:
        """The least and the largest value, where its interval ends; None if there are none."""
        return SHARES if self.unit == SHARE or self.scale is LOGIT else None

    @property
    def looked_up(self) -> str:
        """The name by which its column looks up the value."""
        return self.shows or self.name

    @property
    def axis(self) -> str:
        """The title of a plot's axis."""
        return f"{self.title} ({NATS})" if self.unit == NATS else self.title


def share(p: float) -> str:
    """Format a share in at most six characters; only exactly 0 and 1 become 0 and 100%.

    Example:
        >>> [share(p) for p in (0, 0.00001, 0.005, 0.123, 0.99999, 1)]
        ['0', '<0.01%', '0.50%', '12.3%', '99.9%', '100%']
        >>> share(-0.123), share(-1)
        ('-12.3%', '-100%')
    """
    size, sign = abs(p), "-" if p < 0 else ""
    if size in (0, 1):
        return f"{sign}100%" if size else "0"
    if size < 0.0001:
        return "<0.01%"
    return f"{sign}{size:.2%}" if size < 0.01 else f"{sign}{min(size, 0.999):.1%}"


def listed(names: Sequence[str]) -> str:
    """Join names as a sentence does.

    Example:
        >>> listed(["a", "b", "c"]), listed(["a"]), listed([])
        ('a, b and c', 'a', '')
    """
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)
