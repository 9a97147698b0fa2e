"""Search for inputs that make a reader or a kernel fail: python tests/fuzz/run.py --minutes 60

The minutes are shared by the targets, all of them unless some are named. Every input that makes a
target run new code is kept for the next one; `--keep` adds the best of them to `corpus/`, which
the ordinary tests run. An input that raises anything but an error of `corelm.errors`, or takes more
than 60 seconds or 2 GiB, is written to `crashes/`: `--input FILE TARGET` runs it again. Kernels
run under the address and undefined-behaviour sanitizers.

It needs atheris: pip install atheris
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).resolve().parent
CORPUS, CRASHES = HERE / "corpus", HERE / "crashes"
SANITIZE = HERE.parent.parent / ".ci" / "sanitize"
HELPERS = [
    *(str(HERE.parent / folder) for folder in ("", "native")),
    str(HERE.parents[1] / "plugins/corelm-report/tests"),
]
"""Folders with modules of the other tests."""
PLUGINS = "corelm,corelm-grammar,corelm-lexical,corelm-p-less"
"""Those with readers of their own: an unknown name in an expression imports every plugin."""
OF_PLUGINS = ("corelm_grammar", "corelm_inspect_logs", "corelm_llama_cpp", "corelm_lm_eval_logs",
              "corelm_pages", "corelm_presets", "corelm_probe", "corelm_replay", "corelm_report",
              "corelm_stats", "corelm_study", "corelm_train")  # fmt: skip
"""Their modules, whose lines guide the fuzzer, too."""
TIMEOUT, MEMORY, LONGEST = 60, 2048, 8192
"""Seconds and MiB that one input may take, and its bytes."""
STATISTICS = ("number_of_executed_units", "peak_rss_mb")
KEPT = 60
"""Inputs of a target that the repository holds at most, the shortest ones."""


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["--worker"]:  # the fuzzer, in a process of its own
        work(arguments[1], arguments[2:])
        return 0
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--minutes", type=float, default=1.0, help="in all; default 1")
    parser.add_argument("--each", type=float, help="minutes of each target, in place of --minutes")
    parser.add_argument("--keep", action="store_true", help="add the new inputs to the corpus")
    parser.add_argument("--input", type=Path, help="run this input alone, and show the traceback")
    asked = parser.parse_args(arguments)
    known = [path.stem for path in sorted(CORPUS.glob("*.txt"))]
    if not set(asked.targets) <= set(known):
        parser.error(f"the targets are {', '.join(known)}")
    targets = asked.targets or known
    if asked.input:
        sys.path[:0] = HELPERS
        import outside  # noqa: F401 - more targets
        import targets as read_by

        for name in targets:
            read_by.attempt(name, asked.input.read_bytes())
        return 0
    seconds = 60 * (asked.each or asked.minutes / len(targets))
    failed = [name for name in targets if not fuzz(name, seconds, asked.keep)]
    print(
        f"{len(targets) - len(failed)} of {len(targets)} targets held; failed: {failed or 'none'}"
    )
    return bool(failed)


def fuzz(name: str, seconds: float, keep: bool) -> bool:
    """Fuzz one target; return whether it held."""
    CRASHES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="corelm-corpus-") as folder:
        inputs, fewest = Path(folder, "inputs"), Path(folder, "fewest")
        inputs.mkdir()
        fewest.mkdir()
        for data in read_corpus(name):
            (inputs / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
        start = os.times()
        done = start_worker(name, [inputs], max_total_time=max(1, round(seconds)))
        end = os.times()
        spent, busy = end.elapsed - start.elapsed, end.children_user - start.children_user
        busy += end.children_system - start.children_system
        inputs_tried, peak = (statistic(done.stdout, key) for key in STATISTICS)
        if keep and not done.returncode:
            done = start_worker(name, [fewest, inputs], set_cover_merge=1)  # it may fail as well
            if not done.returncode:
                write_corpus(name, (path.read_bytes() for path in fewest.iterdir()))
        state = "FAILED" if done.returncode else "held"
        print(
            f"{name}: {state}; {inputs_tried} inputs in {spent:.0f} s, "
            f"{busy:.0f} s of them on a processor; {peak} MiB at most",
            flush=True,
        )
        if done.returncode:
            print(done.stdout[-6000:], flush=True)
    return done.returncode == 0


def statistic(output: str, name: str) -> str:
    """Return a number of libFuzzer's; a question mark if the process ended without it."""
    return "".join(output.rpartition(f"stat::{name}:")[2].split()[:1]) or "?"


def start_worker(
    name: str, folders: list[Path], **options: int
) -> subprocess.CompletedProcess[str]:
    """Run libFuzzer in a process of its own, with options of libFuzzer."""
    memory = MEMORY * (2 if name == "kernels" else 1)  # the sanitizers need as much again
    options |= {"timeout": TIMEOUT, "rss_limit_mb": memory, "max_len": LONGEST}
    options |= {"use_value_profile": 1, "print_final_stats": 1}
    command = [
        *([str(SANITIZE)] if name == "kernels" else []),
        sys.executable, str(HERE / "run.py"), "--worker", name, *map(str, folders),
        *(f"-{option}={value}" for option, value in options.items()),
        f"-artifact_prefix={CRASHES}/{name}-",
    ]  # fmt: skip
    return subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        check=False,
    )  # fmt: skip


def work(name: str, arguments: list[str]) -> None:
    """Run libFuzzer on one target, guided by the lines of corelm that an input reaches."""
    import atheris

    sys.path[:0] = HELPERS
    with atheris.instrument_imports(include=["corelm", *OF_PLUGINS]):
        import outside  # noqa: F401 - more targets
        import targets

    def attempt(data: bytes) -> None:
        targets.attempt(name, data)

    # libFuzzer starts itself again to choose inputs, by a command that a shell reads.
    again = f"{sys.executable} {HERE / 'run.py'} --worker {name}"
    atheris.Setup([again, *arguments], attempt)
    atheris.Fuzz()


def read_corpus(name: str) -> list[bytes]:
    """Return the inputs of a target: a literal of Python a line, and comments."""
    lines = (CORPUS / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return [ast.literal_eval(line) for line in lines if line and not line.startswith("#")]


def write_corpus(name: str, inputs: Iterable[bytes]) -> None:
    """Add the shortest new inputs to the corpus."""
    file = CORPUS / f"{name}.txt"
    known = read_corpus(name)
    new = sorted(set(inputs) - set(known), key=lambda data: (len(data), data))
    new = [data for data in new if len(data) <= 300][: max(0, KEPT - len(known))]
    with file.open("a", encoding="utf-8") as opened:
        opened.writelines(f"{data!r}\n" for data in new)


if __name__ == "__main__":
    os.environ["CORELM_PLUGINS"] = PLUGINS
    sys.exit(main(sys.argv[1:]))
