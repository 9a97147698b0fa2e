"""The formats of numbers and texts on pages, in tables and in CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from corelm.runs import printable
from corelm_report.document.figures import Form
from corelm_report.document.lookup import share
from corelm_stats.estimates import bits, perplexity

MINUS, DASH = "\N{MINUS SIGN}", "\N{EN DASH}"
Format = Callable[[float], str]
"""A function that formats a number, such as `number` and `share`."""


LARGE = 1e6
"""From here on a number is written with one digit and an exponent."""


def number(value: float) -> str:
    """Format a number with two decimals, and without decimals from 1,000 on.

    Example:
        >>> [number(x) for x in (-0.001, 4.286, 1234.5, 1e300)]
        ['0.00', '4.29', '1,234', '1e+300']
    """
    if abs(value) >= LARGE:
        return f"{value:.0e}"
    text = f"{value:,.2f}" if abs(value) < 1000 else f"{value:,.0f}"
    return text.removeprefix("-") if float(text.replace(",", "")) == 0 else text


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
    if value >= LARGE:
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
CLOSEST = 6
"""The most decimals of an interval that ends near the number that it excludes."""
NARROW = "narrower than shown"
"""What a table says of such an interval."""


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
        cls,
        form: Format,
        value: float,
        low: float | None,
        high: float | None,
        apart_from: Sequence[float] = (),
    ) -> Rounding:
        """Return the digits that an interval supports.

        Its shorter side gets one digit, or two if these are 10 to 14; shares are whole percents at
        least, so that a quarter stays 25%. It gets more if an end would be shown as one of the
        numbers `apart_from` that the interval excludes.

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
        places = min(int(side < 1.45 * 10**size) - size, FINEST)
        places = max(places, 0) if form is share else places
        for excluded in apart_from:
            if not low <= excluded <= high:
                limit, side = magnitude(excluded), sides[excluded < value]
                gap, end = abs(magnitude(value) - limit), magnitude(low if excluded < low else high)
                while places < CLOSEST and (
                    round(gap, places) <= round(side, places) or round(end, places) == limit
                ):
                    places += 1
        return cls(form, places)

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
        if abs(magnitude) >= LARGE:
            return number(magnitude)
        return f"{round(magnitude, places):,.{max(places, 0)}f}"


def margins(
    form: Format, value: float, low: float, high: float, apart_from: Sequence[float] = ()
) -> tuple[str, ...]:
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
    rounding = Rounding.by_interval(form, value, low, high, apart_from)
    magnitude = _MAGNITUDES.get(form, float)
    middle = magnitude(value)
    up, down = magnitude(high) - middle, middle - magnitude(low)
    if min(up, down) < 0 or "e" in form(value):
        ends = interval(form, low, high)
        return (ends,) if ends else ()
    if rounding.places is None:
        return ()
    above, below = map(rounding.amount, (up, down))
    # One number for both sides may not reach what the interval excludes.
    gaps = (abs(magnitude(each) - middle) for each in apart_from if not low <= each <= high)
    alike = abs(up - down) <= max(ALIKE * max(up, down), 1.01 * 10.0**-rounding.places)
    places = rounding.places
    if alike and round(max(up, down), places) < round(min(gaps, default=10 * (up + down)), places):
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
FORMATS: Mapping[Form, Format] = {
    "bits": in_bits,
    "choices": choices,
    "count": count,
    "number": number,
    "per hundred": per_hundred,
    "share": share,
}
"""The formats that declarations of figures name."""


def signed(form: Format, value: float, low: float | None = None, high: float | None = None) -> str:
    """Format a difference with its sign; for shares, in percentage points (pp).

    Example:
        >>> signed(number, 0.5), signed(share, 0.25), signed(number, 0.0)
        ('+0.50', '+25.0 pp', '0.00')
        >>> signed(share, -0.00001), signed(number, 0.512, 0.2, 0.8)
        ('<0.01 pp', '+0.5')
    """
    text = Rounding.by_interval(form, value, low, high, apart_from=(0.0,)).text(abs(value))
    if _is_zero(text):
        return text.removesuffix("%")
    if text.startswith("<"):
        return f"{text.removesuffix('%')} pp"
    sign = MINUS if value < 0 else "+"
    return f"{sign}{text.removesuffix('%')} pp" if text.endswith("%") else f"{sign}{text}"


def over_seeds(form: Form, deviation: float | None) -> str:
    """Format a figure's standard deviation over the seeds; empty without one."""
    return "" if deviation is None else f"sd {FORMATS[form](deviation)} over seeds"


def with_interval(
    form: Format,
    value: float,
    ends: Sequence[float | None] | None,
    difference: bool = False,
    apart_from: Sequence[float] = (),
) -> tuple[str, str]:
    """Format a figure and its interval, with the digits that the interval supports.

    Args:
        form: the format of the figure.
        value: the figure.
        ends: the interval; None if there is none.
        difference: write the sign of the figure, and shares in percentage points.
        apart_from: numbers that no end is shown as if the interval excludes them, such as 0.

    Returns:
        The figure and its interval; "" for none, and for one narrower than the digits shown.

    Example:
        >>> text, ends = with_interval(number, -0.1234, (-0.21, -0.04), difference=True)
        >>> text.replace(MINUS, "-"), ends.replace(MINUS, "-")
        ('-0.12', '-0.21 to -0.04')
        >>> with_interval(share, 0.62, None)
        ('62.0%', '')
    """
    low, high = ends or (None, None)
    apart_from = (0.0, *apart_from) if difference else apart_from
    rounding = Rounding.by_interval(form, value, low, high, apart_from)
    text = signed(form, value, low, high) if difference else rounding.text(value)
    if low is None or high is None:
        return text, ""
    shown = interval(rounding.text, low, high)
    return text, shown.replace("%", " pp") if difference else shown


def visible(text: str) -> str:
    """Replace control characters by visible marks.

    Example:
        >>> visible("a\\x1b]0;b")
        'a\ufffd]0;b'
    """
    return printable.strip_controls(text, mark="\ufffd")


QUOTED = 60
"""The longest prompt that is quoted in full, in characters."""


def quoted(prompt: str) -> str:
    """Return a prompt on one line, in quotation marks, and cut short if it is long."""
    text = printable.one_line(prompt)
    return f'"{text if len(text) <= QUOTED else f"{text[: QUOTED - 3]}..."}"'


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
