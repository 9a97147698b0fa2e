"""The settings of a report, declared once: Python, the command line, studies and resuming agree."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
from corelm_report import settings
from corelm_report.cli import commands
from corelm_report.plan import plan as plans
from corelm_report.settings import SETTINGS, ReportSetting
from corelm_report.studies.study_file import KEYS, TABLES

import corelm
from corelm.errors import UsageError
from corelm.params import Parameter
from corelm.testing import ToyModel


def test_python_the_command_line_and_studies_have_every_setting():
    command = commands.corelm_commands()["report"]
    assert SETTINGS.keys() <= inspect.signature(corelm.compare).parameters.keys()
    [typed] = command.registered_commands
    assert commands.OPTIONS.keys() <= inspect.signature(typed.callback).parameters.keys()
    assert KEYS.keys() <= TABLES[""].keys()
    # A study lists its seeds, and loads a second scorer for each of its models.
    assert SETTINGS.keys() - KEYS.keys() == {"seed", "scorer"}


PATIENCE = ReportSetting("count", "The tokens to wait.", 3, is_plain=True)


@pytest.fixture
def declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting `patience`, which is declared and otherwise unknown."""
    for module in (plans, settings):
        monkeypatch.setattr(module, "SETTINGS", SETTINGS | {"patience": PATIENCE})
        monkeypatch.setattr(module, "DEFAULTS", settings.DEFAULTS | {"patience": 3})
    monkeypatch.setattr(settings, "TYPES", settings.TYPES | {"patience": int})
    number = Parameter.of("patience", int, None, ge=plans.LEAST[PATIENCE.kind])
    monkeypatch.setattr(plans, "NUMBERS", plans.NUMBERS | {"patience": number})


@pytest.mark.usefixtures("declared")
def test_a_declared_setting_decides_whether_a_report_is_continued():
    """Nothing else has to know a setting whose value the figures take as it is."""
    given = ({}, {"patience": 4}, {"patience": "4"})
    made = [plans.plan(ToyModel(), "toy", ["greedy"], **each) for each in given]
    assert [each.plain["patience"] for each in made] == [3, 4, 4]
    assert made[0].as_json() != made[1].as_json() == made[0].as_json() | {"patience": 4}
    assert made[1].as_json() == made[2].as_json()  # a text of the command line is the same number
    with pytest.raises(UsageError, match=r"^patience must be at least 1, not 0$"):
        plans.plan(ToyModel(), "toy", ["greedy"], patience=0)


@pytest.mark.usefixtures("declared")
def test_a_declared_setting_is_in_the_document_and_on_the_page(tmp_path):
    def made(**given):
        return corelm.compare(ToyModel(), ["greedy"], prompts="the", n=2, length=2, **given)

    assert "settings" not in made().to_dict()["header"]  # it has its default
    report = made(patience="4")
    assert report.to_dict()["header"]["settings"] == {"patience": 4}
    file = tmp_path / "report.json"
    file.write_text(report.to_json(), "utf-8")
    assert corelm.Report.read(file).to_dict() == report.to_dict()
    assert "<dt><bdi>Patience</bdi></dt><dd><bdi>4</bdi></dd>" in report.to_html()
    assert "Patience: 4." in report.to_markdown()


@pytest.mark.usefixtures("declared")
def test_a_declared_setting_is_a_keyword_with_its_help():
    def measure(model: str, **settings: object) -> None:
        """Measure a model.

        Args:
            model: the model.
            seed: described here.

        Raises:
            UsageError: never.
        """

    described = settings.with_settings(measure)
    assert inspect.signature(described).parameters["patience"].default == 3
    args, _, rest = described.__doc__.partition("Raises:")
    assert "\n    patience: The tokens to wait.\n" in args
    assert re.findall("seed: .*", args) == ["seed: described here."]
    assert rest.strip() == "UsageError: never."


def test_a_setting_is_known_to_three_files_at_most():
    package = Path(settings.__file__).parent
    sources = [file.read_text("utf-8") for file in package.rglob("*.py")]
    for name in SETTINGS:
        if "_" in name:  # a name of one word means other things too
            assert sum(name in source for source in sources) <= 3, name


def test_a_setting_that_no_report_has_is_refused():
    with pytest.raises(TypeError, match="a report has no setting 'promps'; did you mean 'prompts'"):
        corelm.compare(ToyModel(), ["greedy"], promps="the")
