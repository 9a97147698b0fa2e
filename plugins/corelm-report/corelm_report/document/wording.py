"""Words that the sentences of a document and of its pages share."""

from __future__ import annotations

from collections.abc import Sequence


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
