"""Progress on terminals and in files, of downloads and reports and of training."""

from __future__ import annotations

import io
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import redirect_stderr
from pathlib import Path

import pytest
from corelm_train.cli.output import TrainingReport, training_report
from corelm_train.progress import TrainingPlan

from corelm.cli.output import messages
from corelm.cli.output.messages import bar_moves, duration, stages

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")
PLAN = TrainingPlan(
    weights=1234567, vocabulary=90, texts=2000, tokens=50000, rows=2000, steps_per_epoch=250,
    epochs=2, steps=500, steps_done=0, precision="float32", preset="small",
)  # fmt: skip


class FakeTerminal(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True

    @property
    def shown(self) -> str:
        """The text without control codes."""
        return CONTROL.sub("", self.getvalue())


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> FakeTerminal:
    """A terminal of 80 columns; `redirect_stderr` makes it standard error."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return FakeTerminal()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The time, which passes only where a test says so."""
    now = [0.0]
    monkeypatch.setattr(messages.time, "monotonic", lambda: now[0])
    return now


def test_bars_move_on_a_terminal_only(
    terminal: FakeTerminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    with redirect_stderr(terminal):
        assert bar_moves()
        monkeypatch.setenv("NO_COLOR", "1")
        assert not bar_moves()
    monkeypatch.setattr(sys, "stderr", None)
    assert not bar_moves()


def test_each_stage_has_a_bar_with_its_share(terminal: FakeTerminal) -> None:
    with redirect_stderr(terminal), stages("units") as show:
        show("teacher forcing", 1, 4)
        show("teacher forcing", 3, 4)
        show("figures", 0, 2)
    assert "teacher forcing" in terminal.shown
    assert "75%" in terminal.shown
    assert "figures" in terminal.shown
    assert terminal.getvalue().endswith("\x1b[1A\x1b[2K")  # the bars are wiped at the end


def test_bytes_are_shown_as_sizes(terminal: FakeTerminal) -> None:
    with redirect_stderr(terminal), stages() as show:
        show("download", 42_000_000, 84_000_000)
    assert "42.0/84.0 MB" in terminal.shown


def test_without_a_terminal_each_stage_has_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with stages() as show:
        for done in range(3):
            show("download", done, 2)
        show("unpack", 0, None)
    assert capsys.readouterr().err == "download ...\nunpack ...\n"


def test_a_training_in_lines(capsys: pytest.CaptureFixture[str], clock: list[float]) -> None:
    with training_report() as report:
        report.note("reading the texts")
        report.warn("few texts")
        report.started(PLAN)
        for done in range(1, 51):
            report.step(done, 500, 4.5)
            clock[0] += 2
        report.measured(1, 123.45)
        report.texts(1, {0.5: "a text", 1.0: "another"})
    assert capsys.readouterr().err.splitlines() == [
        "reading the texts ...",
        "warning: few texts",
        "training 1,234,567 weights in float32 on 50,000 tokens of 2,000 texts: "
        "2 x 250 steps (preset small)",
        "about 16:28 left",  # step 6: 494 steps of 2 seconds
        "step 25 of 500, loss 4.500, 15:50 left",
        "step 50 of 500, loss 4.500, 15:00 left",
        "epoch 1: held-out perplexity 123.5",
        "t=0.5: a text",
        "t=1: another",
    ]


def test_a_training_of_one_step_has_no_time_left(
    capsys: pytest.CaptureFixture[str], clock: list[float]
) -> None:
    with training_report() as report:
        report.step(1, 1, 2.25)
    assert capsys.readouterr().err == "step 1 of 1, loss 2.250\n"


def test_a_training_that_continues_says_how_far_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    with training_report() as report:
        report.started(TrainingPlan(**{**vars(PLAN), "steps_done": 100}))
        report.kept(Path("model.part"), 150, 500)
    assert report.checkpoint == Path("model.part")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].endswith("2 x 250 steps, 100 of them done (preset small)")
    assert lines[1] == "stopped after step 150 of 500; kept model.part"


def test_on_a_terminal_a_training_has_a_bar(terminal: FakeTerminal, clock: list[float]) -> None:
    with redirect_stderr(terminal), training_report() as report:
        report.step(1, 500, 4.5)
        report.step(25, 500, 3.25)
    assert "training" in terminal.shown
    assert "25/500 loss 3.250" in terminal.shown
    assert "step 25 of 500" not in terminal.shown  # the bar says it


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_ctrl_c_is_acknowledged_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGINT)
    with training_report() as report:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is before  # a second one does not wait
        # The import of TensorFlow may swallow the exception: the next event raises it again.
        with pytest.raises(KeyboardInterrupt):
            report.note("not written")
    assert capsys.readouterr().err == "stopping; this may take a moment ...\n"


def test_a_step_after_ctrl_c_raises() -> None:
    interrupt = threading.Event()
    report = TrainingReport(interrupt, lambda *step: None)
    interrupt.set()
    with pytest.raises(KeyboardInterrupt):
        report.step(1, 10, 1.0)


def test_in_another_thread_signals_are_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGINT)

    def train() -> None:
        with training_report() as report:
            report.note("reading")

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGINT) is before
    assert capsys.readouterr().err == "reading ...\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (59.6, "1:00"), (725, "12:05"), (3599, "59:59"), (12000, "3 h 20 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
