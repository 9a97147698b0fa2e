"""The executor that options name."""

from __future__ import annotations

import sys

import pytest

from corelm import CorelmError
from corelm.errors import MissingDependencyError
from corelm.scaling.executor import Executor


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"workers": 0}, "workers must be at least 1, not 0"),
        ({"workers": 999_999}, "workers must be at most "),
        ({"scheduler": " "}, "the scheduler needs an address, such as tcp://"),
        ({"workers": 1, "scheduler": "tcp://a:1"}, "a scheduler has its own workers: leave out"),
    ],
)
def test_an_executor_that_cannot_be_is_refused(asked, message):
    with pytest.raises(CorelmError) as refused:
        Executor.of(**asked)
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize("asked", [{"workers": 2}, {"scheduler": "tcp://a:1"}], ids=list)
def test_without_dask_the_command_that_installs_it_is_shown(asked, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingDependencyError) as missing:
        Executor.of(**asked)
    assert str(missing.value) == (
        "workers need dask.distributed (import of distributed halted; None in sys.modules); "
        "install it with: pip install 'corelm[dask]'"
    )
    assert Executor.of().workers is None
