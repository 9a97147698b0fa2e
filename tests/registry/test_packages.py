"""The heart finds names and formats of its packages by entry point, and only theirs."""

from __future__ import annotations

import pytest

import corelm
from corelm.errors import MissingDependencyError
from corelm.registry.packages import FORMATS, NAMES, package_object


@pytest.mark.packages
def test_a_name_of_a_package_is_corelms_own(installed_plugin) -> None:
    code = "def compare(*arguments, **settings):\n    raise SystemExit('not corelm')\n"
    installed_plugin("corelm-impostor", {"compare": "corelm_impostor:compare"}, code, NAMES)
    assert package_object(NAMES, "compare").__module__ == "corelm_report.report"
    assert corelm.compare.__module__ == "corelm_report.report"


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("compare", 'pip install "corelm[report]"'),
        ("keras", 'pip install "corelm[train]"'),
        ("preset", 'pip install "corelm"'),
    ],
)
def test_without_the_package_the_command_that_installs_it_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, command: str
) -> None:
    monkeypatch.setattr("corelm.registry.packages.entry_points", lambda group: [])
    with pytest.raises(MissingDependencyError) as caught:
        package_object(NAMES if name != "keras" else FORMATS, name)
    assert str(caught.value).endswith(f"install it with: {command}")


def test_a_name_that_nobody_has_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'comparison'"):
        corelm.comparison  # noqa: B018
