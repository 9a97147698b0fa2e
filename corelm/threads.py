"""Work on rows, spread over the processor's cores: NumPy lets go of the interpreter meanwhile."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

from corelm.native.cpu import cpu_limit

if TYPE_CHECKING:
    from concurrent.futures import Executor

T = TypeVar("T")

CORES = cpu_limit()


def spread(work: Callable[[slice], T], count: int, least: int = 1) -> list[T]:
    """Do work on `count` things, in as many equal parts as there are cores.

    Args:
        work: does it for some of them, a slice; parts run at the same time.
        count: how many things there are.
        least: how many make it worth while to wake another core.

    Returns:
        What came of each part, in order.

    Example:
        >>> sum(spread(lambda part: part.stop - part.start, 10), start=0)
        10
    """
    parts = max(min(CORES, count // least), 1)
    bounds = [count * i // parts for i in range(parts + 1)]
    slices = [slice(*pair) for pair in pairwise(bounds)]
    others = [_pool().submit(work, part) for part in slices[1:]]
    first = work(slices[0])  # on this core, which is awake
    return [first, *(other.result() for other in others)]


@cache
def _pool() -> Executor:
    """A thread for each core, started when it is first wanted and then kept."""
    from concurrent.futures import ThreadPoolExecutor  # which takes its time

    return ThreadPoolExecutor(CORES, thread_name_prefix="corelm")


if hasattr(os, "register_at_fork"):  # a forked process has none of its parent's threads
    os.register_at_fork(after_in_child=_pool.cache_clear)
