"""The machine: its facts, the folder for models and data, and files and pipes to read."""

from __future__ import annotations

import errno
import os
import stat
import threading
from pathlib import Path
from typing import Any, BinaryIO

__all__ = ["facts", "home"]

SAME_BITS = ("platform", "kernels", "vector_width")
"""The facts that decide the last bits of a result."""

MANIFEST = "manifest.json"
"""The file that makes a folder a model."""

ASIDE = ".old"
"""The end of the hidden name of a folder while it is replaced."""


def facts(same_bits: bool = False) -> dict[str, Any]:
    """Return the hardware, the versions and the build.

    Args:
        same_bits: only the facts that decide the last bits of a result: `platform`, `kernels` and
            `vector_width`.

    Keys:
        processor: its name.
        cores: the threads that corelm may use: CORELM_THREADS, or the processors that the system
            and the quota of a container leave to this process, which `os.cpu_count()` ignores.
        platform: the system and the instruction set, such as `Linux x86_64`.
        python, numpy: versions.
        kernels: True if the compiled kernels are in use.
        vector_width: the floats in one of their vectors, 8 or 16; None without kernels.
    """
    import platform  # late, like NumPy: the folder is needed where nothing is computed

    import numpy as np

    from corelm import native
    from corelm.native.cpu import cpu_limit

    here = {
        "processor": _processor(),
        "cores": cpu_limit(),
        "platform": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "kernels": native.kernels is not None,
        # Asking for 16, the default, changes nothing and returns the width in use.
        "vector_width": native.kernels and int(native.kernels.use_vector_width(16)),
    }
    return {name: here[name] for name in SAME_BITS} if same_bits else here


def _processor() -> str:
    """Return the name of the processor, or the best that the system offers."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # another system, or a container without it
        lines = []
    names = (s.partition(":")[2].strip() for s in lines if "model name" in s)
    import platform

    return next(names, platform.processor() or platform.machine())


PIPE_PATIENCE = 10.0
"""Seconds to wait for the program at the other end of a named pipe."""


def home() -> Path:
    """Return the user's folder for models and data; it is created when something is written."""
    setting = os.environ.get("CORELM_HOME")
    if setting:
        return Path(setting)
    from platformdirs import user_data_path

    return user_data_path("corelm", appauthor=False)


def backup_path(target: Path) -> Path:
    """Return the path of the old folder during its replacement; a crash may leave it there."""
    return target.with_name(f".{target.name}{ASIDE}")


def is_bundle(path: Path) -> bool:
    """Return True for a model's folder, or its backup after a killed write."""
    try:
        place = path if path.exists() else backup_path(path)
        return (place / MANIFEST).is_file()
    except (OSError, ValueError):
        return False


def open_input(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a file to read; a named pipe too, if a program opens its other end.

    Raises:
        OSError: a file that cannot be opened, or a pipe without a writer for ten seconds.
    """
    if not stat.S_ISFIFO(os.stat(path).st_mode):
        return open(path, "rb")
    opened: list[BinaryIO] = []
    # Opening a pipe waits for the writer, without a time limit, so it runs in a thread.
    thread = threading.Thread(target=lambda: opened.append(open(path, "rb")), daemon=True)  # noqa: SIM115
    thread.start()
    thread.join(PIPE_PATIENCE)
    if not opened:
        reason = f"it is a pipe, and nobody has written into it for {PIPE_PATIENCE:g} seconds"
        raise OSError(errno.ETIMEDOUT, reason, os.fspath(path))
    return opened[0]
