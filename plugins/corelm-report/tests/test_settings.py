"""The settings of a report, declared once: Python, the command line, studies and resuming agree."""

from __future__ import annotations

import inspect

import pytest
from corelm_report import settings
from corelm_report.cli import commands
from corelm_report.plan import plan as plans
from corelm_report.settings import SETTINGS, Setting
from corelm_report.studies.study_file import KEYS, TABLES

import corelm
from corelm.testing import ToyModel


def test_python_the_command_line_and_studies_have_every_setting():
    command = commands.corelm_commands()["report"]
    assert SETTINGS.keys() <= inspect.signature(corelm.compare).parameters.keys()
    [typed] = command.registered_commands
    assert commands.OPTIONS.keys() <= inspect.signature(typed.callback).parameters.keys()
    assert KEYS.keys() <= TABLES[""].keys()
    # A study lists its seeds, and loads a second scorer for each of its models.
    assert SETTINGS.keys() - KEYS.keys() == {"seed", "scorer"}


def test_a_declared_setting_decides_whether_a_report_is_continued(monkeypatch):
    """Nothing else has to know a setting whose value the figures take as it is."""
    more = {"patience": Setting("count", "Tokens to wait.", 3, is_plain=True)}
    monkeypatch.setattr(plans, "SETTINGS", SETTINGS | more)
    monkeypatch.setattr(plans, "DEFAULTS", settings.DEFAULTS | {"patience": 3})
    made = [plans.plan(ToyModel(), "toy", ["greedy"], **given) for given in ({}, {"patience": 4})]
    assert [each.plain for each in made] == [{"patience": 3}, {"patience": 4}]
    assert made[0].as_json() != made[1].as_json() == made[0].as_json() | {"patience": 4}


def test_a_setting_that_no_report_has_is_refused():
    with pytest.raises(TypeError, match="a report has no setting 'promps'; did you mean 'prompts'"):
        corelm.compare(ToyModel(), ["greedy"], promps="the")
