"""An executor on a Dask cluster: the same bytes, though workers die or come late."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest
from programs import python
from units import CountWords, Double, OddError, Raise, Suicide, loaded_models

import corelm
from corelm.errors import ExecutorError, SamplerError
from corelm.native.cpu import VARIABLE
from corelm.registry.models import LoadedAs
from corelm.scaling.dependencies import Dependencies
from corelm.scaling.job import Job, Unit
from corelm.testing import ToyModel

dask = pytest.importorskip("dask", reason="pip install dask")
distributed = pytest.importorskip("distributed", reason="pip install distributed")
from corelm.scaling.dask_cluster import DaskCluster  # noqa: E402

HERE = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
"""A cluster that listens on this machine alone, on no fixed port."""
pytestmark = pytest.mark.slow
SAMPLERS = ["greedy", "kills_once", "temperature(t=0.7) | top_k(k=3)", "fails_late"]
LIBRARIES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait longer than users do: on a busy machine a worker takes a minute to start."""
    monkeypatch.setattr("corelm.scaling.dask_cluster.PATIENCE", 300)


@pytest.fixture
def in_process(killed: Path) -> str:
    """The report that is made in this process."""
    killed.touch()
    report = compare()
    killed.unlink()
    return report


def compare(**executor: object) -> str:
    """Make a report of several units in each stage; return its JSON without the time."""
    prompts = ["the", "the cat", "the dog", "a"]
    report = corelm.compare(
        "cats", SAMPLERS, prompts=prompts, n=6, length=12, scorer="dogs", **executor
    )
    document = report.to_dict()
    assert document["samplers"][0]["generated_texts"]["scorer_surprisal"] > 0
    del document["header"]["created"]
    return json.dumps(document)


@contextmanager
def program(name: str, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program of Dask in a process of its own."""
    code = f"from distributed.cli.{name} import main; main()"
    words = (*words, "--no-dashboard", "--host", "127.0.0.1")
    process = subprocess.Popen([sys.executable, "-c", code, *words], stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def dask_worker(address: str) -> AbstractContextManager[subprocess.Popen[bytes]]:
    return program("dask_worker", address, "--nthreads", "1", "--no-nanny")


@contextmanager
def cluster(*jobs: Job, workers: int | str = 1) -> Iterator[DaskCluster]:
    executor = DaskCluster(jobs or [job()], workers)
    try:
        yield executor
    finally:
        executor.close()


def job(name: str = "cats", *, end: bool = True) -> Job:
    return Job.of(LoadedAs(name, None, None), ToyModel(end=end), Dependencies([]))


def results(executor: DaskCluster, units: list[Unit]) -> dict[str, str]:
    return {unit.name: result for unit, result in executor.run(iter(units), 0)}


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.long)])
def test_the_report_is_the_same_though_a_worker_is_killed(in_process, killed, workers):
    assert compare(workers=workers) == in_process
    assert killed.exists()


@pytest.mark.long
def test_the_report_is_the_same_though_workers_come_and_go(in_process, killed):
    with (
        distributed.LocalCluster(n_workers=0, **HERE) as cluster,
        distributed.Client(cluster) as client,
        ExitStack() as workers,
    ):
        address = cluster.scheduler_address
        first, second = (workers.enter_context(dask_worker(address)) for _ in range(2))
        client.wait_for_workers(2)

        def add_a_worker(stage: str, done: int, total: int) -> None:
            if (stage, done) == ("generated texts", 0):
                workers.enter_context(dask_worker(address))
                client.wait_for_workers(2)

        report = compare(scheduler=address, progress=add_a_worker)
        assert report == in_process
        assert address.startswith("tcp://127.0.0.1:")
        loaded = sorted(client.run(loaded_models).values())
        assert loaded in ([1, 2], [2, 2])  # the late one worked too, and the scorer is there
        assert killed.exists()
        assert {first.poll(), second.poll()} == {None, -signal.SIGKILL}


def test_a_cluster_without_a_scheduler_or_a_worker_is_named(killed, monkeypatch):
    monkeypatch.setattr("corelm.scaling.dask_cluster.PATIENCE", 3)

    with pytest.raises(ExecutorError, match=r"^no Dask scheduler answers at tcp://127.0.0.1:1: "):
        DaskCluster([job()], "tcp://127.0.0.1:1")
    with (
        distributed.LocalCluster(n_workers=0, **HERE) as cluster,
        pytest.raises(ExecutorError, match=r"^the Dask scheduler has had no worker for 3 seconds"),
    ):
        DaskCluster([job()], cluster.scheduler_address)


def test_a_scheduler_that_dies_is_named_in_one_sentence_with_the_way_out(killed, tmp_path, capfd):
    file = tmp_path / "scheduler.json"
    with program("dask_scheduler", "--port", "0", "--scheduler-file", str(file)) as scheduler:
        while not file.exists() or not file.read_text().endswith("}"):
            assert scheduler.poll() is None
            time.sleep(0.01)
        address = json.loads(file.read_text())["address"]
        with dask_worker(address), cluster(workers=address) as executor:
            done = executor.run((Double(n) for n in range(10**9)), 0)
            next(done)
            scheduler.kill()
            with pytest.raises(ExecutorError) as error:
                list(done)
    assert str(error.value) == (
        f"the Dask scheduler at {address} is gone: start it again, and the command with --resume"
    )
    assert capfd.readouterr().err == ""


def test_the_death_of_the_only_worker_is_named(killed, monkeypatch):
    with (
        distributed.LocalCluster(n_workers=0, **HERE) as local,
        dask_worker(local.scheduler_address) as worker,
        cluster(workers=local.scheduler_address) as executor,
    ):
        done = executor.run((Double(n) for n in range(10**9)), 0)
        next(done)
        monkeypatch.setattr(
            "corelm.scaling.dask_cluster.PATIENCE", 2
        )  # a new worker may take longer
        worker.kill()
        with pytest.raises(ExecutorError, match=r"had no worker for 2 seconds; .* with --resume$"):
            list(done)


def test_a_worker_with_an_edited_copy_of_a_plugin_is_refused(killed, tmp_path, monkeypatch):
    killed.touch()
    copy = tmp_path / "edited"
    shutil.copytree(os.environ["PYTHONPATH"].split(os.pathsep)[0], copy)
    module = copy / "corelm_kills.py"
    module.write_text(module.read_text() + "\n# edited\n")
    with distributed.LocalCluster(n_workers=0, **HERE) as scheduler:
        address = scheduler.scheduler_address
        with monkeypatch.context() as there:
            there.setenv("PYTHONPATH", os.pathsep.join([str(copy), os.environ["PYTHONPATH"]]))
            worker = dask_worker(address)
            stack = ExitStack()
            stack.enter_context(worker)
        with stack, pytest.raises(ExecutorError) as error:
            compare(scheduler=address)
    assert re.fullmatch(
        r"a worker has other code of corelm_kills \(digest \w{16}, expected \w{16}\), though the "
        r"versions are the same; install the same files on both, and start the worker again",
        str(error.value),
    )


def threads() -> list[str]:
    """The number of threads that a worker may compute with, and that libraries may."""
    return [os.environ[name] for name in (VARIABLE, *LIBRARIES)]


def test_a_cluster_of_this_machine_listens_here_alone_and_shares_its_threads(
    killed, monkeypatch, caplog
):
    import psutil  # which Dask needs

    for name in (VARIABLE, *LIBRARIES):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "5")
    monkeypatch.setattr("corelm.scaling.dask_cluster.cpu_limit", lambda: 7)
    before = dict(os.environ)
    with caplog.at_level("INFO", logger="corelm"), cluster(workers=2) as executor:
        assert dict(os.environ) == before
        assert re.fullmatch(r"2 Dask workers at tcp://127\.0\.0\.1:\d+", caplog.messages[-1])
        assert list(executor._client.nthreads().values()) == [1, 1]
        assert list(executor._client.run(threads).values()) == [["3", "3", "3", "5"]] * 2
        here = psutil.Process()
        listening = [
            connection.laddr
            for process in [here, *here.children(recursive=True)]
            for connection in process.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        ]
        assert {address.ip for address in listening} == {"127.0.0.1"}
        assert 8787 not in {address.port for address in listening}


def test_a_script_without_a_guard_is_told_to_have_one(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import corelm\ncorelm.compare('imdb', ['greedy'], n=1, length=1, workers=1)\n"
    )
    done = python(script)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "corelm.errors.ExecutorError: the workers do not start; a script must call corelm.compare "
        "under `if __name__ == '__main__':`"
    )


def test_a_unit_that_kills_every_worker_is_named(killed):
    """Already the first death ends it: Dask may not replace a worker that dies while it starts."""
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        cluster() as executor,
    ):
        assert results(executor, [Double(1)]) == {"double 1": "2"}
        with pytest.raises(ExecutorError, match=r"^1 workers died in 'suicide', the last one at "):
            results(executor, [Suicide()])


@pytest.mark.long
@pytest.mark.parametrize(
    ("raised", "expected"),
    [(SamplerError, SamplerError), (OddError, ExecutorError), (SystemExit, ExecutorError)],
)
def test_the_error_of_a_unit_is_raised_and_the_worker_works_afterwards(killed, raised, expected):
    doubled = {f"double {n}": str(2 * n) for n in range(5)}
    with cluster() as executor:
        with pytest.raises(expected, match="1 of them"):
            results(executor, [Raise(raised)])
        assert results(executor, [Double(n) for n in range(5)]) == doubled


def test_an_executor_has_several_models(killed):
    with cluster(job(), job("dogs", end=False)) as executor:
        found = [list(executor.run(iter([CountWords()]), model)) for model in (0, 1)]
    assert found == [[(CountWords(), "13")], [(CountWords(), "12")]]
