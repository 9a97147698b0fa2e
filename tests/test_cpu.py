"""The number of threads follows the environment, the affinity and the container."""

from __future__ import annotations

import math
import os
import subprocess
import sys

import pytest

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


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "abc", "²", "9" * 20, "9" * 5000])
def test_a_bad_value_is_ignored_with_a_warning(monkeypatch, caplog, text):
    expected = cpu.cpu_limit()
    cpu.cpu_limit.cache_clear()
    monkeypatch.setenv(cpu.VARIABLE, text)
    assert cpu.cpu_limit() == expected
    assert f"a whole number from 1 to 99999, not {text!r:.60}; it is ignored" in caplog.text


def test_an_empty_value_is_none(monkeypatch):
    expected = cpu.cpu_limit()
    cpu.cpu_limit.cache_clear()
    monkeypatch.setenv(cpu.VARIABLE, "")
    assert cpu.cpu_limit() == expected


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="there is no affinity here")
def test_the_affinity_is_respected():
    code = """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from corelm.native.cpu import cpu_limit
print(cpu_limit())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


def test_the_quota_is_the_smallest_one_of_the_groups(tmp_path):
    membership = tmp_path / "cgroup"
    membership.write_text("0::/outer/inner\n")
    for group, quota in [("", None), ("outer", "250000 100000"), ("outer/inner", "max 100000")]:
        (tmp_path / group).mkdir(exist_ok=True)
        if quota:
            (tmp_path / group / "cpu.max").write_text(quota)
    assert cpu._container_quota(membership, tmp_path) == 3
    (tmp_path / "outer/inner/cpu.max").write_text("10000 100000")
    assert cpu._container_quota(membership, tmp_path) == 1


@pytest.mark.parametrize(("quota", "expected"), [("150000", 2), ("-1", math.inf)])
def test_the_quota_of_version_1(tmp_path, quota, expected):
    membership = tmp_path / "cgroup"
    membership.write_text("5:memory:/job\n4:cpu,cpuacct:/job\n")
    for controller in ("cpu", "memory"):
        (tmp_path / controller / "job").mkdir(parents=True)
    (tmp_path / "cpu/job/cpu.cfs_quota_us").write_text(quota)
    (tmp_path / "cpu/job/cpu.cfs_period_us").write_text("100000")
    assert cpu._container_quota(membership, tmp_path) == expected


def test_without_control_groups_there_is_no_quota(tmp_path):
    assert cpu._container_quota(tmp_path / "missing") == math.inf
    (tmp_path / "broken").write_text("nonsense\n\n0::\n")
    assert cpu._container_quota(tmp_path / "broken", tmp_path) == math.inf


def test_reports_name_that_number():
    code = "from corelm.machine import facts; print(facts()['cores'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, cpu.VARIABLE: "3"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "3\n"


def test_a_bad_value_is_one_line_even_if_warnings_are_errors():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "corelm", "samplers", "greedy"],
        env={**os.environ, cpu.VARIABLE: "abc", "CORELM_PLUGINS": "corelm"},
        capture_output=True,
        encoding="utf-8",
    )
    assert (done.returncode, done.stderr) == (
        0,
        "warning: CORELM_THREADS must be a whole number from 1 to 99999, not 'abc'; "
        "it is ignored\n",
    )
