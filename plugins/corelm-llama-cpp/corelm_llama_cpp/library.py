"""llama-cpp-python and its log."""

import ctypes
import logging
import threading
from contextlib import contextmanager

import llama_cpp as llama

logger = logging.getLogger("corelm.llama_cpp")
ERROR = 4  # ggml's level


@contextmanager
def logged():
    """Send llama.cpp's log to corelm's; yield a list that receives the errors, one line each."""
    outer, errors = getattr(_local, "errors", None), []
    _local.errors = errors
    with _lock:
        if not _before:  # the first thread that enters
            callback, data = llama.llama_log_callback(), ctypes.c_void_p()
            llama.llama_log_get(ctypes.byref(callback), ctypes.byref(data))
            llama.llama_log_set(_CALLBACK, None)
            _before.append((callback, data))
        else:
            _before.append(_before[0])
    try:
        yield errors
    finally:
        _local.errors = outer
        with _lock:
            callback, data = _before.pop()
            if not _before:  # the last thread that leaves
                llama.llama_log_set(callback, data)


def _log(level, text, data):
    line = text.decode("utf-8", "replace").strip()
    logger.debug("%s", line)  # errors become exceptions
    errors = getattr(_local, "errors", None)
    if level == ERROR and line and errors is not None:
        errors.append(line)


# Kept for the life of the process: any thread may log at any time.
_CALLBACK = llama.llama_log_callback(_log)
_before = []  # the previous callback, once for each thread inside `logged`
# Reentrant: a finalizer may call `free` while the lock is held.
_lock, _local = threading.RLock(), threading.local()


def hold(error):
    """Keep an exception of a callback, which can't pass through llama.cpp, until it returns."""
    # The first one: later ones follow from it.
    _local.held = getattr(_local, "held", None) or error


def raise_held(result=None, *_):
    """Raise the exception that a callback in this thread left; else return the result."""
    error, _local.held = getattr(_local, "held", None), None
    if error is not None:
        raise error
    return result


# ctypes calls `errcheck` once llama.cpp has returned, whichever program called the function.
for _function in (llama.llama_sampler_sample, llama.llama_sampler_apply):
    _function.errcheck = raise_held


def free(function, pointer):
    """Call one of llama.cpp's functions that free an object."""
    with logged():
        function(pointer)
