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
        if not _before:  # the first of the threads that are in here
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
            if not _before:  # the last
                llama.llama_log_set(callback, data)


def _log(level, text, data):
    line = text.decode("utf-8", "replace").strip()
    logger.debug("%s", line)  # an error becomes an exception
    errors = getattr(_local, "errors", None)
    if level == ERROR and line and errors is not None:
        errors.append(line)


_CALLBACK = llama.llama_log_callback(_log)  # as long as the process, in which any thread may log
_before = []  # the callback that was set before, once for each thread that is in `logged`
_lock, _local = threading.RLock(), threading.local()  # a finalizer may free while it is held


def free(function, pointer):
    """Call one of llama.cpp's functions that free an object."""
    with logged():
        function(pointer)
