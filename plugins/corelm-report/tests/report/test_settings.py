"""The settings of a report, declared once: Python, the command line and studies agree."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

import corelm
from corelm.testing import ToyModel
from corelm_report import settings
from corelm_study.study_file import KEYS


def test_python_the_command_line_and_studies_have_every_setting(run):
    parameters = inspect.signature(corelm.compare).parameters
    assert settings.SETTINGS.keys() <= parameters.keys()
    options = run("report", "--help").out
    # Python names the prompts of a reference and the samplers; a seed is one of the seeds.
    flags = {"metrics": "--metric", "n": "-n"}
    for name in settings.SETTINGS:
        assert flags.get(name, f"--{name.replace('_', '-')}") in options, name
    # A study lists its seeds, and loads a second scorer for each of its models.
    assert settings.SETTINGS.keys() - KEYS.keys() == {"seed", "scorer"}


def test_every_setting_is_described_in_the_docstring():
    arguments, _, _ = inspect.getdoc(corelm.compare).partition("Raises:")
    for name in settings.SETTINGS:
        assert arguments.count(f"\n    {name}: ") == 1, name


def test_a_setting_is_known_to_three_files_at_most():
    packages = Path(settings.__file__).parents[1]
    sources = [file.read_text("utf-8") for file in packages.glob("corelm_[prs]*/**/*.py")]
    for name in settings.SETTINGS:
        if "_" in name:  # a name of one word means other things too
            assert sum(name in source for source in sources) <= 3, name


def test_a_setting_that_no_report_has_is_refused():
    with pytest.raises(TypeError, match="a report has no setting 'promps'; did you mean 'prompts'"):
        corelm.compare(ToyModel(), ["greedy"], promps="the")
