"""A figure of matplotlib that a notebook shows, whether or not pyplot was imported."""

from __future__ import annotations

import io
from typing import Any

from matplotlib.figure import Figure

DOTS_PER_INCH = 120


class Picture(Figure):
    """A figure that belongs to no window; a notebook asks it for its image."""

    def _repr_png_(self) -> bytes:
        return image(self, "png", dpi=DOTS_PER_INCH)


def image(figure: Figure, form: str, **how: Any) -> bytes:
    """Return a figure as a file of a form that matplotlib writes."""
    written = io.BytesIO()
    figure.savefig(written, format=form, **how)
    return written.getvalue()
