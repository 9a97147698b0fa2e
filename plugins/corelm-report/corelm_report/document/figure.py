"""The declaration of one figure of a report, the words and number formats that it uses."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from corelm_stats.estimates import perplexity
from corelm_stats.intervals import LOGIT, FigureScale

from corelm.runs import printable

MINUS, DASH = "\N{MINUS SIGN}", "\N{EN DASH}"
Format = Callable[[float], str]
"""A function that formats a number, such as `number` and `share`."""


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


def number(value: float) -> str:
    """Format a number with two decimals, and without decimals from 1,000 on.

    Example:
        >>> [number(x) for x in (-0.001, 4.286, 1234.5, 1e300)]
        ['0.00', '4.29', '1,234', '1e+300']
    """
    if abs(value) >= 1e6:
        return f"{value:.0e}"
    text = f"{value:,.2f}" if abs(value) < 1000 else f"{value:,.0f}"
    return text.removeprefix("-") if float(text.replace(",", "")) == 0 else text


def listed(names: Sequence[str]) -> str:
    """Join names as a sentence does.

    Example:
        >>> listed(["a", "b", "c"]), listed(["a"]), listed([])
        ('a, b and c', 'a', '')
    """
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def bits(nats: float) -> float:
    """Convert nats to bits."""
    return nats / math.log(2)


def in_bits(nats: float) -> str:
    """Format nats as bits."""
    return number(bits(nats))


def choices(nats: float) -> str:
    """Format an entropy as the number of equally likely tokens with that entropy."""
    return count(perplexity(nats))


def per_hundred(value: float) -> str:
    """Format a growth per token as growth per hundred tokens."""
    return number(100 * value)


def count(value: float) -> str:
    """Format a count, or a mean of counts.

    Example:
        >>> [count(x) for x in (3.0, 3.25, 1234.5, 1e7)]
        ['3', '3.2', '1,234', '1e+07']
    """
    if value >= 1e6:
        return number(value)
    return f"{value:,.0f}" if value >= 100 or value == round(value) else f"{value:,.1f}"


def interval(form: Format, low: float, high: float) -> str:
    """Format an interval; return "" if it is narrower than the digits shown.

    Example:
        >>> interval(number, 1.0, 1.001), interval(number, -1.0, 1.0).replace(MINUS, "-")
        ('', '-1.00 to 1.00')
        >>> interval(share, 0.25, 0.5).split(DASH)
        ['25.0', '50.0%']
    """
    first, last = form(low), form(high)
    if first == last:
        return ""
    if last.endswith("%"):
        first = first.removesuffix("%")
    if low < 0:  # a dash next to a minus sign is hard to read
        return f"{first} to {last}".replace("-", MINUS)
    return f"{first}{DASH}{last}"


ALIKE = 0.2
"""Up to this relative difference, both sides of an interval are written as one number."""
FINEST = 4
"""The most decimals; an interval narrower than they show counts as exact."""


class Rounding(NamedTuple):
    """The digits of a figure: as many as its interval supports.

    Attributes:
        form: the format of the figure, which writes it where no digits are decided.
        places: the number of decimals, negative for tens and hundreds; None if undecided.
    """

    form: Format
    places: int | None = None

    @classmethod
    def by_interval(
        cls, form: Format, value: float, low: float | None, high: float | None
    ) -> Rounding:
        """Return the digits that an interval supports.

        Its shorter side gets one digit, or two if these are 10 to 14.

        Example:
            >>> ends = ((4.3012, 4.21, 4.40), (30980, 1053, 71231), (0.042, 0.039, 0.045))
            >>> [Rounding.by_interval(number, *each).text(each[0]) for each in ends]
            ['4.30', '30,000', '0.042']
            >>> Rounding.by_interval(share, 0.618, 0.587, 0.649).text(0.618)
            '62%'
        """
        if low is None or high is None or "e" in form(value):
            return cls(form)
        magnitude = _MAGNITUDES.get(form, float)
        sides = magnitude(high) - magnitude(value), magnitude(value) - magnitude(low)
        wide = [side for side in sides if 0.5 * 10**-FINEST <= side < math.inf]
        if not wide or min(sides) < 0:
            return cls(form)
        side = min(wide)
        size = math.floor(math.log10(side))
        return cls(form, min(int(side < 1.45 * 10**size) - size, FINEST))

    def text(self, value: float) -> str:
        """Format a value of the figure."""
        if self.places is None or (value == 0 and self.form is share):
            return self.form(value).replace("-", MINUS)
        shown = self.amount(_MAGNITUDES.get(self.form, float)(value))
        shown = shown.removeprefix("-") if _is_zero(shown) else shown.replace("-", MINUS)
        return f"{shown}%" if self.form is share else shown

    def amount(self, magnitude: float) -> str:
        """Format a number that is in the unit shown."""
        places = self.places or 0
        return f"{round(magnitude, places):,.{max(places, 0)}f}"


def margins(form: Format, value: float, low: float, high: float) -> tuple[str, ...]:
    """Format an interval as its distances from the value, with the value's digits.

    Returns:
        Both sides, or only the longer one if they are about equally long; none if both are
        narrower than any digits shown; the interval itself if the value is outside it.

    Example:
        >>> margins(number, 4.17, 4.09, 4.25), margins(number, 4.17, 4.17, 4.17)
        (('±0.08',), ())
        >>> margins(share, 0.0, 0.0, 0.057)
        ('+6',)
    """
    rounding, magnitude = Rounding.by_interval(form, value, low, high), _MAGNITUDES.get(form, float)
    middle = magnitude(value)
    up, down = magnitude(high) - middle, middle - magnitude(low)
    if min(up, down) < 0 or "e" in form(value):
        ends = interval(form, low, high)
        return (ends,) if ends else ()
    if rounding.places is None:
        return ()
    above, below = map(rounding.amount, (up, down))
    if abs(up - down) <= max(ALIKE * max(up, down), 1.01 * 10.0**-rounding.places):
        return (f"±{max((up, above), (down, below))[1]}",)
    sides = ("+", above), (MINUS, below)
    return tuple(sign + text for sign, text in sides if not _is_zero(text))


def _is_zero(text: str) -> bool:
    """Return True if all digits of a formatted number are 0."""
    return not any(digit in text for digit in "123456789")


_MAGNITUDES: dict[Format, Callable[[float], float]] = {
    share: lambda value: 100 * value,
    per_hundred: lambda value: 100 * value,
    in_bits: bits,
    choices: perplexity,
}
"""The number that a format displays, if that isn't the value itself."""


def signed(form: Format, value: float, low: float | None = None, high: float | None = None) -> str:
    """Format a difference with its sign; for shares, in percentage points (pp).

    Example:
        >>> signed(number, 0.5), signed(share, 0.25), signed(number, 0.0)
        ('+0.50', '+25.0 pp', '0.00')
        >>> signed(share, -0.00001), signed(number, 0.512, 0.2, 0.8)
        ('<0.01 pp', '+0.5')
    """
    text = Rounding.by_interval(form, value, low, high).text(abs(value))
    if _is_zero(text):
        return text.removesuffix("%")
    if text.startswith("<"):
        return f"{text.removesuffix('%')} pp"
    sign = MINUS if value < 0 else "+"
    return f"{sign}{text.removesuffix('%')} pp" if text.endswith("%") else f"{sign}{text}"


def visible(text: str) -> str:
    """Replace control characters by visible marks.

    Example:
        >>> visible("a\\x1b]0;b")
        'a\ufffd]0;b'
    """
    return printable.strip_controls(text, mark="\ufffd")


FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""The characters that a spreadsheet takes for the start of a formula."""


def as_csv(
    header: Iterable[str],
    rows: Iterable[Iterable[Any]],
    shown: Callable[[str], str] = printable.one_line,
) -> str:
    """Write rows as CSV, without cells that a spreadsheet would run as formulas.

    Args:
        header: the names of the columns.
        rows: the cells; numbers are written unchanged.
        shown: returns a text as it is shown; by default on one line.
    """

    def cell(value: Any) -> Any:
        if value is None or isinstance(value, (int, float)):
            return value
        text = shown(str(value))
        return f"'{text}" if text.startswith(FORMULA) else text

    written = io.StringIO()
    table = csv.writer(written, lineterminator="\n")
    table.writerows(map(cell, row) for row in (header, *rows))
    return written.getvalue()


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
    form: Format = number
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
