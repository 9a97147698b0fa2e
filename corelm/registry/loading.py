"""Find the entry points of plugins and import them; a failure concerns one plugin alone."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from corelm.contracts import hookspecs
from corelm.errors import CorelmError, PluginError
from corelm.registry.offers import EntryPoint, Source
from corelm.text.printable import message_of, one_line, reason_of, shown

Undo = Callable[[], None]


class SharedRedirect:
    """Redirect when the first thread enters, and undo it when the last one leaves.

    If each thread redirected by itself, one could save another's redirected stream and restore that
    last: standard output would be lost.

    Args:
        redirect: redirects, and returns the function that undoes it.
    """

    def __init__(self, redirect: Callable[[], Undo]) -> None:
        self._redirect = redirect
        self._undo: Undo = lambda: None
        self._entries = Counter[int]()  # by thread, which may enter again while inside
        self._lock = threading.Lock()
        if hasattr(os, "register_at_fork"):
            # The forking thread holds it, so that the child gets the lock and the entries in a
            # consistent state.
            os.register_at_fork(
                before=self._lock.acquire,
                after_in_parent=self._lock.release,
                after_in_child=self._after_fork,
            )

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Redirect while the block runs."""
        thread = threading.get_ident()
        with self._lock:
            if not self._entries:
                self._undo = self._redirect()
            self._entries[thread] += 1
        try:
            yield
        finally:
            with self._lock:
                self._leave(thread, self._entries[thread] - 1)

    @property
    def has_entered(self) -> bool:
        """True if this thread is inside the redirection."""
        return threading.get_ident() in self._entries

    def _leave(self, thread: int, entries: int) -> None:
        """Remove a thread's entry; undo the redirection if it was the last thread inside."""
        self._entries[thread] = entries
        if not entries:
            del self._entries[thread]
        if not self._entries:
            self._undo()

    def _after_fork(self) -> None:
        """Drop the threads that don't exist in a child process."""
        mine = threading.get_ident()
        # Only the forking thread exists in the child; the others would never leave.
        for thread in [thread for thread in self._entries if thread != mine]:
            self._leave(thread, 0)
        self._lock.release()


OWN = "corelm"
"""The distribution whose plugins always load."""
MODEL = f"{OWN}:imdb"
"""The model to use when none is named: corelm's own, even if another plugin offers one
of this name."""


def label(name: str) -> str:
    """Return the name of a model for display, without the prefix of corelm's own models.

    Example:
        >>> label(MODEL)
        'imdb'
    """
    return name.removeprefix(f"{OWN}:")


def wanted_points(points: Sequence[EntryPoint]) -> dict[Source, EntryPoint]:
    """Return the entry points that `CORELM_PLUGINS` allows, by their source."""
    by_source = {Source(p.distribution, p.version, p.name, p.value): p for p in points}
    if (setting := os.environ.get("CORELM_PLUGINS")) is None:
        return by_source
    names = {name.strip() for name in setting.split(",")}
    return {
        source: point
        for source, point in by_source.items()
        if source.distribution == OWN
        or names & {source.distribution, source.entry_point, str(source)}
    }


def import_plugin(point: EntryPoint) -> Any:
    """Import the module of an entry point.

    Raises:
        PluginError: it cannot be imported; the message is the reason, in one line.
    """
    with plugin_errors(), stdout_to_stderr():
        return point.load()


# `print` holds a borrowed reference to `sys.stdout`: if the stream is freed while another thread
# prints, the process crashes.
@functools.lru_cache(maxsize=16)
def unclosable(stream: Any) -> Any:
    """Return a stream that writes to this one and leaves it open; None for a closed one."""
    return None if stream is None else _Unclosable(stream)


class _Unclosable:
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def close(self) -> None:
        """Do nothing."""


@functools.lru_cache(maxsize=16)
def _of_others(stdout: Any, stderr: Any) -> Any:
    return _OfOthers(stdout, stderr)


class _OfOthers:
    """A stream to standard error for threads that run a plugin, to standard output for others."""

    def __init__(self, stdout: Any, stderr: Any) -> None:
        self._stdout, self._stderr = stdout, stderr

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stderr if _python_redirect.has_entered else self._stdout, name)


def _python_stdout_to_stderr() -> Undo:
    stdout, stderr = sys.stdout, unclosable(sys.stderr)
    sys.stdout = stderr if stdout is None or stderr is None else _of_others(stdout, stderr)

    def undo() -> None:
        sys.stdout = stdout

    return undo


def _descriptor_to_stderr() -> Undo:
    try:
        saved = os.dup(1)
    except OSError:  # closed: there is nothing to protect
        return lambda: None
    _flush_stdout()  # the buffered text belongs to the product
    with contextlib.suppress(OSError):
        os.dup2(2, 1)

    def undo() -> None:
        _flush_stdout()
        os.dup2(saved, 1)
        os.close(saved)

    return undo


_python_redirect = SharedRedirect(_python_stdout_to_stderr)
_descriptor_redirect = SharedRedirect(_descriptor_to_stderr)


@contextlib.contextmanager
def plugin_errors() -> Iterator[None]:
    """Turn every exception of a plugin's code into a `PluginError` of one line.

    Meanwhile `sys.stdout` leads to standard error in this thread, because standard output carries
    the product. Only KeyboardInterrupt passes.
    """
    try:
        with _python_redirect.entered():
            yield
    except KeyboardInterrupt:
        raise
    except CorelmError as error:
        raise PluginError(one_line(message_of(error))) from error
    except BaseException as error:
        raise PluginError(reason_of(error)) from error


@contextlib.contextmanager
def stdout_to_stderr() -> Iterator[int | None]:
    """Redirect file descriptor 1 to standard error while plugins load or run.

    Standard output carries the product, and `sys.__stdout__`, subprocesses and C libraries write
    to the descriptor, even if `sys.stdout` is replaced.

    Yields:
        A duplicate of standard output's descriptor; None if it is closed.
    """
    try:
        own = os.dup(1)
    except OSError:  # closed
        yield None
        return
    try:
        with _descriptor_redirect.entered():
            yield own
    finally:
        os.close(own)


def _flush_stdout() -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.__stdout__.flush()  # type: ignore[union-attr]


def check_version(plugin: Any) -> None:
    """Raise if a plugin was made for a different version of the contract."""
    made_for = getattr(plugin, "CORELM_API_VERSION", hookspecs.API_VERSION)
    if type(made_for) is not int:
        raise PluginError(
            f"CORELM_API_VERSION must be a whole number such as {hookspecs.API_VERSION}, not "
            f"{shown(made_for)}"
        )
    if made_for != hookspecs.API_VERSION:
        raise PluginError(
            f"made for version {made_for} of the plugin contract, this corelm has version "
            f"{hookspecs.API_VERSION}; install a release of the two that match"
        )
