"""The shell and the Python in which the examples of one page run, apart from this user's files."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import TracebackType

STAGES = (
    "contexts", "human texts", "entropy of the model", "matching", "teacher forcing",
    "generated texts", "figures",
)  # fmt: skip
PROGRESS = re.compile(rf"^({'|'.join(STAGES)}) \.\.\.\n", re.MULTILINE)
"""Lines of a report's progress where there is no terminal; on a terminal they are bars."""

SESSION = """
import contextlib, importlib, io, json, sys
for line in sys.stdin:
    importlib.invalidate_caches()  # a command may have installed something
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(json.loads(line), "the example", "exec"), globals())
    print(json.dumps(printed.getvalue()), flush=True)
"""


class Session:
    """The empty folder, the current folder of its shell, and the Python session of one page."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "work"
        self.folder.mkdir()
        self._current = folder / "current"
        self._environment = environment(folder)
        self._python = subprocess.Popen(
            [sys.executable, "-c", SESSION],
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._python.communicate()

    def python(self, code: str) -> str:
        """Run a block of Python and return what it prints.

        Raises:
            AssertionError: the block raised; holds the traceback.
        """
        assert self._python.stdin is not None
        assert self._python.stdout is not None
        self._python.stdin.write(json.dumps(code) + "\n")
        self._python.stdin.flush()
        answer = self._python.stdout.readline()
        if not answer:
            raise AssertionError(f"an example failed:\n{code}\n{self._python.communicate()[1]}")
        return str(json.loads(answer))

    def shell(self, command: str, may_fail: bool) -> str:
        """Run commands and return what they print, on both streams.

        Raises:
            AssertionError: a command failed, and the page shows no error.
        """
        keep_folder = f"trap 'pwd > {shlex.quote(str(self._current))}' EXIT\n"
        done = subprocess.run(
            ["bash", "-c", keep_folder + command],
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
        )
        self.folder = Path(self._current.read_text("utf-8").rstrip("\n"))
        if done.returncode and not may_fail:
            raise AssertionError(f"{command!r} ended with {done.returncode}:\n{done.stdout}")
        return PROGRESS.sub("", done.stdout)


def environment(folder: Path) -> dict[str, str]:
    """Return an environment of 80 columns without colours, with a pip that needs no network."""
    own = {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join(
            [str(folder / "installed"), os.environ.get("PYTHONPATH", "")]
        ),
        "PYTHONIOENCODING": "utf-8",
        "CORELM_HOME": str(folder / "home"),
        "HF_MODULES_CACHE": str(folder / "modules"),
        "LLM_USER_PATH": str(folder / "llm"),
        "COLUMNS": "80",
        "NO_COLOR": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PIP_TARGET": str(folder / "installed"),
        "PIP_NO_INDEX": "1",
        "PIP_NO_DEPS": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip reads this as: no isolation
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_CACHE_DIR": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
    }
    return {k: v for k, v in os.environ.items() if not k.startswith("CORELM_")} | own
