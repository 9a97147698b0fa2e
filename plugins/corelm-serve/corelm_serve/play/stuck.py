"""Find the sampler that a thread is stuck in."""

from __future__ import annotations

import sys

from corelm import Chain, Sampler


def stuck_stage(thread: int) -> Sampler | None:
    """Return the stage of a chain that a thread is calling now; None if it calls none.

    A sampler inside of another one is a part of it, so the outermost one is returned.
    """
    found, frame = None, sys._current_frames().get(thread)
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, Sampler) and not isinstance(owner, Chain):
            found = owner
        frame = frame.f_back
    return found
