"""Call functions in child processes, with limits on time and memory.

For work whose cost depends on untrusted input, such as a chat template or a grammar. That cost
can't be predicted, and a thread can't be stopped, but a child can be killed. Arguments and results
are JSON, so a compromised child has no way into its parent.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from corelm.errors import CorelmError, ExecutorError, TooMuchError, UsageError
from corelm.text.printable import reason_of

PATIENCE = 10.0
"""Wall-clock seconds per second of processor time, after which the machine is too busy."""
LARGEST = 2**25
"""The largest result, in characters of ASCII JSON."""
NICENESS = 10
"""The niceness of a child process: its parent, which may be a server, goes first."""
FORBEARANCE = 2.0
"""Processor seconds to import what a call needs, on top of the call's own."""


class BoundedCalls:
    """A pool of child processes, started on demand; each runs one call at a time.

    Args:
        seconds: processor seconds that a call may take.
        memory: bytes that it may take in addition to what the child has after its imports, where
            the system has such a bound (Linux).
        processes: the number of children; more calls wait.
        niceness: of the children.

    Example:
        >>> calls = BoundedCalls(seconds=1)
        >>> calls.call("corelm.text.printable:one_line", "a\\nb")
        'a b'
        >>> calls.call("time:sleep", "a")
        Traceback (most recent call last):
        corelm.errors.UsageError: 'str' object cannot be interpreted as an integer
        >>> calls.close()
    """

    def __init__(
        self,
        seconds: float,
        memory: int = 2**28,
        processes: int = 2,
        niceness: int = NICENESS,
    ) -> None:
        self._bounds = seconds, memory, niceness
        self._free = threading.Semaphore(processes)
        self._idle: list[_Child] = []
        atexit.register(self.close)
        if hasattr(os, "register_at_fork"):  # two processes can't share the pipes of a child
            os.register_at_fork(after_in_child=self._idle.clear)

    def call(self, function: str, *arguments: Any) -> Any:
        """Call a function in a child process and return its result.

        Args:
            function: its module and its name, such as `package.module:name`.
            arguments: values that JSON can hold.

        Raises:
            TooMuchError: the call exceeds its limits.
            ExecutorError: the machine is too busy for the call to get its time.
            UsageError: the function raises an exception, whose text is the message.
        """
        with self._free:
            try:
                child = self._idle.pop()
            except IndexError:
                child = _Child(*self._bounds)
            try:
                result, error = child.call(function, arguments)
            except BaseException:
                child.end()
                raise
            self._idle.append(child)
        if error is not None:
            raise UsageError(error)
        return result

    def close(self) -> None:
        """End the children that wait for a call."""
        while self._idle:
            self._idle.pop().end()


class _Child:
    """A child process: its pipes and its timer, in the parent."""

    def __init__(self, seconds: float, memory: int, niceness: int) -> None:
        self._seconds, self._is_late = seconds, False
        bounds = [sys.path, seconds, memory, niceness]
        # With the parent's path, and without the folder that `-m` and `-c` would put before it.
        code = "import json, sys; sys.path, *bounds = json.loads(sys.argv[1]); "
        code += f"from {__name__} import serve; serve(*bounds)"
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", code, json.dumps(bounds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def call(self, function: str, arguments: tuple[Any, ...]) -> tuple[Any, str | None]:
        """Call a function in the child; return its result and None, or None and an error's text."""
        timer = threading.Timer(PATIENCE * (self._seconds + FORBEARANCE), self._give_up)
        timer.start()
        try:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(json.dumps([function, arguments]).encode() + b"\n")
                self._process.stdin.flush()
            answer = self._process.stdout.readline(LARGEST)
        finally:
            timer.cancel()
        if not answer.endswith(b"\n"):
            raise self._failure()
        result, error, is_too_much = json.loads(answer)
        if is_too_much:
            raise TooMuchError(error)
        return result, error

    def end(self) -> None:
        """End the child."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def _give_up(self) -> None:
        self._is_late = True
        self._process.kill()

    def _failure(self) -> CorelmError:
        self._process.kill()
        ended_by, its_own = -self._process.wait(), getattr(signal, "SIGPROF", None)
        if self._is_late and its_own is not None:  # its own timer would have ended it before
            return ExecutorError("the machine is too busy for this now; try again later")
        if self._is_late or ended_by == its_own:
            return TooMuchError(f"it takes more than {self._seconds:g} seconds of a processor")
        # A failed allocation in C code ends it with SIGABRT, and the system with SIGKILL.
        return TooMuchError("it takes too much memory, and its process has ended")


# ---- the child ----


def serve(seconds: float, memory: int, niceness: int) -> None:
    """Answer calls on standard input until it is closed. The program of a child."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends the child
    with contextlib.suppress(AttributeError, OSError):
        os.nice(niceness)
    # A plugin's prints must not mix with the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    for line in sys.stdin.buffer:
        function, arguments = json.loads(line)
        answers.write(_answer(function, arguments, seconds, memory).encode() + b"\n")
        answers.flush()


def _answer(function: str, arguments: list[Any], seconds: float, memory: int) -> str:
    """Call a function; return JSON of its result, its error, and True if it hit a limit."""
    try:
        module, _, name = function.partition(":")
        called = getattr(import_module(module), name)
        with _bounded(seconds, memory):
            answer = json.dumps([called(*arguments), None, False])
        if len(answer) < LARGEST:
            return answer
        too_much = f"its result has more than {LARGEST:,} characters"
    except MemoryError:
        too_much = f"it takes more than {memory:,} bytes of memory"
    except Exception as error:
        reason = str(error) if isinstance(error, CorelmError) else reason_of(error)
        return json.dumps([None, reason, False])
    return json.dumps([None, too_much, True])


@contextlib.contextmanager
def _bounded(seconds: float, memory: int) -> Iterator[None]:
    """Limit the process's time and memory; the timer ends it even inside C code."""
    try:
        import resource
    except ImportError:  # Windows: the parent's timer is all
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    with contextlib.suppress(OSError, ValueError), open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (used + memory, before[1]))
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_AS, before)
