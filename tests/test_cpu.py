"""The number of threads follows the environment, the affinity and the container."""

from __future__ import annotations

import math
import os

import pytest
from programs import python

from corelm.native import cpu


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Nothing is set, and nothing is cached."""
    monkeypatch.delenv(cpu.VARIABLE, raising=False)
    cpu.cpu_limit.cache_clear()
    yield
    cpu.cpu_limit.cache_clear()


@pytest.mark.parametrize("text", ["1", "3", " 12 ", "007"])
def test_the_variable_decides(monkeypatch, text):
    monkeypatch.setenv(cpu.VARIABLE, text)
    assert cpu.cpu_limit() == int(text)


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "abc", "²", "9" * 20, "9" * 5000, ""])
def test_a_bad_value_is_ignored_with_a_warning_and_an_empty_one_is_none(monkeypatch, caplog, text):
    expected = cpu.cpu_limit()
    cpu.cpu_limit.cache_clear()
    monkeypatch.setenv(cpu.VARIABLE, text)
    assert cpu.cpu_limit() == expected
    warning = f"a whole number from 1 to 99999, not {text!r:.60}; it is ignored"
    assert (warning in caplog.text) == bool(text)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="there is no affinity here")
def test_the_affinity_is_respected():
    code = """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from corelm.native.cpu import cpu_limit
print(cpu_limit())
"""
    done = python("-c", code, check=True)
    assert done.stdout == "1\n"


OF_VERSION_1 = "5:memory:/job\n4:cpu,cpuacct:/job\n"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        # the smallest quota of a group and those around it
        ({"cgroup": "0::/outer/inner\n", "outer/cpu.max": "250000 100000",
          "outer/inner/cpu.max": "max 100000"}, 3),
        ({"cgroup": "0::/outer/inner\n", "outer/cpu.max": "250000 100000",
          "outer/inner/cpu.max": "10000 100000"}, 1),
        ({"cgroup": OF_VERSION_1, "cpu/job/cpu.cfs_quota_us": "150000",
          "cpu/job/cpu.cfs_period_us": "100000", "memory/job/limit": "1"}, 2),
        ({"cgroup": OF_VERSION_1, "cpu/job/cpu.cfs_quota_us": "-1",
          "cpu/job/cpu.cfs_period_us": "100000"}, math.inf),
        ({"cgroup": "nonsense\n\n0::\n"}, math.inf),
        ({}, math.inf),
    ],
)  # fmt: skip
def test_the_quota_of_a_container(tmp_path, files, expected):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    assert cpu._container_quota(tmp_path / "cgroup", tmp_path) == expected


def test_reports_name_that_number():
    code = "from corelm.machine import facts; print(facts()['cores'])"
    done = python("-c", code, env={cpu.VARIABLE: "3"}, check=True)
    assert done.stdout == "3\n"


def test_a_bad_value_is_one_line_even_if_warnings_are_errors():
    words = ("-W", "error", "-m", "corelm", "samplers", "greedy")
    environment = {cpu.VARIABLE: "abc", "CORELM_PLUGINS": "corelm"}
    done = python(*words, env=environment, encoding="utf-8")
    assert (done.returncode, done.stderr) == (
        0,
        "warning: CORELM_THREADS must be a whole number from 1 to 99999, not 'abc'; "
        "it is ignored\n",
    )
