"""The benchmark of training, but for its clock: on small networks and made-up texts."""

from __future__ import annotations

import argparse
import random
from dataclasses import replace

import numpy as np
import pytest
from benchmark_scripts import script

pytest.importorskip("keras", reason="pip install keras")

from corelm_report.human_baseline import Scores
from corelm_train.settings import PRESETS

from corelm.bundles import WordVocabulary
from corelm.models.word_vocabulary import END

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def training():
    """The script as a module."""
    return script("training")


@pytest.fixture(autouse=True)
def small_presets(monkeypatch, training):
    """Both presets with their recipes, small, on five words of each text."""
    for name in training.PEERS:
        preset = PRESETS[name]
        small = replace(preset.architecture, context_length=4, width=8, dense=16, heads=2, blocks=1)
        recipe = replace(preset.recipe, batch=4)
        monkeypatch.setitem(PRESETS, name, replace(preset, architecture=small, recipe=recipe))
    monkeypatch.setattr(training, "WORDS", 5)
    monkeypatch.setitem(training.PEERS["default"], "precision", "float32")


@pytest.fixture
def options(tmp_path):
    """The command line, on forty texts of five letters and two x."""
    rng = random.Random(0)
    texts = [" ".join([*rng.choices("abcdefgh", k=5), "x", "x"]) for _ in range(40)]
    (tmp_path / "texts.txt").write_text("\n".join(texts), encoding="utf-8")
    return argparse.Namespace(
        data=tmp_path / "texts.txt",
        results=tmp_path / "results.json",
        book_epochs=1,
        default_steps=6,
        every=2,
        limit_steps=None,
        target=None,
    )


def steps(training, options, peer):
    return [point.step for point in training.points(options.results, peer)]


def test_both_are_measured_as_they_learn_and_at_their_ends(training, options):
    training.learn("book", options)
    training.learn("default", options)
    assert steps(training, options, "book") == [2, 4, 6, 8, 10]  # 38 texts, four at a time
    assert steps(training, options, "default") == [2, 4, 6]
    for peer in training.PEERS:
        points = training.points(options.results, peer)
        assert all(1 < point.perplexity < 20 for point in points)
        for clock in ("seconds", "processor_seconds"):
            readings = [getattr(point, clock) for point in points]
            assert readings == sorted(readings)


def test_an_interrupted_run_continues(training, options):
    training.learn("book", argparse.Namespace(**{**vars(options), "limit_steps": 5}))
    assert steps(training, options, "book") == [2, 4, 5]
    before = training.points(options.results, "book")
    training.learn("book", options)
    assert steps(training, options, "book") == [2, 4, 5, 6, 8, 10]
    after = training.points(options.results, "book")
    assert after[:3] == before
    assert after[3].processor_seconds > before[-1].processor_seconds


def test_it_stops_at_the_target(training, options):
    options.target = 1e9
    training.learn("default", options)
    assert steps(training, options, "default") == [2]


def test_both_learn_from_the_same_words(training, options, monkeypatch):
    runs = []
    monkeypatch.setattr(training.Measuring, "begin", lambda self, run: runs.append(run))
    monkeypatch.setattr(training.OfBeginnings, "fit", lambda self: None)
    options.default_steps = 1000
    for peer in training.PEERS:
        training.learn(peer, options)
    book, default = runs
    assert set(book.vocabulary.words) == set(default.vocabulary.words) - {END}
    read = [[[run.vocabulary.words[i] for i in row] for row in run.rows] for run in runs]
    assert all("x" in run.vocabulary.words for run in runs)
    assert not any("x" in row for rows in read for row in rows)
    beginnings = sorted(row[1:] for row in read[1] if row[0] == END and END not in row[1:])
    assert beginnings == sorted(row[:4] for row in read[0])


def test_the_words_that_both_predict_count(training):
    targets = np.array([[2, 3, 4], [2, 3, 0]])
    surprisal = np.log(np.array([[9, 2, 8], [9, 4, 9]], dtype=np.float32))
    scores = Scores(targets, surprisal, surprisal, surprisal)
    with_end = WordVocabulary(["", "[UNK]", END, "a", "b"], "words")
    assert training.common_perplexity(scores, with_end) == pytest.approx(4)  # of 2, 8 and 4
    without = WordVocabulary(["", "[UNK]", "a", "b", "c"], "words")
    assert training.common_perplexity(scores, without) == pytest.approx((9 * 2 * 9 * 4) ** 0.25)


def test_the_verdict_compares_where_the_target_is_reached(training):
    book = [training.Point(100, 50.0, 90.0, 700.0), training.Point(200, 100.0, 180.0, 300.0)]
    default = [
        training.Point(10, 5.0, 9.0, 400.0),
        training.Point(20, 10.0, 20.0, 300.0),
        training.Point(30, 15.0, 29.0, 200.0),
    ]
    table = training.table(book, default)
    assert "| `default` | 20 | 10 | 20 | 300.0 |" in table
    assert table.endswith(
        "`default` reaches the 300.0 of `book` 10.0 times sooner, with 9.0 times less of the "
        "processor (goal: 6)."
    )
    assert "`default` has not reached 300.0" in training.table(book, default[:1])
