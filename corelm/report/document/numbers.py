"""Numbers as people read them."""

from __future__ import annotations


def share(p: float) -> str:
    """A share in at most six characters; exactly 0 and 1 are told from what is near.

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
    """A number with two digits after the point, short where it is large.

    Example:
        >>> [number(x) for x in (-0.001, 4.286, 1234.5, 1e300)]
        ['0.00', '4.29', '1,234', '1e+300']
    """
    if abs(value) >= 1e6:
        return f"{value:.0e}"
    text = f"{value:,.2f}" if abs(value) < 1000 else f"{value:,.0f}"
    return text.removeprefix("-") if float(text.replace(",", "")) == 0 else text
