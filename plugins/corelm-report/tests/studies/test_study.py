"""Studies: run twice, interrupted, edited, and on workers with other code."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from corelm_report.studies.study_file import read_study
from corelm_report.studies.study_output import (
    diff_results,
    freeze_study,
    result_at,
    run_study,
    show_result,
)
from corelm_report.studies.unit_cache import _of_strategy

import corelm
from corelm.commands import Output
from corelm.errors import ExecutorError, ReportError, UsageError
from corelm.registry.registry import registry
from corelm.scaling.dependencies import digests
from corelm.scaling.executor import Executor, InProcess


class Shown(Output):
    """An output that a test reads."""

    def __init__(self) -> None:
        super().__init__(io.StringIO())

    @property
    def written(self) -> str:
        return self.stream.getvalue()


@pytest.fixture
def measured(monkeypatch) -> list[str]:
    """The names of the units that are measured, and none that are stored."""
    names: list[str] = []
    run = InProcess.run

    def counted(self: InProcess, units: Iterator, model: int) -> Iterator:
        for unit, result in run(self, units, model):
            samplers = getattr(unit, "samplers", None)
            names.append(unit.name if samplers is None else f"{unit.name}: {len(samplers)}")
            yield unit, result

    monkeypatch.setattr(InProcess, "run", counted)
    return names


def run(file: Path) -> int:
    return run_study(read_study(file), Executor.of(), Shown())


def files(folder: Path) -> dict[str, bytes]:
    """The content of the results; no result has the time when a report was made."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found[path.relative_to(folder).as_posix()] = path.read_bytes()
    return found


def without_time(report: bytes) -> dict:
    document = json.loads(report)
    del document["header"]["created"]
    return document


@pytest.mark.slow
def test_a_study_writes_its_reports_and_what_made_them(study, tmp_path):
    assert run(study) == 0
    results = tmp_path / "results"
    assert set(files(results)) == {
        *(f"{model}/{name}" for model in ("cats", "dogs")
          for name in ("report.json", "figures.csv", "table.tex")),
        "study.json", "study.toml", "repeat.md",
    }  # fmt: skip
    report = corelm.compare(
        "cats", ["top_p(p=0.5,0.9)", "temperature(t=0.7)"], prompts=["the", "a cat"], n=4,
        length=6, seeds=[1, 2],
    ).to_dict()  # fmt: skip
    found = without_time((results / "cats/report.json").read_bytes())
    assert found.pop("samplers") == report.pop("samplers")
    assert found["header"].pop("command") == "corelm study run study.toml"
    del report["header"]["created"], report["header"]["command"]
    assert found == report
    lock = json.loads((results / "study.json").read_bytes())
    assert lock["code"].keys() == {"corelm", "corelm_kills", "corelm_report", "corelm_samplers"}
    assert [model["name"] for model in lock["models"]] == ["cats", "dogs"]
    assert "corelm study run study.toml" in (results / "repeat.md").read_text()


@pytest.mark.slow
def test_prompts_may_be_the_beginnings_of_human_texts(study, tmp_path):
    words = ["cat", "dog", "mat", "on", "ran", "sat", "saw", "the", "under"]
    (tmp_path / "human.txt").write_text("".join(f"{word} and the cat sat\n" for word in words))
    given = 'reference = "human.txt"\nprompts_from_reference = 1'
    study.write_text(study.read_text().replace('prompts = ["the", "a cat"]', given))
    assert run(study) == 0
    for model in ("cats", "dogs"):
        report = json.loads((tmp_path / f"results/{model}/report.json").read_bytes())
        assert sorted(report["header"]["prompts"]) == words
        assert report["reference"]["generated_texts"]["units"] == len(words)


@pytest.mark.slow
def test_the_second_run_measures_nothing_and_writes_the_same_bytes(study, tmp_path, measured):
    run(study)
    assert measured
    first = files(tmp_path / "results")
    measured.clear()
    shutil.rmtree(tmp_path / "results")
    run(study)
    assert measured == []
    assert files(tmp_path / "results") == first


@pytest.mark.slow
def test_a_changed_line_measures_only_what_it_changes(study, measured):
    run(study)
    measured.clear()
    text = study.read_text().replace("p=0.5,0.9", "p=0.5,0.8,0.9")
    study.write_text(text)
    run(study)
    # The second of four samplers, on the contexts and for each seed of two models.
    assert measured == 2 * ["teacher forcing 0: 1", "generated texts 1.0 1.1"]


@pytest.mark.slow
@pytest.mark.parametrize("after", [1, 2, 3])
def test_an_interrupted_study_continues_with_the_same_figures(study, tmp_path, monkeypatch, after):
    done: list[str] = []
    run_here = InProcess.run

    def interrupted(self: InProcess, units: Iterator, model: int) -> Iterator:
        for unit, result in run_here(self, units, model):
            yield unit, result
            done.append(unit.name)
            if len(done) == after:
                raise KeyboardInterrupt

    monkeypatch.setattr(InProcess, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(study)
    run(study)
    resumed = files(tmp_path / "results")
    monkeypatch.setenv("CORELM_HOME", str(tmp_path / "another"))
    shutil.rmtree(tmp_path / "results")
    run(study)
    whole = files(tmp_path / "results")
    for model in ("cats", "dogs"):
        name = f"{model}/report.json"
        assert without_time(resumed[name]) == without_time(whole[name])
        assert resumed[f"{model}/figures.csv"] == whole[f"{model}/figures.csv"]


@pytest.mark.slow
def test_results_of_other_code_are_not_read(study, killed, measured):
    study.write_text(study.read_text().replace('"temperature(t=0.7)"', '"fails_late"'))
    run(study)
    everything = len(measured)
    measured.clear()
    site = Path(os.environ["PYTHONPATH"].split(os.pathsep)[0])
    module = site / "corelm_kills.py"
    module.write_text(module.read_text() + "\n# edited\n")
    digests.__globals__["_digest_of"].cache_clear()  # as in a new process
    _of_strategy.cache_clear()
    registry.cache_clear()
    run(study)
    assert len(measured) == everything  # the models are this plugin's too


@pytest.mark.slow
def test_a_worker_with_other_code_is_refused(study, monkeypatch):
    distributed = pytest.importorskip("distributed")
    from corelm.scaling import dependencies

    with (
        distributed.LocalCluster(
            n_workers=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
        ) as cluster,
        monkeypatch.context() as here,
    ):
        here.setattr(dependencies, "_digest", lambda package: "0" * 16)
        _of_strategy.cache_clear()
        with pytest.raises(ExecutorError, match=r"^a worker has other code of corelm "):
            run_study(read_study(study), Executor.of(scheduler=cluster.scheduler_address), Shown())
    _of_strategy.cache_clear()


@pytest.mark.slow
def test_a_condition_on_any_model_fails_the_study(study, capsys):
    study.write_text('fail_if = ["temperature.entropy < 9"]\n' + study.read_text())
    assert run(study) == 1
    assert capsys.readouterr().err.count("error: temperature.entropy < 9: it is") == 2


@pytest.mark.slow
def test_a_study_with_a_failed_sampler_ends_with_3(study):
    study.write_text(
        study.read_text().replace('"temperature(t=0.7)"', '"fails_late"').replace("= 6", "= 12")
    )
    assert run(study) == 3


@pytest.mark.slow
def test_results_are_shown_with_what_made_them(study):
    run(study)
    out = Shown()
    assert show_result(result_at(study), out) == 0
    for text in ("Cats", "cats", "dogs", "temperature(t=0.7)", "Made by corelm "):
        assert text in out.written


@pytest.mark.slow
def test_results_that_are_missing_or_changed_are_refused(study, tmp_path):
    with pytest.raises(ReportError, match="has no results of a study: it is missing"):
        result_at(study)
    run(study)
    report = tmp_path / "results/cats/report.json"
    report.write_text(report.read_text().replace('"seed": 1', '"seed": 2', 1))
    with pytest.raises(ReportError, match=r"was changed after the study wrote it"):
        show_result(result_at(study), Shown())


@pytest.mark.slow
def test_two_results_are_compared_with_what_made_them(study, tmp_path):
    run(study)
    shutil.copytree(tmp_path / "results", tmp_path / "before")
    out = Shown()
    before = result_at(tmp_path / "before")
    assert diff_results(before, result_at(study), out) == 0
    assert "The same settings, data, versions and code made both." in out.written
    study.write_text(
        study.read_text().replace('"cats", "dogs"', '"cats"').replace("n = 4", "n = 5")
    )
    run(study)
    out = Shown()
    assert diff_results(before, result_at(study), out) == 1
    assert "Only the first has the model dogs." in out.written
    assert "n 4, here 5" in out.written


TEXTS = [f"the {first} sat on the {second}" for first in ("cat", "dog") for second in "abcdef"]


def with_human_texts(study, texts):
    """The study with these human texts, in a file of the same name."""
    (study.parent / "people.txt").write_text("\n".join(texts))
    if "reference" not in study.read_text():
        study.write_text(study.read_text().replace("seeds", 'reference = "people.txt"\nseeds'))


@pytest.mark.slow
def test_results_with_other_human_texts_were_not_made_by_the_same(study, tmp_path):
    """Before: "the same settings, versions and code", and 51 of 115 figures differed."""
    with_human_texts(study, TEXTS)
    run(study)
    shutil.copytree(tmp_path / "results", tmp_path / "before")
    with_human_texts(study, [text.replace("sat", "ran") for text in TEXTS])
    run(study)
    out = Shown()
    diff_results(result_at(tmp_path / "before"), result_at(study), out)
    assert "other human texts of cats; other human texts of dogs" in out.written
    assert "The same settings" not in out.written
    repeat = (tmp_path / "results/repeat.md").read_text()
    assert "Digests of the data:\n\n- human texts of cats: " in repeat


@pytest.mark.slow
def test_a_study_with_more_texts_reads_the_same_human_texts(study, tmp_path):
    with_human_texts(study, TEXTS)
    study.write_text(study.read_text().replace("n = 4", "n = 1\ncontexts = 1"))
    run(study)
    shutil.copytree(tmp_path / "results", tmp_path / "before")
    study.write_text(study.read_text().replace("n = 1", "n = 4"))
    run(study)
    locks = [result_at(place).lock for place in (tmp_path / "before", study)]
    few, more = (len(lock["models"][0]["digests"]["human texts"]) for lock in locks)
    assert few < more
    assert result_at(tmp_path / "before").changes(result_at(study)) == "n 1, here 4"


@pytest.mark.slow
def test_a_registered_study_says_what_has_changed_since(study, tmp_path):
    with_human_texts(study, TEXTS)
    assert freeze_study(read_study(study), Shown()) == 0
    run(study)
    out = Shown()
    show_result(result_at(study), out)
    assert "\nAs registered on 20" in out.written
    published = out.written.split("(sha256 ")[1].split(")")[0]
    registration = tmp_path / "results/registration.json"
    assert published == hashlib.sha256(registration.read_bytes()).hexdigest()
    written = registration.read_bytes()
    assert freeze_study(read_study(study), Shown()) == 0  # again, and nothing has changed
    assert registration.read_bytes() == written

    registration.write_text(registration.read_text().replace('"created": "20', '"created": "19'))
    assert "by a file that was written elsewhere or edited" in said_by(study)
    registration.write_bytes(written)

    with_human_texts(study, TEXTS[:-1])
    study.write_text(study.read_text().replace("n = 4", "n = 5"))
    with pytest.raises(ReportError, match="registered another study on 20"):
        freeze_study(read_study(study), Shown())
    said = said_by(study)
    assert "Not as registered on 20" in said
    assert "n 4, here 5; other human texts of cats; other human texts of dogs." in said
    registration.write_text("[]")
    with pytest.raises(ReportError, match="is no registration of a study"):
        run(study)


def said_by(study):
    """Run a study, and return what its results say on one line."""
    run(study)
    out = Shown()
    show_result(result_at(study), out)
    return " ".join(out.written.split())


@pytest.mark.slow
def test_a_registration_after_the_results_is_refused_or_says_so(study, tmp_path):
    run(study)
    with pytest.raises(ReportError, match="has results already"):
        freeze_study(read_study(study), Shown())
    # In another folder, the results come from the cache.
    elsewhere = study.with_name("elsewhere.toml")
    elsewhere.write_text(study.read_text().replace('"results"', '"elsewhere"'))
    assert freeze_study(read_study(elsewhere), Shown()) == 0
    for _ in range(2):  # now, and for ever
        said = said_by(elsewhere)
        assert "after the results: the first was measured on 20" in said
        assert "As registered" not in said


@pytest.mark.slow
def test_results_of_an_edited_study_are_said_to_be_older(study, capsys):
    run(study)
    show_result(result_at(study), Shown(), read_study(study))
    assert "older" not in capsys.readouterr().err
    study.write_text(study.read_text().replace("n = 4", "n = 5"))
    show_result(result_at(study), Shown(), read_study(study))
    assert "(n 4, here 5); run the study again" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["greedy.loops > 0.1", "*.lops > 0.1"])
def test_a_wrong_condition_is_refused_before_anything_is_measured(study, measured, text):
    study.write_text(f'fail_if = ["{text}"]\n' + study.read_text())
    with pytest.raises(UsageError):
        run(study)
    assert measured == []
