"""Studies: run twice, interrupted, edited, and on workers with other code."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import corelm
from corelm.registry.registry import registry
from corelm.scaling.dependencies import digests
from corelm.scaling.executor import InProcess
from corelm_study.unit_cache import _of_strategy


@pytest.fixture
def run(run):
    """A function that runs a study, or another subcommand for it."""
    return lambda file, word="run", *more: run("study", word, str(file), *map(str, more))


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


def said(result) -> str:
    """What a command says, on one line."""
    return " ".join(result.out.split())


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
def test_a_study_writes_its_reports_and_what_made_them(run, study, tmp_path):
    assert run(study).code == 0
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
    code = {"corelm", "corelm_kills", "corelm_report", "corelm_samplers", "corelm_stats"}
    assert lock["code"].keys() == code
    assert [model["name"] for model in lock["models"]] == ["cats", "dogs"]
    assert "corelm study run study.toml" in (results / "repeat.md").read_text()


@pytest.mark.slow
def test_prompts_may_be_the_beginnings_of_human_texts(run, study, tmp_path):
    words = ["cat", "dog", "mat", "on", "ran", "sat", "saw", "the", "under"]
    (tmp_path / "human.txt").write_text("".join(f"{word} and the cat sat\n" for word in words))
    given = 'reference = "human.txt"\nprompts_from_reference = 1'
    study.write_text(study.read_text().replace('prompts = ["the", "a cat"]', given))
    assert run(study).code == 0
    for model in ("cats", "dogs"):
        report = json.loads((tmp_path / f"results/{model}/report.json").read_bytes())
        assert sorted(report["header"]["prompts"]) == words
        assert report["reference"]["generated_texts"]["units"] == len(words)


@pytest.mark.slow
def test_the_second_run_measures_nothing_and_writes_the_same_bytes(run, study, tmp_path, measured):
    run(study)
    assert measured
    first = files(tmp_path / "results")
    measured.clear()
    shutil.rmtree(tmp_path / "results")
    run(study)
    assert measured == []
    assert files(tmp_path / "results") == first


@pytest.mark.slow
def test_a_changed_line_measures_only_what_it_changes(run, study, measured):
    run(study)
    measured.clear()
    text = study.read_text().replace("p=0.5,0.9", "p=0.5,0.8,0.9")
    study.write_text(text)
    run(study)
    # The second of four samplers, on the contexts and for each seed of two models.
    assert measured == 2 * ["teacher forcing 0: 1", "generated texts 1.0 1.1"]


@pytest.mark.slow
@pytest.mark.parametrize("after", [1, 2, 3])
def test_an_interrupted_study_continues_with_the_same_figures(
    run, study, tmp_path, monkeypatch, after
):
    done: list[str] = []
    run_here = InProcess.run

    def interrupted(self: InProcess, units: Iterator, model: int) -> Iterator:
        for unit, result in run_here(self, units, model):
            yield unit, result
            done.append(unit.name)
            if len(done) == after:
                raise KeyboardInterrupt

    monkeypatch.setattr(InProcess, "run", interrupted)
    assert run(study).code == 130
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
def test_results_of_other_code_are_not_read(run, study, killed, measured):
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
def test_a_worker_with_other_code_is_refused(run, study, monkeypatch):
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
        ) as cluster,
        monkeypatch.context() as here,
    ):
        here.setattr("corelm.scaling.dependencies._digest", lambda package: "0" * 16)
        _of_strategy.cache_clear()
        result = run(study, "run", "--scheduler", cluster.scheduler_address)
    assert result.code == 1
    assert "error: a worker has other code of corelm " in result.err
    _of_strategy.cache_clear()


@pytest.mark.slow
def test_a_condition_on_any_model_fails_the_study(run, study):
    study.write_text('fail_if = ["temperature.entropy < 9"]\n' + study.read_text())
    result = run(study)
    assert result.code == 1
    assert result.err.count("error: temperature.entropy < 9: it is") == 2


@pytest.mark.slow
def test_a_study_with_a_failed_sampler_ends_with_3(run, study):
    study.write_text(
        study.read_text().replace('"temperature(t=0.7)"', '"fails_late"').replace("= 6", "= 12")
    )
    assert run(study).code == 3


@pytest.mark.slow
def test_results_that_are_missing_or_changed_are_refused(run, study, tmp_path):
    assert "has no results of a study: it is missing" in run(study, "show").err
    run(study)
    report = tmp_path / "results/cats/report.json"
    report.write_text(report.read_text().replace('"seed": 1', '"seed": 2', 1))
    assert "was changed after the study wrote it" in run(study, "show").err


@pytest.mark.slow
def test_two_results_are_compared_with_what_made_them(run, study, tmp_path):
    run(study)
    shutil.copytree(tmp_path / "results", tmp_path / "before")
    study.write_text(
        study.read_text().replace('"cats", "dogs"', '"cats"').replace("n = 4", "n = 5")
    )
    run(study)
    other = run(tmp_path / "before", "diff", study)
    assert other.code == 1
    assert "Only the first has the model dogs." in said(other)
    assert "n 4, here 5" in said(other)


TEXTS = [f"the {first} sat on the {second}" for first in ("cat", "dog") for second in "abcdef"]


def with_human_texts(study, texts):
    """The study with these human texts, in a file of the same name."""
    (study.parent / "people.txt").write_text("\n".join(texts))
    if "reference" not in study.read_text():
        study.write_text(study.read_text().replace("seeds", 'reference = "people.txt"\nseeds'))


@pytest.mark.slow
def test_results_with_other_human_texts_were_not_made_by_the_same(run, study, tmp_path):
    """Before: "the same settings, versions and code", and 51 of 115 figures differed."""
    with_human_texts(study, TEXTS)
    run(study)
    shutil.copytree(tmp_path / "results", tmp_path / "before")
    with_human_texts(study, [text.replace("sat", "ran") for text in TEXTS])
    run(study)
    other = said(run(tmp_path / "before", "diff", study))
    assert "other human texts of cats; other human texts of dogs" in other
    assert "The same settings" not in other
    repeat = (tmp_path / "results/repeat.md").read_text()
    assert "Digests of the data:\n\n- human texts of cats: " in repeat


@pytest.mark.slow
def test_a_study_with_more_texts_reads_the_same_human_texts(run, study, tmp_path):
    with_human_texts(study, TEXTS)
    study.write_text(study.read_text().replace("n = 4", "n = 1\ncontexts = 1"))
    run(study)
    shutil.copytree(tmp_path / "results", tmp_path / "before")
    study.write_text(study.read_text().replace("n = 1", "n = 4"))
    run(study)
    files = [tmp_path / folder / "study.json" for folder in ("before", "results")]
    locks = [json.loads(file.read_text()) for file in files]
    few, more = (len(lock["models"][0]["digests"]["human texts"]) for lock in locks)
    assert few < more
    other = said(run(tmp_path / "before", "diff", study))
    assert "n 1, here 4" in other
    assert "human texts of" not in other


@pytest.mark.slow
def test_a_registered_study_says_what_has_changed_since(run, study, tmp_path):
    with_human_texts(study, TEXTS)
    assert run(study, "freeze").code == 0
    run(study)
    shown = said(run(study, "show"))
    assert ". As registered on 20" in shown
    assert all(text in shown for text in ("Cats", "cats", "dogs", "temperature(t=0.7)"))
    published = shown.split("(sha256 ")[1].split(")")[0]
    registration = tmp_path / "results/registration.json"
    assert published == hashlib.sha256(registration.read_bytes()).hexdigest()
    written = registration.read_bytes()
    assert "Registered before, on 20" in said(run(study, "freeze"))  # nothing has changed
    assert registration.read_bytes() == written

    registration.write_text(registration.read_text().replace('"created": "20', '"created": "19'))
    assert "by a file that was written elsewhere or edited" in run_and_show(run, study)
    registration.write_bytes(written)

    with_human_texts(study, TEXTS[:-1])
    study.write_text(study.read_text().replace("n = 4", "n = 5"))
    assert "registered another study on 20" in run(study, "freeze").err
    shown = run_and_show(run, study)
    assert "Not as registered on 20" in shown
    assert "n 4, here 5; other human texts of cats; other human texts of dogs." in shown
    registration.write_text("[]")
    assert "is no registration of a study" in run(study).err


def run_and_show(run, study):
    """Run a study, and return what its results say on one line."""
    run(study)
    return said(run(study, "show"))


@pytest.mark.slow
def test_a_registration_after_the_results_is_refused_or_says_so(run, study, tmp_path):
    run(study)
    assert "has results already" in run(study, "freeze").err
    # In another folder, the results come from the cache.
    elsewhere = study.with_name("elsewhere.toml")
    elsewhere.write_text(study.read_text().replace('"results"', '"elsewhere"'))
    assert run(elsewhere, "freeze").code == 0
    for _ in range(2):  # now, and for ever
        shown = run_and_show(run, elsewhere)
        assert "after the results: the first was measured on 20" in shown
        assert "As registered" not in shown
    elsewhere.write_text(elsewhere.read_text().replace('title = "Cats', 'title = "All cats'))
    assert "measured on 20" in (shown := run_and_show(run, elsewhere))
    assert "It has other settings: title" in shown


@pytest.mark.parametrize("text", ["greedy.loops > 0.1", "*.lops > 0.1"])
def test_a_wrong_condition_is_refused_before_anything_is_measured(run, study, measured, text):
    study.write_text(f'fail_if = ["{text}"]\n' + study.read_text())
    assert run(study).code == 2
    assert measured == []
