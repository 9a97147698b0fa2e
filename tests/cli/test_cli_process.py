"""The command line as a process: exit codes, pipes, terminals, locales, what is imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import corelm_launcher
import pytest
from programs import python

Run = Callable[..., Any]
EXPLAIN = ["explain", "--model", "toy", "the"]
REPORT = ["report", "--model", "toy", "greedy", "uniform", "-n", "2", "--length", "3"]
BENCH = ["bench", "--model", "toy", "the", "--batch", "1", "--length", "2", "--seconds", "0"]
GREEDY = ("sample", "--model", "toy", "--sampler", "greedy", "--seed", "1")
posix = pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell or terminal")
MANY = """
import ast, sys
from corelm.cli.app import main
print([main(words) for words in ast.literal_eval(sys.argv[1])], file=sys.stderr)
"""
"""A program that runs several command lines and prints their exit codes."""


@pytest.mark.slow
def test_the_console_script_does_the_same(toy: None) -> None:
    script = Path(sys.executable).with_name("corelm")
    done = subprocess.run([script, *GREEDY, "the", "--length", "1"], capture_output=True)
    assert (done.returncode, done.stdout) == (0, b"the cat\n")


@pytest.mark.slow
@pytest.mark.parametrize("own", [{}, {"OPENBLAS_THREAD_TIMEOUT": "26"}], ids=["by default", "own"])
def test_idle_threads_of_openblas_sleep_soon_unless_the_user_sets_otherwise(
    own: dict[str, str],
) -> None:
    program = """
import os, corelm_launcher, corelm.cli.app
corelm.cli.app.main = lambda: print(os.environ["OPENBLAS_THREAD_TIMEOUT"]) or 0
corelm_launcher.main()
"""
    others = {key: value for key, value in os.environ.items() if not key.startswith("OPENBLAS")}
    written = subprocess.check_output([sys.executable, "-c", program], env=others | own, text=True)
    assert int(written) == int(own.get("OPENBLAS_THREAD_TIMEOUT", corelm_launcher.SOON))


@pytest.mark.slow
def test_without_arguments_there_is_help(spawn: Run) -> None:
    result = spawn()
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("Usage: corelm [OPTIONS] COMMAND")


@pytest.mark.slow
def test_the_version(spawn: Run) -> None:
    result = spawn("--version")
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("corelm 0.")


@pytest.mark.packages
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["smaple"],
            "No such command 'smaple'. Did you mean 'sample', 'samplers'? See `corelm --help`",
        ),
        (["--foo"], "No such option: --foo; see `corelm --help`"),
        (["data"], "Missing command; see `corelm data --help`"),
        (["sample", "--t", "-1"], "t must be at least 0, not -1.0"),
    ],
)
def test_wrong_usage(run: Run, words: list[str], sentence: str) -> None:
    result = run(*words)
    assert (result.code, result.out) == (2, "")
    assert result.err.removeprefix("printed at import\n") == f"error: {sentence}\n"


@pytest.mark.slow
def test_a_prompt_from_standard_input(spawn: Run) -> None:
    assert spawn(*GREEDY, "-", "--length", "1", input=b"the\n").out == "the cat\n"
    assert spawn(*GREEDY, "-", "--length", "0", input=b"").out == "\n"


@pytest.mark.slow
def test_a_prompt_that_is_not_utf8(spawn: Run) -> None:
    result = spawn(*GREEDY, "-", input=b"ab\xffc")
    assert result == (2, "", "error: standard input is not UTF-8: byte 0xff at position 2\n")


@pytest.mark.slow
@posix
def test_an_argument_that_is_not_utf8(spawn: Run) -> None:
    result = spawn(*GREEDY, os.fsdecode(b"\xff"))
    assert result.code == 2
    assert (
        result.err == "error: the text on the command line is not UTF-8: byte 0xff at position 0\n"
    )


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs an endless device")
def test_an_endless_prompt_is_refused(spawn: Run) -> None:
    sentence = "is too long: more than 32 MiB\n"
    result = spawn(*GREEDY, "--prompt-file", "/dev/zero")
    assert result == (2, "", f"error: the prompt file /dev/zero {sentence}")
    with open("/dev/zero", "rb") as zeros:
        assert spawn(*GREEDY, "-", stdin=zeros) == (2, "", f"error: standard input {sentence}")


def shell(redirection: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command line with a redirection of the shell."""
    script = f'exec "$0" -m corelm "$@" {redirection}'
    return subprocess.run(["sh", "-c", script, sys.executable, *arguments], capture_output=True)


@pytest.mark.slow
@posix
def test_standard_input_that_is_closed(toy: None) -> None:
    done = shell("<&-", *GREEDY, "-")
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr == (b"error: standard input is closed: the prompt cannot be read from it\n")


@pytest.mark.slow
@posix
def test_standard_output_that_is_closed(toy: None) -> None:
    done = shell(">&-", *GREEDY)
    assert done.returncode == 1
    assert done.stderr == b"error: standard output is closed: there is nowhere to write to\n"


@pytest.mark.slow
@posix
def test_standard_error_that_is_closed(toy: None) -> None:
    assert shell("2>&-", *GREEDY, "the", "--length", "1").stdout == b"the cat\n"
    assert shell("2>&-", "sample", "--t", "-1").returncode == 2


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
def test_a_disk_that_is_full(toy: None) -> None:
    done = shell(">/dev/full", *GREEDY)
    assert done.returncode == 1
    assert done.stderr.endswith(
        b"error: standard output: No space left on device; make room, and try again\n"
    )


@pytest.mark.slow
@posix
@pytest.mark.parametrize(
    "words",
    [[*GREEDY, "-n", "5000"], [*GREEDY, "--length", "100000"], ["--help"], ["samplers"]],
)
def test_a_pipe_that_closes_ends_it_quietly(toy: None, words: list[str]) -> None:
    command = [sys.executable, "-m", "corelm", *words]
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE)
    finally:
        os.close(write)
    assert (done.returncode, done.stderr.replace(b"printed at import\n", b"")) == (0, b"")


@pytest.mark.slow
@posix
def test_interrupted_it_keeps_what_was_written_and_says_nothing(spawn: Run) -> None:
    words = ("sample", "--model", "toy", "--sampler", "interrupts", "--seed", "1", "the")
    assert spawn(*words) == (130, "the cat sat\n", "printed at import\n")
    assert spawn(*words, "--json") == (130, "", "printed at import\n")


@pytest.mark.slow
@posix
def test_interrupted_in_a_program_that_runs_as_text(spawn: Run) -> None:
    """As in the making of a dataclass: Python alone would end by the signal."""
    words = ("sample", "--model", "toy", "--sampler", "interrupts(text=true)", "the")
    assert spawn(*words).code == 130


@posix
def test_ctrl_c_during_the_first_imports_ends_it_quietly(tmp_path: Path) -> None:
    (tmp_path / "numpy.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    script = Path(sys.executable).with_name("corelm")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([script, "--version"], capture_output=True, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


@pytest.mark.slow
def test_messages_follow_the_output_before_them(toy: None, tmp_path: Path) -> None:
    command = ("-m", "corelm", *REPORT, "--json", str(tmp_path / "r.json"))
    both = python(*command, capture_output=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert both.stdout.splitlines()[-1] == f"written to {tmp_path / 'r.json'}"


LOUD = """
import os
import subprocess
import sys

import corelm

class Loud(corelm.Sampler):
    def __call__(self, logits, context):
        os.write(1, b"descriptor ")
        sys.__stdout__.write("stream ")
        print("function", file=sys.__stdout__, flush=True)
        subprocess.run([sys.executable, "-c", "print('child')"])
        return corelm.apply_temperature(logits, 0)

@corelm.hookimpl
def corelm_samplers():
    return {"loud": Loud}
"""


@pytest.mark.slow
@pytest.mark.parametrize("form", [["--json"], ["--no-stream"], []])
def test_no_way_of_writing_at_a_step_reaches_standard_output(
    spawn: Run, installed_plugin: Run, form: list[str]
) -> None:
    installed_plugin("corelm-loud", {"loud": "corelm_loud"}, LOUD)
    words = ("sample", "--model", "toy", "--sampler", "loud", "--seed", "1", "the", "--length", "2")
    result = spawn(*words, *form)
    assert result.code == 0
    if form == ["--json"]:
        assert [text["text"] for text in result.json["texts"]] == [" cat sat"]
    else:
        assert result.out == "the cat sat\n"
    for way in ("descriptor", "stream", "function", "child"):
        assert result.err.count(way) == 2


@pytest.mark.slow
@posix
@pytest.mark.parametrize(
    "locale",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "C", "COLUMNS": "20"},
        {"LC_ALL": "de_DE.ISO-8859-1", "COLUMNS": "0"},
        {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii", "COLUMNS": "wide"},
    ],
)
def test_any_locale_and_width(spawn: Run, locale: dict[str, str]) -> None:
    commands = [["samplers"], ["samplers", "temperature"], [*EXPLAIN, "--token", "cat"]]
    commands += [["presets"], ["plugins"], ["sample", "--help"]]
    done = python("-c", MANY, ascii(commands), env=locale, text=False)
    assert done.stderr.splitlines()[-1] == b"[0, 0, 0, 0, 0, 0]"
    first = [*GREEDY, "naïve 🎬", "--length", "0"]
    for each in first, REPORT:  # standard output is a pipe, and has a descriptor of its own
        python("-m", "corelm", *each, env=locale, text=False, check=True)
    arguments = (*GREEDY, "naïve 🎬".encode(), "--length", "0", "--json")
    assert spawn(*arguments, env={**os.environ, **locale}).json["prompt"] == "naïve 🎬"


@pytest.mark.slow
def test_without_a_home(spawn: Run, tmp_path: Path) -> None:
    homes = ("CORELM_HOME", "HOME", "XDG_DATA_HOME")
    environment = {k: v for k, v in os.environ.items() if k not in homes}
    assert spawn("models", env=environment).code == 0
    strange = {**os.environ, "CORELM_HOME": str(tmp_path / "a folder — höme")}
    assert spawn("models", env=strange).code == 0
    assert not list(tmp_path.iterdir())
    assert spawn(*REPORT, env=strange).code == 0


HEAVY = (
    *("keras", "tensorflow", "scipy", "pandas", "matplotlib", "jinja2", "jax", "torch"),
    "pydantic",
)


LIGHT = [
    *(["--help"], ["samplers"], ["samplers", "greedy"], ["plugins"], ["models"], [*GREEDY]),
    *(EXPLAIN, REPORT, BENCH),
]


@pytest.mark.slow
def test_nothing_heavy_is_imported(toy: None) -> None:
    code = f"""
import sys
from corelm.cli.app import main
for words in {LIGHT}:
    assert main(words) == 0
    assert not set({HEAVY}) & set(sys.modules), (words, set({HEAVY}) & set(sys.modules))
"""
    done = python("-c", code)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_help_imports_neither_rich_nor_plugins(toy: None) -> None:
    code = (
        "import sys; from corelm.cli.app import main; main(['--help']);"
        "names = {'rich', 'pydantic', 'corelm_toy', 'corelm_samplers.greedy'} & set(sys.modules);"
        "print(*sorted(names), 'is all', file=sys.stderr)"
    )
    done = python("-c", code)
    assert done.stderr.strip() == "is all"


@pytest.mark.slow
def test_sample_imports_nothing_slow_that_it_does_not_use() -> None:
    code = (
        "import sys; before = set(sys.modules);"
        "from corelm.cli.app import main; main(sys.argv[1:]);"
        "names = {'email', 'importlib.metadata', 'keras', 'platformdirs', 'rich', 'safetensors'};"
        "print(*sorted(names & set(sys.modules) - before), 'is all', file=sys.stderr)"
    )
    words = ["sample", "--sampler", "temperature", "--length", "1", "--seed", "1"]
    done = python("-c", code, *words)
    assert done.stderr.strip() == "is all"


WITHOUT_KERAS = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("keras", "tensorflow"):
            raise ModuleNotFoundError(f"No module named {name!r}")
sys.meta_path.insert(0, Hidden())
from corelm.cli.app import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "purpose"),
    [
        (["train", "--data", __file__, "--out", "m"], "training"),
        (["sample", "--model", "m.keras"], "a .keras file"),
        (["models", "export", "imdb", "--to", "m.keras"], "writing a .keras file"),
    ],
)
def test_without_keras_the_command_that_installs_it_is_shown(
    tmp_path: Path, words: list[str], purpose: str
) -> None:
    done = python("-c", WITHOUT_KERAS, *words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert line.startswith(f"error: {purpose} needs Keras ")
    assert line.endswith('install them with: pip install "corelm[train]"')
    assert not list(tmp_path.iterdir())


def in_terminal(*arguments: str, **environment: str) -> str:
    """Return the output of Python on a terminal."""
    pty = pytest.importorskip("pty")
    parent, child = pty.openpty()
    env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "40", **environment}
    env.pop("NO_COLOR", None)
    env.update({name: value for name, value in environment.items() if value})
    command = [sys.executable, *arguments]
    with subprocess.Popen(command, stdout=child, stderr=child, stdin=child, env=env):
        os.close(child)
        written = b"".join(iter(lambda: _read(parent), b""))
    os.close(parent)
    return written.decode().replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # the other end is closed
        return b""


@pytest.mark.slow
@posix
def test_a_terminal_gets_a_bold_prompt_and_lines_broken_between_words(toy: None) -> None:
    written = in_terminal("-m", "corelm", *GREEDY, "the", "--length", "12")
    assert written.removeprefix("printed at import\n") == (
        "\x1b[1mthe\x1b[0m cat sat on the cat sat on the cat\nsat on the\n"
    )


@pytest.mark.slow
@posix
@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_control_codes_where_they_are_not_wanted(toy: None, environment: dict[str, str]) -> None:
    commands = [
        *([*GREEDY, "-n", "2"], EXPLAIN, ["samplers"], ["samplers", "temperature"], ["plugins"]),
        *(["--help"], ["sample", "--t", "-1"], ["sample", "--help"]),
    ]
    written = in_terminal("-c", MANY, repr(commands), **environment)
    assert written.splitlines()[-1] == "[0, 0, 0, 0, 0, 0, 2, 0]"
    assert "\x1b" not in written


@pytest.mark.slow
def test_no_control_codes_in_a_file() -> None:
    environment = {"FORCE_COLOR": "1", "GITHUB_ACTIONS": "true", "TERM": "xterm"}
    commands = [["samplers", "temperature"], ["--help"], ["sample", "--t", "-1"]]
    done = python("-c", MANY, repr(commands), env=environment)
    assert done.stderr.splitlines()[-1] == "[0, 0, 2]"
    assert "\x1b" not in done.stdout + done.stderr


COMPLETED = {
    "corelm mod": "models",
    "corelm sample --sampler greed": "greedy",
    "corelm sample --decoder anc": "ancestral",
    "corelm sample --model to": "toy",
    "corelm samplers every": "everything",
    "corelm explain --sampler every": "everything",
    "corelm explain --preset vl": "vllm",
    "corelm presets ker": "keras-hub",
    "corelm decoders anc": "ancestral",
    "corelm train --preset rn": "rnn",
    "corelm train --tokens char": "characters",
    "corelm train --precision flo": "float32",
    "corelm sample --sampler everything --t-m": "--t-min",
    "corelm sample --sampler everything --mode b": "b",
    "corelm sample --decoder wide --wid": "--width",
}


@pytest.mark.slow
def test_the_shell_completes_names(toy: None) -> None:
    program = f"""
import os
from corelm.cli.app import main
for line in {[*COMPLETED]}:
    asked = {{"COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1)}}
    os.environ.update(asked, _CORELM_COMPLETE="complete_bash")
    try:
        main([])
    except SystemExit as end:  # as Typer ends it
        assert not end.code
    print(";", flush=True)
"""
    done = python("-c", program)
    found = [names.split() for names in done.stdout.split(";")]
    assert found[:-1] == [[name] for name in COMPLETED.values()]


LATE = """
import atexit, os, threading, time
import corelm

class Late(corelm.Sampler):
    def __call__(self, logits, context):
        atexit.register(lambda: (print("atexit"), os.write(1, b"raw")))
        threading.Thread(target=lambda: (time.sleep(0.5), print("thread"))).start()
        return logits

@corelm.hookimpl
def corelm_samplers():
    return {"late": Late}
"""


@pytest.mark.slow
def test_late_output_of_a_plugin_stays_behind_no_document(
    toy: None, installed_plugin: Callable[..., Path]
) -> None:
    installed_plugin("corelm-late", {"late": "corelm_late"}, LATE)
    words = ["sample", "--model", "toy", "--sampler", "late", "the", "--length", "1", "--json"]
    done = python("-m", "corelm", *words)
    assert json.loads(done.stdout)
    assert done.returncode == 0
    for word in ("atexit", "raw", "thread"):
        assert word in done.stderr


BETWEEN = """
import os, sys, threading
import corelm.cli.app

def write():
    print("printed")
    os.write(1, b"raw")

def run(words):  # at its start no plugin runs in the main thread
    thread = threading.Thread(target=write)
    thread.start()
    thread.join()
    sys.__stdout__.write("stream")
    print("product")
    return 0

corelm.cli.app.run = run
corelm.cli.app.main()
"""


def test_threads_reach_standard_output_at_no_time() -> None:
    """Also between the import of a plugin and the start of the command."""
    done = python("-c", BETWEEN)
    assert done.stdout.split() == ["product"]
    for word in ("printed", "raw", "stream"):
        assert word in done.stderr
