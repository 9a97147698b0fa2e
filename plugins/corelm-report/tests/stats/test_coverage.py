"""The intervals of a report hold the truth: a small sample of the programs in `tests/long`."""

from __future__ import annotations

import pytest
from long_programs import long_program


@pytest.fixture(scope="module")
def reports():
    return long_program("whole_reports")


@pytest.mark.long
@pytest.mark.parametrize(
    ("chain", "design"),
    [("ending", (1, 64)), ("unlike", (4, 16)), ("repeating", (8, 4)), ("unlike", (50, 1))],
)
def test_intervals_hold_the_truth_in_every_design(reports, chain, design):
    """Of 100 studies, 95 should hold it; fewer than 86 once in 2,500 times."""
    held = reports.coverage(chain, design, studies=100, sets=0)
    for name in ("surprisal", "difference of surprisal"):
        assert reports.share(held[name]) >= 0.86, name


@pytest.mark.long
def test_compression_of_few_short_texts_is_not_underestimated(reports):
    """The ratio is skewed: an interval symmetric around it held 81 % of the truths."""
    held = reports.coverage("unlike", (2, 8), studies=0, sets=100)
    assert reports.share(held["compression"]) >= 0.88


def test_a_study_has_the_intervals_of_a_report(reports):
    study = reports.study_of_means("unlike", (8, 2), seed=7)
    texts, _ = reports.both_samplers("unlike", (8, 2), seed=7)
    ends = reports.TextSet(texts.records(), reports.BAND).summary().ci95
    for name in ("surprisal", "rep_2"):
        assert ends[name] == pytest.approx(study[name][1])


def test_most_studies_need_an_interval(reports):
    assert reports.share([True, False, True, True]) == 0.75
    assert reports.share([True, None, None, None]) is None


@pytest.mark.slow
@pytest.mark.parametrize("settings", range(5))
@pytest.mark.parametrize("shared", [0, 0.8])
def test_the_interval_of_the_best_holds_wherever_the_settings_lie(settings, shared):
    program = long_program("best_setting")
    truth = list(program.TRUE_MEANS.values())[settings]
    assert program.coverage_of_the_best(truth, shared, studies=100) >= 0.9
