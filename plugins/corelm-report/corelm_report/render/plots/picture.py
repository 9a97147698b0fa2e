"""A figure of matplotlib that a notebook shows, whether or not pyplot was imported.

The class is in a module of its own because matplotlib is imported only to draw.
"""

from __future__ import annotations

import io

from matplotlib.figure import Figure

DOTS_PER_INCH = 120


class Picture(Figure):
    """A figure without a window, which a notebook displays as an image."""

    def _repr_png_(self) -> bytes:
        written = io.BytesIO()
        self.savefig(written, format="png", dpi=DOTS_PER_INCH)
        return written.getvalue()
