"""llama-cpp-python, imported once and checked."""

import ctypes
import logging
import re
from contextlib import contextmanager
from functools import partial

from corelm.errors import MissingDependencyError

LEAST = (0, 3, 36)
INSTALL = 'pip install "llama-cpp-python>=0.3.36"'


def _import():
    """Return the module `llama_cpp`.

    Raises:
        MissingDependencyError: it is not installed, or too old.
    """
    try:
        import llama_cpp
    except ImportError as error:
        raise MissingDependencyError(f"llama-cpp-python is missing; {INSTALL}") from error
    version = tuple(map(int, re.findall(r"\d+", llama_cpp.__version__)[:3]))
    if version < LEAST:
        raise MissingDependencyError(
            f"llama-cpp-python {llama_cpp.__version__} is too old; {INSTALL}"
        )
    return llama_cpp


llama = _import()

logger = logging.getLogger("corelm.llama_cpp")
ERROR = 4  # ggml's level


@contextmanager
def logged():
    """Send llama.cpp's log to corelm's; yield a list that receives the errors, one line each."""
    errors, before, data = [], llama.llama_log_callback(), ctypes.c_void_p()
    llama.llama_log_get(ctypes.byref(before), ctypes.byref(data))
    callback = llama.llama_log_callback(partial(_log, errors))
    llama.llama_log_set(callback, None)
    try:
        yield errors
    finally:
        llama.llama_log_set(before, data)


def _log(errors, level, text, data):
    line = text.decode("utf-8", "replace").strip()
    logger.debug("%s", line)  # an error becomes an exception
    if level == ERROR and line:
        errors.append(line)


def free(function, pointer):
    """Call one of llama.cpp's functions that free an object."""
    with logged():
        function(pointer)
