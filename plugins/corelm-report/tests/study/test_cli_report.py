"""`corelm report`: the table, the files, the conditions, wrong usage, and Ctrl-C."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from programs import python
from waiting import WAITS, lines

from corelm_report import schema

Run = Callable[..., Any]
TOY = ("report", "--model", "toy", "-n", "12", "--length", "8")
posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home and a folder of one's own."""
    monkeypatch.setenv("CORELM_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def report(run: Run) -> Run:
    """A function that makes a small report of greedy and uniform."""
    return lambda *more: run(*TOY, "greedy", "uniform", *more)


# The table


def test_a_table_and_what_it_says(report: Run) -> None:
    result = report()
    assert result.code == 0
    lines = result.out.splitlines()
    said = lines.index("")
    assert said <= 3  # the verdict is short
    assert " ".join(lines[:said]).endswith("nothing is compared with human text.")
    # There are no people to compare with.
    assert lines[said + 1].split()[:5] == ["entropy", "of", "2.40", "mass", "kept"]
    assert [line.split()[0] for line in lines[said + 2 : said + 4]] == ["greedy", "uniform"]
    assert "--details" in lines[-1]
    assert "means over the same" not in result.out
    assert "Entropy and mass kept: means over the same " in report("--details").out
    assert "generated texts ..." in result.err


def test_people_stand_first(report: Run, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("the cat sat\nthe dog sat on the mat\n")
    result = report("--reference", "texts.txt", "--against", "human")
    table = [line.split() for line in result.out.partition("\n\n")[2].splitlines()]
    assert table[0][:6] == ["entropy", "of", "2.40", "surprisal", "to", "human"]
    assert [line[0] for line in table[1:4]] == ["human", "greedy", "uniform"]
    assert table[3][4].startswith("+")


@pytest.mark.slow
def test_prompts_are_the_beginnings_of_human_texts(report: Run, tmp_path: Path) -> None:
    words = ["cat", "dog", "mat", "on", "ran", "sat", "saw", "the", "under"]
    (tmp_path / "texts.txt").write_text("".join(f"{word} and the cat sat\n" for word in words))
    result = report("--reference", "texts.txt", "--prompts-from-reference", "1", "--json", "-")
    assert sorted(result.json["header"]["prompts"]) == words
    assert result.json["reference"]["generated_texts"]["n"] == len(words)


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 200])
def test_it_fits_the_terminal(run: Run, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    chain = "top_k(k=3) | top_p(p=0.9) | temperature(t=0.7)"
    result = run(*TOY, "greedy", chain, "fails(at=2)")
    assert result.code == 3
    assert max(map(len, result.out.splitlines())) <= width
    words = "".join(result.out.split())
    parts = ("top_k(k=3)", "top_p(p=0.9)", "temperature(t=0.7)")
    assert all(part in words for part in parts)
    assert "fails(at=2)failed" in words


@pytest.mark.slow
def test_a_hostile_prompt_stays_text(report: Run, tmp_path: Path) -> None:
    prompt = '<script>alert(1)</script> "[bold]the[/bold]" \x1b]52;c;bHM=\x07 | `cat`'
    (tmp_path / "prompts.txt").write_text(f"{prompt}\n\n  \nthe\n")
    files = ("--json", "r.json", "--html", "r.html", "--markdown", "r.md", "--csv", "r.csv")
    result = report("--prompts", "prompts.txt", *files, "--details")
    assert result.code == 0
    assert "\x1b" not in result.out + result.err
    assert '<script>alert(1)</script> "[bold]the[/bold]"' in " ".join(result.out.split())
    document = json.loads((tmp_path / "r.json").read_text())
    assert document["header"]["prompts"] == [prompt, "the"]
    page = (tmp_path / "r.html").read_text("utf-8")
    assert "<script>alert" not in page
    assert "\x1b" not in page
    assert "<script>" not in (tmp_path / "r.md").read_text("utf-8")


# Files


@pytest.mark.slow
def test_every_form_is_written(report: Run, tmp_path: Path) -> None:
    files = {form: f"a report.{form}" for form in ("json", "csv", "markdown", "html")}
    result = report(
        *(word for form, file in files.items() for word in (f"--{form}", file)), "--plots", "a/b"
    )
    assert result.code == 0
    document = json.loads((tmp_path / files["json"]).read_text(), parse_constant=pytest.fail)
    jsonschema.validate(document, schema())
    assert document["header"]["command"].startswith("corelm report --model toy -n 12 ")
    assert document["header"]["command"].endswith("--html 'a report.html' --plots a/b")
    lines = list(csv.DictReader(io.StringIO((tmp_path / files["csv"]).read_text())))
    assert {line["sampler"] for line in lines} == {"greedy", "uniform"}
    assert "| `greedy` | 0.00 |" in (tmp_path / files["markdown"]).read_text()
    assert (tmp_path / files["html"]).read_text("utf-8").startswith("<!doctype html>")
    assert {file.suffix for file in (tmp_path / "a" / "b").iterdir()} == {".png", ".svg", ".pdf"}
    written = [line for line in result.err.splitlines() if line.startswith("written to")]
    assert written == [f"written to {path}" for path in (*files.values(), "a/b")]


@pytest.mark.slow
def test_a_form_on_standard_output_stands_there_alone(report: Run) -> None:
    assert [row["sampler"] for row in report("--json", "-").json["samplers"]] == [
        "greedy",
        "uniform",
    ]
    assert report("--csv", "-").out.startswith("sampler,view,metric,value,low,high,n,")
    assert report("--html", "-").out.startswith("<!doctype html>")


def test_a_file_that_is_there_is_replaced_and_a_link_stays_one(report: Run, tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_text("old")
    (tmp_path / "link.csv").symlink_to("old.csv")
    assert report("--csv", "link.csv").code == 0
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "old.csv").read_text().startswith("sampler,")
    assert sorted(path.name for path in tmp_path.glob("*.csv")) == ["link.csv", "old.csv"]


@posix
def test_devices_and_pipes_are_written_to(report: Run) -> None:
    assert report("--csv", os.devnull).code == 0
    assert not Path(os.devnull).is_file()


@pytest.mark.parametrize(
    ("code", "words", "says"),
    [
        (1, ["--html", "no/r.html"], "/no is not a folder"),
        (1, ["--html", "."], "': it is a folder; give a file in it"),
        (1, ["--json", "file/r.json"], "/file is not a folder"),
        (1, ["--plots", "file"], "cannot write to 'file': "),
        (1, ["--plots", "file/plots"], "cannot write to 'file/plots': "),
        pytest.param(
            1,
            ["--html", "/proc/report.html"],
            "cannot write to '/proc/report.html': ",  # not even by root
            marks=pytest.mark.skipif(sys.platform != "linux", reason="needs /proc"),
        ),
        (2, ["--json", "a", "--csv", "./a"], "two forms of the report cannot go to one file"),
        (2, ["--json", "-", "--csv", "-"], "two forms of the report cannot go to one file"),
        (2, ["-n", "0"], "n must be at least 1, not 0"),
        (2, ["-n", "x"], "n must be a whole number, not 'x'"),
        (2, ["--prompts-from-reference", "1"], "prompts from the reference need human texts: give"),
        (
            2,
            ["--match", "human_recall=0.9"],
            "human_recall needs human contexts: give some as the ref",
        ),
        (2, ["--contexts", "0"], "contexts must be at least 1, not 0"),
        (2, ["--prompts", "no.txt"], "cannot read the prompt file no.txt"),
        (2, ["--prompts", "empty.txt"], "there is no prompt in empty.txt"),
        (2, ["nucleus"], "there is no sampler or decoder 'nucleus'"),
        (2, ["--fail-if", "greedy.lops > 1"], "did you mean 'loops'?"),
        (2, ["--htlm", "x"], "No such option: --htlm"),
        (2, ["--sampler", "top_p"], "; samplers have no option: write them as words"),
        (2, ["--top-k", "40"], "No such option: --top-k; top_k is a sampler, written as top_k(k="),
    ],
)
def test_what_cannot_be_done_is_refused_before_the_work(
    report: Run, tmp_path: Path, code: int, words: list[str], says: str
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "empty.txt").write_text("\n \n")
    result = report(*words)
    assert (result.code, result.out) == (code, "")
    assert says in result.err
    assert "teacher forcing" not in result.err


def test_a_reference_that_is_not_there(report: Run) -> None:
    result = report("--reference", "no")
    assert (result.code, result.out) == (1, "")
    assert "error: 'no' does not exist" in result.err


# What fails


@pytest.mark.slow
def test_a_sampler_that_fails_is_a_row_and_the_exit_code_is_3(run: Run, tmp_path: Path) -> None:
    result = run(*TOY, "greedy", "fails(at=3)", "ends", "uniform", "--json", "r.json")
    assert result.code == 3
    document = json.loads((tmp_path / "r.json").read_text())
    jsonschema.validate(document, schema())
    failed = [row["sampler"] for row in document["samplers"] if row["error"]]
    assert failed == ["fails(at=3)", "ends"]
    assert "\x1b" not in result.out + result.err
    assert "fails(at=3) failed: at step 3: ValueError: " in result.out
    assert "broken" in result.out
    assert "uniform" in result.out


@pytest.mark.parametrize(("others", "code"), [(["greedy"], 3), ([], 1)])
def test_failures_are_warnings_when_there_is_no_table(
    run: Run, others: list[str], code: int
) -> None:
    result = run(*TOY, *others, "fails(at=3)", "--csv", "-")
    assert result.code == code
    assert "warning: fails(at=3) failed: at step 3: ValueError: " in result.err


METRICS = """
import corelm


class Words(corelm.SetMetric):
    meaning = "the words of a text"

    def figure(self, tokens, texts):
        print("printed by a metric")
        return sum(len(text.split()) for text in texts) / len(texts)


class Leaves(corelm.SetMetric):
    meaning = "nothing"

    def figure(self, tokens, texts):
        raise SystemExit("\x1b[31mno")


class Interrupts(Leaves):
    def figure(self, tokens, texts):
        raise KeyboardInterrupt


@corelm.hookimpl
def corelm_metrics():
    return {"words": Words, "leaves": Leaves, "interrupts": Interrupts}
"""


def test_metrics_of_plugins(report: Run, installed_plugin: Run, tmp_path: Path) -> None:
    installed_plugin("corelm-words", {"words": "corelm_words"}, METRICS)
    conditions = ("--fail-if", "greedy.words > 90", "--fail-if", "uniform.corelm-words:words > 90")
    result = report("--metric", "words", *conditions, "--json", "report.json", "--details")
    assert result.code == 0
    assert result.out.partition("\n\n")[2].splitlines()[0].split()[-1] == "words"
    assert "words: the words of a text" in " ".join(result.out.split())
    assert "printed by a metric" in result.err


def test_a_metric_that_fails_costs_its_figure_alone(
    report: Run, run: Run, installed_plugin: Run, tmp_path: Path
) -> None:
    installed_plugin("corelm-words", {"words": "corelm_words"}, METRICS)
    result = report(
        "--metric", "leaves", "--metric", "words", "--csv", "-", "--json", "report.json"
    )
    assert result.code == 3
    names = {row[2] for row in csv.reader(io.StringIO(result.out))}
    assert {"corelm-words:words", "loops"} <= names
    assert "corelm-words:leaves" not in names
    failed = [
        f"{name}.corelm-words:leaves failed: SystemExit: [31mno" for name in ("greedy", "uniform")
    ]
    warned = [line for line in result.err.splitlines() if line.startswith("warning: ")]
    assert [line.removeprefix("warning: ") for line in warned if "leaves" in line] == failed
    again = run("report", "--from", "report.json", "--fail-if", "greedy.leaves > 0")
    assert again.code == 1
    assert "error: greedy.leaves > 0: the metric failed: SystemExit: [31mno" in again.err
    assert failed[0] in " ".join(again.out.split())


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("wods", "there is no metric 'wods'; did you mean 'words'?"),
        ("broken", "the metric 'broken' cannot be used: plugin corelm-broken:broken failed: "),
    ],
)
def test_a_metric_that_is_not_there(
    report: Run, installed_plugin: Run, name: str, error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CORELM_PLUGINS", "corelm-report,corelm-toy,corelm-words,corelm-broken")
    installed_plugin("corelm-words", {"words": "corelm_words"}, METRICS)
    installed_plugin("corelm-broken", {"broken": "corelm_broken"}, "1 / 0")
    result = report("--metric", name)
    assert (result.code, result.out) == (2, "")
    assert error in result.err


def test_conditions_that_hold_are_errors_and_the_exit_code_is_1(report: Run) -> None:
    result = report("--fail-if", "uniform.entropy > 2", "--fail-if", "greedy.entropy > 0")
    assert result.code == 1
    [line] = [line for line in result.err.splitlines() if line.startswith("error:")]
    assert line == ("error: uniform.entropy > 2: it is 2.398, 95% interval 2.398 to 2.398")
    assert "uniform" in result.out


def test_a_condition_about_a_sampler_that_failed_holds(run: Run) -> None:
    result = run(*TOY, "greedy", "fails(at=3)", "--fail-if", "fails.loops > 0.5")
    assert result.code == 1
    assert "error: fails.loops > 0.5: fails(at=3) failed at step 3" in result.err


# Again, without a model


@pytest.mark.slow
def test_a_report_is_written_again_without_a_model(report: Run, run: Run, tmp_path: Path) -> None:
    made = report("--json", "r.json", "--html", "r.html", "--markdown", "r.md")
    again = run("report", "--from", "r.json", "--json", "2.json", "--html", "2.html",
                "--markdown", "2.md")  # fmt: skip
    assert (again.code, again.out) == (0, made.out)
    for form in ("json", "html", "md"):
        assert (tmp_path / f"2.{form}").read_bytes() == (tmp_path / f"r.{form}").read_bytes()


@pytest.mark.slow
def test_two_reports_are_compared(report: Run, run: Run, tmp_path: Path) -> None:
    report("--json", "a.json")
    other = json.loads((tmp_path / "a.json").read_text())
    [*_, last] = other["samplers"]
    last["teacher_forced"]["entropy"].update(mean=0.5, ci95=[0.4, 0.6])
    (tmp_path / "b.json").write_text(json.dumps(other))
    words = ("--json", "d.json", "--markdown", "d.md")
    changed = run("report", "--diff", "a.json", "b.json", *words)
    assert changed.code == 1
    assert "entropy.mean" in changed.out
    assert json.loads((tmp_path / "d.json").read_text())["schema"] == "corelm_report-diff/1"
    assert "entropy.mean" in (tmp_path / "d.md").read_text().replace("\\", "")
    for given, says in (
        (("--html", "x.html"), "--diff writes a table, --markdown and --json: leave out --html"),
        (("--from", "a.json"), "leave out --from"),
        (("--seed", "3"), "--diff measures nothing: leave out --seed"),
    ):
        refused = run("report", "--diff", "a.json", "b.json", *given)
        assert (refused.code, says in refused.err) == (2, True)
    assert run("report", "--diff", "a.json", "no.json").code == 1


@pytest.mark.slow
def test_no_model_is_loaded_for_it(report: Run, tmp_path: Path) -> None:
    report("--json", "r.json")
    code = (
        "import sys; from corelm.cli.app import main; code = main(['report', '--from', 'r.json']);"
        "names = {'corelm.models.numpy_model', 'corelm_toy', 'matplotlib', 'jinja2', 'keras'};"
        "names |= {'corelm.numerics', 'corelm.contracts.sampling', 'corelm.native'};"
        "names |= {'corelm.contracts.language_model'};"
        "names |= {'corelm_report.measure', 'corelm_report.plan'};"
        "print(code, sorted(names"
        " & set(sys.modules)), file=sys.stderr)"
    )
    done = python("-c", code)
    assert done.stderr.splitlines()[-1] == "0 []"


def test_a_file_that_is_not_a_report(run: Run, tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (tmp_path / "other.json").write_text('{"name": "other"}')
    for name, says in (
        ("deep.json", "it is not JSON"),
        ("other.json", "it names no schema, so corelm did not write it"),
        ("no.json", "it is missing"),
    ):
        result = run("report", "--from", name, "--html", "r.html")
        assert (result.code, result.out) == (1, "")
        assert result.err.startswith(f"error: '{name}' is not a report: {says}")
        assert len(result.err.splitlines()) == 1
    assert not (tmp_path / "r.html").exists()


@pytest.mark.parametrize(
    ("words", "what"),
    [(["greedy"], "a sampler"), (["-n", "64"], "-n"), (["--resume"], "--resume"),
     (["--match", "entropy=3"], "--match"), (["--contexts", "3"], "--contexts"),
     (["--model", "imdb"], "--model")],
)  # fmt: skip
def test_nothing_that_is_given_is_ignored(run: Run, words: list[str], what: str) -> None:
    result = run("report", "--from", "r.json", *words)
    assert (result.code, result.out) == (2, "")
    assert result.err == f"error: --from measures nothing: leave out {what}\n"


# Interrupted

LONG = ("report", "waits", "greedy", "temperature(t=0.5)", "waits | temperature(t=0.7)", "--model",
        "toy", "-n", "130", "--length", "8", "--json", "r.json")  # fmt: skip


@pytest.fixture
def waits(installed_plugin: Callable[..., Path], tmp_path: Path) -> Path:
    """A package with a sampler that goes no further than the environment says."""
    installed_plugin("corelm-waits", dict.fromkeys(("waits", "toy"), "corelm_waits"), WAITS)
    return tmp_path


def corelm(*words: str, **environment: str) -> subprocess.Popen[str]:
    """A command line under way."""
    return subprocess.Popen(
        [sys.executable, "-m", "corelm", *words],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def units(home: Path) -> int:
    """Return the number of units of work in the journal."""
    return lines() - len([*home.glob("reports/*.jsonl")])


def interrupted(home: Path, after: int, sent: int, *more: str) -> subprocess.Popen[str]:
    """Send a signal to a report when it has finished some units."""
    process = corelm(*LONG, *more, WAIT=str(after + 1))  # the first line is no unit
    while units(home) < after and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(sent)
    process.out, process.err = process.communicate()  # type: ignore[attr-defined]
    return process


def without_time(document: dict[str, Any]) -> bytes:
    """A report without what tells one run from another."""
    for name in ("created", "command"):
        del document["header"][name]
    return json.dumps(document).encode()


@pytest.mark.slow
@posix
def test_after_ctrl_c_resume_ends_with_the_same_report(waits: Path, home: Path) -> None:
    """A real SIGINT, twice: while it measures on the same contexts, and while it draws texts."""
    whole = corelm(*LONG)
    whole.communicate()
    assert whole.returncode == 0
    unbroken = without_time(json.loads((waits / "r.json").read_text()))
    (waits / "r.json").unlink()

    first = interrupted(home, 3, signal.SIGINT)
    assert (first.returncode, first.out) == (130, "")
    assert (
        first.err.splitlines()[-1] == "the finished parts are kept; --resume continues the report"
    )
    assert "Traceback" not in first.err
    kept = units(home)
    assert kept >= 3

    second = interrupted(home, kept + 8, signal.SIGINT, "--resume")
    assert second.returncode == 130
    assert "generated texts ..." in second.err
    assert units(home) >= kept + 8
    assert not (waits / "r.json").exists()

    last = corelm(*LONG, "--resume")
    last.communicate()
    assert last.returncode == 0
    assert without_time(json.loads((waits / "r.json").read_text())) == unbroken
    assert list((home / "reports").iterdir()) == []


@pytest.mark.slow
@posix
def test_after_a_kill_too(waits: Path, home: Path) -> None:
    assert interrupted(home, 5, signal.SIGKILL).returncode == -signal.SIGKILL
    kept = units(home)
    last = corelm(*LONG, "--resume")
    last.communicate()
    assert kept >= 5
    assert last.returncode == 0


@pytest.mark.slow
def test_ctrl_c_while_the_files_are_written_keeps_what_is_done(
    report: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(document: object) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("corelm_pages.page.page", interrupt)
        result = report("greedy", "--html", "r.html")
    assert result.code == 130
    last = "the finished parts are kept; --resume continues the report"
    assert result.err.splitlines()[-1] == last
    assert not Path("r.html").exists()
    assert units(home) > 0
    assert report("greedy", "--html", "r.html", "--resume").code == 0
    assert units(home) == 0


@pytest.mark.slow
def test_a_report_that_cannot_be_written_is_kept(report: Run, run: Run, home: Path) -> None:
    """The folder goes away during the work; nothing of it is lost."""
    folder = home.parent / "out"
    folder.mkdir()
    (folder / "r.csv").symlink_to(home.parent / "gone" / "r.csv")
    (home.parent / "gone").mkdir()
    words = ("fails(at=99)", "--csv", "out/r.csv")

    def gone(document: object, level: str) -> str:
        (home.parent / "gone").rmdir()
        return "the content"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("corelm_pages.frames.to_csv", gone)
        assert report(*words).code == 1
    assert units(home) >= 3
    (home.parent / "gone").mkdir()
    assert report(*words, "--resume").code == 0


def test_an_interrupted_report_is_not_continued_with_other_code(
    report, installed_plugin, monkeypatch
):
    installed_plugin("corelm-words", {"words": "corelm_words"}, METRICS)
    words = ("greedy", "--metric", "interrupts")
    assert report(*words).code == 130
    monkeypatch.setattr("corelm.scaling.dependencies._digest", lambda package: "0" * 16)
    done = report(*words, "--resume")
    assert done.code == 2
    assert "the interrupted report has other settings: other code: " in done.err
    assert ": class corelm_words.Interrupts, corelm, corelm_report, " in done.err
