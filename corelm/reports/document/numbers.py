"""Numbers and lists in the form in which people read them."""

from __future__ import annotations

from collections.abc import Sequence


def share(p: float) -> str:
    """Format a share in at most six characters; only exactly 0 and 1 become 0 and 100%.

    Example:
        >>> [share(p) for p in (0, 0.00001, 0.005, 0.123, 0.99999, 1)]
        ['0', '<0.01%', '0.50%', '12.3%', '99.9%', '100%']
    """
    if p in (0, 1):
        return "0" if p == 0 else "100%"
    if abs(p) < 0.0001:
        return "<0.01%"
    return f"{p:.2%}" if p < 0.01 else f"{min(p, 0.999):.1%}"


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
