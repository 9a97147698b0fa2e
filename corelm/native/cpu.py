"""The number of processors that this process may use."""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

logger = logging.getLogger("corelm")

VARIABLE = "CORELM_THREADS"


@cache
def cpu_limit() -> int:
    """Return the number of threads that corelm may use, at least 1.

    That is the environment variable CORELM_THREADS, if it is set. Otherwise it is the number of
    processors that the system lets this process run on, limited by the quota of its container.
    `os.cpu_count()` ignores both limits: in a container with two of 64 processors it returns 64,
    and 64 busy threads are far slower there than two.

    Example:
        >>> cpu_limit() >= 1
        True
    """
    return _requested() or int(min(_usable_processors(), _container_quota()))


def _requested() -> int | None:
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return None
    if re.fullmatch("0*[1-9][0-9]{,4}", text):
        return int(text)
    message = "%s must be a whole number from 1 to 99999, not %.60r; it is ignored"
    logger.warning(message, VARIABLE, text)
    return None


def _usable_processors() -> int:
    if hasattr(os, "process_cpu_count"):  # Python 3.13
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _container_quota(
    membership: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")
) -> float:
    """Return the number of processors that this process's control groups allow, rounded up.

    Args:
        membership: the file that lists the control groups of this process.
        root: the folder where control groups are mounted.

    Returns:
        Infinity without a quota, or without control groups.
    """
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except OSError:
        return math.inf
    quotas = [_quota(group) for line in lines for group in _groups(line, root)]
    return min(quotas, default=math.inf)


def _groups(line: str, root: Path) -> Iterator[Path]:
    """Yield the folders of a control group and its parents, from a line like `0::/a/b`."""
    _, controllers, path = [*line.split(":", 2), "", ""][:3]
    if not controllers:  # version 2
        mount = root
    elif "cpu" in controllers.split(","):
        mount = root / "cpu"
    else:
        return
    # A parent's quota limits its children too. In a container the path may be the host's, and the
    # last parent, the mount itself, is then the one that exists.
    group = Path(path.lstrip("/"))
    yield from (mount / part for part in (group, *group.parents))


def _quota(group: Path) -> float:
    """Return the quota of one control group, in processors."""
    try:
        if (group / "cpu.max").exists():
            quota, period = (group / "cpu.max").read_text(encoding="utf-8").split()
        else:  # version 1
            quota = (group / "cpu.cfs_quota_us").read_text(encoding="utf-8")
            period = (group / "cpu.cfs_period_us").read_text(encoding="utf-8")
        return max(math.ceil(int(quota) / int(period)), 1) if int(quota) > 0 else math.inf
    except (OSError, ValueError, ZeroDivisionError):  # no such file, or "max"
        return math.inf
