"""A real server in a process of its own."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass

SOON = 300


@dataclass
class Process:
    """A running server."""

    process: subprocess.Popen
    url: str
    token: str

    @property
    def headers(self):
        return {"Authorization": f"Bearer {self.token}"}

    def end(self, sig=signal.SIGTERM):
        """Send a signal, wait, and return the exit code and standard error."""
        self.process.send_signal(sig)
        _, errors = self.process.communicate(timeout=SOON)
        return self.process.returncode, errors


@contextlib.contextmanager
def serving(*arguments, errors=True, **environment):
    """Start `corelm serve` on a free port, and end it.

    Args:
        arguments: more arguments of the command.
        errors: keep what it writes to standard error; its log fills a pipe that nobody reads.
        environment: more variables.
    """
    command = [sys.executable, "-m", "corelm", "serve", "--port", "0", *arguments]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if errors else subprocess.DEVNULL,
        text=True,
        env={**os.environ, **environment},
    )
    try:
        line = process.stdout.readline()
        if not line:
            raise AssertionError(process.communicate(timeout=SOON)[1])
        url, _, token = line.strip().partition("?token=")
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/|unix:.+", url), line
        yield Process(process, url.rstrip("/"), token)
    finally:
        process.kill()
        process.communicate(timeout=SOON)
