"""A report and its forms: one document, read back as it was written; the extra that it needs."""

from __future__ import annotations

import json
import sys

import pytest

import corelm
from corelm.errors import MissingDependencyError, ReportError
from corelm.testing import ToyModel


@pytest.fixture
def report(made):
    return corelm.Report(made)


def test_a_run_passes_its_document_on():
    """The forms of a report that was just made are those of its JSON, read again."""
    made_now = corelm.compare(
        ToyModel(), ["greedy", "temperature(t=0.5)"], prompts=["the", "a cat"], n=8, length=8,
        against="greedy",
    )  # fmt: skip
    again = corelm.Report(made_now.to_dict())
    for form in ("to_json", "to_csv", "to_markdown", "to_html", "to_latex"):
        assert getattr(again, form)() == getattr(made_now, form)()


def test_it_cannot_be_changed_from_outside(made):
    mine = dict(made)
    report = corelm.Report(mine)
    before = report.to_json()
    report.to_dict()["samplers"].clear()
    mine["samplers"] = []
    assert report.to_json() == before


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is not JSON"),
        (b"not json", "it is not JSON"),
        (b"\xff\xfe", "it is not UTF-8"),
        (b"[]", "it must be a JSON object, not []"),
        (b'{"schema": NaN}', "it is not JSON"),
        (b'{"schema": 1e999}', "it is not JSON"),
        (b"[" * 200_000, "it is not JSON"),
        (b'{"a":' * 200_000, "it is not JSON"),
        (b'{"schema": ' + b"9" * 5000 + b"}", "it is not JSON"),
        (b'{"name": "x"}', "it names no schema, so corelm did not write it"),
        (
            b'{"schema": "corelm.report/1"}',
            "it follows 'corelm.report/1'; this version of corelm reads corelm.report/4: use the "
            "version that wrote it, or make the report again",
        ),
        (b'{"schema": "corelm.report/4"}', "it does not follow corelm.report/4: header is missing"),
        (b'{"schema": ' + b"[" * 100 + b"]" * 100 + b"}", "it follows ["),
    ],
)
def test_wrong_files_are_refused(tmp_path, content, reason):
    file = tmp_path / "report.json"
    file.write_bytes(content)
    with pytest.raises(ReportError) as refused:
        corelm.Report.read(file)
    message = str(refused.value)
    assert message.startswith(f"{str(file)!r} is not a report: {reason}")
    assert "\n" not in message
    assert len(message) < 400


def test_a_truncated_file_is_refused(report, tmp_path):
    whole = report.to_json().encode()
    file = tmp_path / "report.json"
    for at in range(0, len(whole) - 2, len(whole) // 50):
        file.write_bytes(whole[:at])
        with pytest.raises(ReportError, match="is not a report: it is not JSON"):
            corelm.Report.read(file)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ReportError, match="is not a report: it is missing"):
        corelm.Report.read(tmp_path / "no.json")
    with pytest.raises(ReportError, match="is not a report: it isn't a regular file"):
        corelm.Report.read(tmp_path)


def test_a_report_with_further_keys_is_read(made):
    more = made | {"more": {"of": ["anything", json.loads("[" * 200 + "]" * 200)]}}
    assert corelm.Report(more).to_dict()["more"] == more["more"]


@pytest.mark.slow
def test_values_that_json_cannot_hold_are_refused(made):
    for value in ({1, 2}, float("inf"), endless()):
        with pytest.raises(ReportError, match="it holds a value that JSON cannot"):
            corelm.Report(made | {"more": value})


def endless():
    """A list that holds itself."""
    value = []
    value.append(value)
    return value


def test_pandas_gets_the_lines_of_the_csv(report):
    frame = report.to_pandas()
    assert list(frame.columns) == [
        "sampler", "view", "metric", "value", "low", "high", "n", "set_size", "seed", "against",
        "difference", "difference_low", "difference_high",
    ]  # fmt: skip
    assert len(frame) == len(report.to_csv().splitlines()) - 1
    entropy = frame[frame.metric == "entropy.mean"].set_index("sampler").value
    assert entropy["greedy"] == 0
    assert entropy["uniform"] == pytest.approx(2.3978953)


def test_without_pandas_it_says_how_to_get_it(report, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingDependencyError, match="install it with: pip install pandas"):
        report.to_pandas()


def test_a_notebook_shows_an_escaped_table(document):
    document["samplers"][0]["sampler"] = "<script>alert(1)</script>"
    document["samplers"][3]["error"]["message"] = "<img src=x onerror=alert(1)>"
    document["header"]["prompts"] = ['"><b>']
    shown = corelm.Report(document)._repr_html_()
    assert "<table>" in shown
    assert "&lt;script&gt;" in shown
    for tag in ("<script", "<img", "<b>"):
        assert tag not in shown
    assert shown.count("<tr>") == 5


def test_failures_are_reported(report):
    assert list(report.failed) == ["breaks(at=5)"]
    assert report.failed["breaks(at=5)"].startswith("at step 5: ValueError")
    assert repr(report).startswith("<corelm report of 4 samplers: greedy repeats itself. breaks")


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without two of the libraries."""
    found = {"jinja2": None, "matplotlib": None}
    monkeypatch.setattr("corelm_pages.report.find_spec", lambda name: found.get(name, name))


@pytest.mark.usefixtures("without")
def test_a_report_without_its_libraries_names_the_extra():
    with pytest.raises(MissingDependencyError) as caught:
        corelm.compare(ToyModel(), ["greedy"], n=1, length=2)
    assert str(caught.value) == (
        "a report needs jinja2 and matplotlib; "
        'install what is missing with: pip install "corelm[report]"'
    )


@pytest.mark.usefixtures("without")
@pytest.mark.parametrize("words", [("report", "greedy"), ("study", "run", "study.toml")])
def test_commands_say_so_before_anything_is_measured(run, words):
    result = run(*words)
    assert result.code == 1
    assert result.out == ""
    assert 'pip install "corelm[report]"' in result.err
