"""A figure of matplotlib that a notebook shows, whether or not pyplot was imported.

The class is in a module of its own because matplotlib is imported only to draw.
"""

from __future__ import annotations

from matplotlib.figure import Figure

from corelm_report.render.plots.files import image

DOTS_PER_INCH = 120


class Picture(Figure):
    """A figure that belongs to no window; a notebook asks it for its image."""

    def _repr_png_(self) -> bytes:
        return image(self, "png", dpi=DOTS_PER_INCH)
