"""Logs of lm-evaluation-harness and of Inspect, whose true difference is known."""

from __future__ import annotations

import json
import os
import re
import sys
import zipfile

import numpy as np
import pytest
from programs import python
from scipy import stats

from corelm.errors import UsageError
from corelm_study.logs.answers import Answer, read_answers
from corelm_study.logs.differences import paired_differences

for name in ("corelm_inspect_logs", "corelm_lm_eval_logs"):
    pytest.importorskip(
        name, reason="pip install ./plugins/corelm-inspect ./plugins/corelm-lm-eval"
    )


def harness(path, scores, **more):
    """Write samples of lm-evaluation-harness."""
    lines = [
        {
            "doc_id": i, "doc": {"question": f"q{i}", "passage": i // 4}, "target": "x",
            "arguments": [], "resps": [["x"]], "filtered_resps": ["x"], "filter": "none",
            "metrics": ["exact_match"], "doc_hash": f"hash {i}", "prompt_hash": "",
            "target_hash": "", "exact_match": score, **more,
        }
        for i, score in enumerate(scores)
    ]  # fmt: skip
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def inspect_samples(scores, epochs=1, task="a question"):
    return [
        {
            "id": i, "epoch": epoch + 1, "metadata": {"passage": f"p{i // 4}"},
            "input": f"{task} {i}", "target": "x",
            "scores": {"match": {"value": "C" if score else "I", "answer": "x"}},
        }
        for i, score in enumerate(scores)
        for epoch in range(epochs)
    ]  # fmt: skip


def answers(values, size=None):
    """Return an answer to each question; `size` questions share a passage."""
    passages = [f"p{i // size}" if size else None for i in range(len(values))]
    return [Answer("s", str(i), 0, v, passages[i]) for i, v in enumerate(values)]


def test_a_log_of_the_harness_is_compared_question_by_question(tmp_path):
    first, second = [1, 0, 1, 1, 0, 1, 0, 0, 1, 0], [1, 1, 1, 1, 0, 1, 1, 0, 1, 1]
    logs = {
        name: read_answers(harness(tmp_path / name, scores))
        for name, scores in (("a.jsonl", first), ("b.jsonl", second))
    }
    [found] = paired_differences(logs)
    assert (found.metric, found.log, found.against) == ("exact_match", "b.jsonl", "a.jsonl")
    assert found.values == (0.8, 0.5)
    assert found.difference == pytest.approx(0.3)
    assert (found.questions, found.units, found.left_out) == (10, 10, 0)


def test_the_p_value_is_that_of_the_paired_t_test():
    rng = np.random.default_rng(1)
    hard = rng.normal(0, 3, 300)
    values = [hard + rng.normal(by, 1, 300) for by in (0, 0.25)]
    [found] = paired_differences(dict(zip("ab", map(answers, values), strict=True)))
    expected = stats.ttest_rel(values[1], values[0])
    assert found.p == pytest.approx(expected.pvalue, rel=0.1, abs=1e-4)
    assert stats.ttest_ind(*values).pvalue > 0.3 > found.p


@pytest.mark.parametrize(
    ("own", "other", "n", "p"),
    [
        (0.1 + 0.2, 0.3, 8, 1),  # equal up to rounding
        (1.0, 0.0, 8, pytest.approx(0.008, abs=0.001)),  # as the exact sign test
        (1.0, 0.0, 60, 2.0**-59),
        (2.0, 0.0, 60, None),  # scores without bounds
        (1.0, 0.0, 5, None),
    ],
)
def test_the_same_difference_on_every_question_is_as_certain_as_their_number(own, other, n, p):
    [found] = paired_differences({"a": answers([other] * n), "b": answers([own] * n)})
    assert (found.p, found.units, found.ends is None) == (p, n, p is None)


def test_intervals_hold_over_passages_and_not_over_questions():
    """Samplers that are equal on average differ alike on the questions of one passage."""
    rng = np.random.default_rng(2)
    held: dict[str, list[bool]] = {"passage": [], "question": []}
    for _ in range(300):
        effect = np.repeat(rng.normal(0, 0.5, 30), 8)
        values = rng.normal(0, 1, (2, 240)) + np.stack([effect, -effect])
        for unit in held:
            first, second = (answers(each, 8 if unit == "passage" else None) for each in values)
            [found] = paired_differences({"a": first, "b": second})
            held[unit].append(found.ends[0] <= 0 <= found.ends[1])
    assert 0.92 <= np.mean(held["passage"]) <= 0.98
    assert np.mean(held["question"]) < 0.85


def test_of_many_equal_samplers_one_is_called_different_in_five_of_a_hundred_studies():
    rng, false = np.random.default_rng(3), []
    for _ in range(200):
        logs = {f"log {n}": answers(rng.normal(size=40)) for n in range(9)}
        false.append(any(each.p_holm < 0.05 for each in paired_differences(logs)))
    assert np.mean(false) <= 0.08


@pytest.mark.parametrize("end", ["json", "eval"])
def test_logs_of_inspect_are_read_plain_and_compressed(tmp_path, end):
    scores = [1, 0] * 8
    path, samples = tmp_path / f"log.{end}", inspect_samples(scores, epochs=3)
    if end == "json":
        path.write_text(json.dumps({"version": 2, "eval": {"task": "t"}, "samples": samples}))
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("header.json", json.dumps({"eval": {}}))
            for each in samples:
                archive.writestr(
                    f"samples/{each['id']}_epoch_{each['epoch']}.json", json.dumps(each)
                )
    found = read_answers(path, "passage")
    assert len(found) == 48
    assert {answer.cluster for answer in found} == {f"p{i}" for i in range(4)}
    assert sorted(a.value for a in found if a.repeat == 2) == sorted(map(float, scores))
    [alone] = paired_differences({"a": read_answers(path), "b": read_answers(path)})
    assert (alone.questions, alone.units, alone.difference) == (16, 16, 0.0)


def test_a_log_compressed_by_zstandard_is_read(tmp_path):
    """As Inspect writes it, where this Python can."""
    if sys.version_info < (3, 14):
        pytest.importorskip("zipfile_zstd")
    path = tmp_path / "log.eval"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_ZSTANDARD) as archive:
        sample = {"id": 1, "epoch": 1, "input": "x", "scores": {"match": {"value": "C"}}}
        archive.writestr("samples/1_epoch_1.json", json.dumps(sample))
    assert [each.value for each in read_answers(path)] == [1.0]


def test_words_and_several_values_of_a_scorer_are_scores(tmp_path):
    sample = {"id": "x", "epoch": 1, "input": "y", "scores": {
        "one": {"value": "P"}, "two": {"value": {"a": 0.25, "b": True}}, "three": {"value": [1]},
        "four": {"value": "0.5"}, "five": None,
    }}  # fmt: skip
    path = tmp_path / "log.json"
    path.write_text(json.dumps({"eval": {}, "samples": [sample]}))
    found = {answer.metric: answer.value for answer in read_answers(path)}
    assert found == {"one": 0.5, "two.a": 0.25, "two.b": 1.0, "four": 0.5}


def test_filters_are_scores_of_their_own_and_early_logs_have_no_list_of_metrics(tmp_path):
    path = harness(tmp_path / "s.jsonl", [1], filter="strict-match")
    assert [answer.metric for answer in read_answers(path)] == ["exact_match,strict-match"]
    path.write_text(json.dumps({"doc_id": 0, "doc": {}, "target": "x", "acc": 1.0}) + "\n")
    assert [answer.metric for answer in read_answers(path)] == ["acc"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.jsonl", "{", "line 1 of x.jsonl is not JSON"),
        ("x.jsonl", "[]", "line 1 of x.jsonl must be a JSON object, not"),
        ("x.jsonl", '{"a": 1}', "has no doc_id"),
        ("x.json", "{}", "is no log of Inspect"),
        ("x.eval", "no archive", "cannot read the log"),
        ("x.jsonl", "", "has no scores"),
        ("x.jsonl", '{"doc_id": 1, "acc": 1e999}', "1e999 is no number in JSON"),
        ("x.jsonl", '{"doc_id": 1, "acc": 1' + "0" * 400 + "}", "has no scores"),
        ("x.jsonl", '{"doc_id": 1, "metrics": [{}]}', "has no list of metrics"),
        ("x.jsonl", '{"doc_id": 1, "doc": {}, "acc": 1.0}', "line 1 of x.jsonl has no question"),
        ("x.json", '{"eval": {}, "samples": [{"scores": {"a": {"value": 1}}}]}', "has no question"),
        ("x.json", '{"eval": {}, "samples": [7]}', "is no JSON object"),
        ("x.json", '{"eval": {}, "samples": [{"scores": [1]}]}', "scores or epoch are unreadable"),
        ("x.json", '{"eval": {}, "samples": [{"epoch": "x"}]}', "scores or epoch are unreadable"),
        ("x.json", "[" * 100_000, "is not JSON"),
    ],
)
def test_other_files_are_refused(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=message):
        read_answers(tmp_path / name)


def test_logs_of_different_data_are_refused(tmp_path):
    harness(tmp_path / "a.jsonl", [1, 0])
    harness(tmp_path / "b.jsonl", [1, 0], doc_hash="other")
    harness(tmp_path / "c.jsonl", [1, 0], metrics=["f1"], f1=0.5)
    a, b, c = (read_answers(tmp_path / f"{name}.jsonl") for name in "abc")
    with pytest.raises(UsageError, match="different data: question '0' asks for something else"):
        paired_differences({"a": a, "b": b})
    paths = [tmp_path / f"{name}.json" for name in ("arithmetic", "history")]
    for path in paths:
        samples = inspect_samples([1, 0], task=path.stem)
        path.write_text(json.dumps({"eval": {}, "samples": samples}))
    with pytest.raises(UsageError, match="different data"):
        paired_differences({path.stem: read_answers(path) for path in paths})
    with pytest.raises(UsageError, match="no score in common"):
        paired_differences({"a": a, "c": c})
    with pytest.raises(UsageError, match="question '0' belongs to another cluster"):
        paired_differences({"a": answers([1, 0], 1), "b": answers([1, 0])})
    with pytest.raises(UsageError, match="has no 'chapter'"):
        read_answers(tmp_path / "a.jsonl", "chapter")


def test_every_epoch_of_a_question_must_ask_the_same(tmp_path):
    samples = inspect_samples([1, 0], epochs=2)
    logs = {}
    for name, last in (("a", samples[1]), ("b", samples[1] | {"input": "another question"})):
        (tmp_path / f"{name}.json").write_text(
            json.dumps({"eval": {}, "samples": [samples[0], last, *samples[2:]]})
        )
        logs[name] = read_answers(tmp_path / f"{name}.json")
    with pytest.raises(UsageError, match="different data: question '0'"):
        paired_differences(logs)


def test_the_ids_of_messages_are_not_what_was_asked(tmp_path):
    """Inspect gives each message of a conversation another id in each run."""
    logs = {}
    for name in "ab":
        path = tmp_path / f"{name}.json"
        said = [{"id": name, "role": "user", "content": "a question"}]
        sample = inspect_samples([1])[0] | {"input": said}
        path.write_text(json.dumps({"eval": {}, "samples": [sample]}))
        logs[name] = read_answers(path)
    assert paired_differences(logs)[0].questions == 1


def test_an_answer_that_is_listed_twice_counts_once(tmp_path):
    path = tmp_path / "log.json"
    samples = inspect_samples([1, 0])
    path.write_text(json.dumps({"eval": {}, "samples": [*samples, samples[0]]}))
    assert [answer.value for answer in read_answers(path)] == [1.0, 0.0]
    other = samples[0] | {"scores": {"match": {"value": "I"}}}
    path.write_text(json.dumps({"eval": {}, "samples": [*samples, other]}))
    with pytest.raises(UsageError, match="contradicts an earlier line"):
        read_answers(path)


def test_answers_without_a_score_are_counted(tmp_path, capsys):
    samples = inspect_samples([1, 0] * 5, epochs=3)
    for sample in samples[::3]:
        sample["scores"] = {"match": {"value": "refused"}}
    path = tmp_path / "log.json"
    path.write_text(json.dumps({"eval": {}, "samples": samples}))
    assert len(read_answers(path)) == 20
    assert "left out of log.json: 10 answers without a score" in capsys.readouterr().err


def test_a_question_under_several_numbers_is_one_unit(tmp_path):
    logs = {}
    for name, score in (("a.json", 1), ("b.json", 0)):
        samples = [each | {"input": "the same"} for each in inspect_samples([score] * 20)]
        (tmp_path / name).write_text(json.dumps({"eval": {}, "samples": samples}))
        logs[name] = read_answers(tmp_path / name)
    [one] = paired_differences(logs)
    assert (one.questions, one.units, one.p, one.ends) == (20, 1, None, None)


def test_a_small_archive_of_a_huge_sample_is_refused(tmp_path):
    path = tmp_path / "bomb.eval"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("samples/1_epoch_1.json", b" " * (2**26 + 1))
    assert path.stat().st_size < 2**17
    with pytest.raises(UsageError, match="has 67,108,865 bytes"):
        read_answers(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("samples/1_epoch_1.json", '{"id": [' + "[]," * (2**22 + 1) + "0]}")
    assert path.stat().st_size < 2**14
    with pytest.raises(UsageError, match="more than 4,194,304 values"):
        read_answers(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes")
@pytest.mark.parametrize("name", ["log.eval", "log.json", "log.jsonl"])
def test_a_log_that_is_a_pipe_is_refused_at_once(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(UsageError, match="it isn't a regular file"):
        read_answers(tmp_path / name)


def test_the_command_compares_several_logs(tmp_path, run):
    names = []
    for folder, scores in (("top_p", [1, 0] * 20), ("min_p", [1, 1] * 20)):
        (tmp_path / folder).mkdir()
        names.append(str(harness(tmp_path / folder / "samples.jsonl", scores)))
    done = run("study", "read", *names)
    assert done.code == 0
    assert "min_p/samples.jsonl" in done.out
    assert re.search(r"min_p/\S+ +exact_match +1\.0 +\+0\.5 +0\.3.0\.7 ", done.out)
    assert re.search(r"top_p/\S+ +exact_match +0\.5 +40\n", done.out)
    assert "\N{MINUS SIGN}0.5" in run("study", "read", *names[::-1]).out
    fewer = str(harness(tmp_path / "fewer.jsonl", [1] * 30))
    several = run("study", "read", *names, fewer).out
    assert re.findall(r"top_p/.* (\d+)\n", several) == ["40", "30"]
    assert "Left out: 10 questions, each in one log." in several
    twice = ("--metric", "exact_match") * 2
    clustered = run("study", "read", *names, "--cluster", "passage", *twice)
    assert (clustered.code, clustered.out.count("exact_match")) == (0, 2)
    far = str(harness(tmp_path / "far.jsonl", [5] * 40))
    assert "no interval, unless scores" in run("study", "read", far, fewer).out
    assert run("study", "read", names[0]).code == 2
    assert run("study", "read", names[0], names[0]).code == 2


@pytest.mark.parametrize(
    ("end", "package"),
    [("jsonl", "corelm-lm-eval"), ("eval", "corelm-inspect"), ("json", "corelm-inspect")],
)
def test_without_the_package_that_reads_a_log_the_way_out_is_named(run, monkeypatch, end, package):
    monkeypatch.setattr("corelm_study.logs.answers.GROUP", "corelm.no_such_logs")
    done = run("study", "read", f"a.{end}", f"b.{end}")
    assert done.code == 1
    assert f"pip install {package}" in done.err


@pytest.mark.slow
def test_logs_are_read_without_the_programs_that_wrote_them(tmp_path):
    paths = [harness(tmp_path / "a.jsonl", [1, 0]), tmp_path / "b.json"]
    paths[1].write_text(json.dumps({"eval": {}, "samples": inspect_samples([1, 0])}))
    code = (
        "import sys; from pathlib import Path\n"
        "sys.modules |= dict.fromkeys(('inspect_ai', 'lm_eval'))  # importing them fails\n"
        "from corelm_study.logs.answers import read_answers\n"
        "assert all(len(read_answers(Path(path))) == 2 for path in sys.argv[1:])"
    )
    done = python("-c", code, *paths)
    assert done.returncode == 0, done.stderr
