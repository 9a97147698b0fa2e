"""Engines: the same bytes from every one, though workers die or come late."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from killing import install
from units import CountWords, Double, OddError, Raise, Suicide

import corelm
from corelm import Sampler
from corelm.errors import CorelmError, EngineError, SamplerError, UsageError
from corelm.native.cpu import VARIABLE
from corelm.plugins.strategies import Strategy, strategy
from corelm.scaling.choice import choose
from corelm.scaling.dask_cluster import Dask
from corelm.scaling.engine import Serial, Unit
from corelm.scaling.job import Job
from corelm.scaling.processes import Processes
from corelm.scaling.starting import limited_threads
from corelm.scaling.worker import _loaded, do, packed
from corelm.testing import ToyModel

pytestmark = pytest.mark.slow

HERE = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
"""A cluster that listens on this machine alone, on no fixed port."""
SAMPLERS = ["greedy", "kills_once", "temperature(t=0.7) | top_k(k=3)", "fails_late"]


@pytest.fixture
def killed(
    installed_plugin: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The file that exists once a worker was killed."""
    return install(installed_plugin, tmp_path, monkeypatch)


@pytest.fixture
def serial(killed: Path) -> str:
    """The report of the engine `serial`."""
    killed.touch()
    report = compare()
    killed.unlink()
    return report


def compare(**engine: object) -> str:
    """Make a report of several units in each stage; return its JSON without the time."""
    prompts = ["the", "the cat", "the dog", "a"]
    report = corelm.compare(
        "cats", SAMPLERS, prompts=prompts, n=6, length=12, scorer="dogs", **engine
    )
    document = report.to_dict()
    assert document["samplers"][0]["generated_texts"]["scorer_surprisal"] > 0
    del document["header"]["created"]
    return json.dumps(document)


def job(*samplers: Sampler, text: str = "the") -> Job:
    return Job.of("cats", ToyModel(), text, samplers)


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_processes_make_the_same_report_though_one_is_killed(serial, killed, workers, caplog):
    assert compare(engine="processes", workers=workers) == serial
    assert killed.exists()
    assert caplog.messages == [
        "a worker died in 'teacher forcing 0' by SIGKILL; another one does it again"
    ]


@contextmanager
def dask_worker(address: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker of a Dask cluster, in a process of its own."""
    code = "from distributed.cli.dask_worker import main; main()"
    words = [address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1"]
    process = subprocess.Popen([sys.executable, "-c", code, *words], stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def models() -> int:
    """The number of models that a worker has loaded."""
    return _loaded.cache_info().currsize


def test_dask_makes_the_same_report_though_workers_come_and_go(serial, killed):
    distributed = pytest.importorskip("distributed")
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

        report = compare(engine="dask", scheduler=address, progress=add_a_worker)
        assert report == serial
        assert address.startswith("tcp://127.0.0.1:")
        loaded = sorted(client.run(models).values())
        assert loaded in ([1, 2], [2, 2])  # the late one worked too, and the scorer is there
        assert killed.exists()
        assert {first.poll(), second.poll()} == {None, -signal.SIGKILL}


def test_a_dask_cluster_that_cannot_work_is_named(killed, monkeypatch):
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr("corelm.scaling.dask_cluster.PATIENCE", 1)

    with pytest.raises(EngineError, match=r"^no Dask scheduler answers at tcp://127.0.0.1:1: "):
        Dask([job()], "tcp://127.0.0.1:1", 1)
    with (
        distributed.LocalCluster(n_workers=0, **HERE) as cluster,
        pytest.raises(EngineError, match=r"^the Dask scheduler has had no worker for 1 seconds; "),
    ):
        Dask([job()], cluster.scheduler_address, 1)


def threads() -> str:
    """The number of threads that a worker may compute with."""
    return os.environ[VARIABLE]


def test_a_dask_cluster_of_this_machine_listens_here_alone_and_shares_its_threads(
    killed, monkeypatch, caplog
):
    pytest.importorskip("distributed")
    import psutil  # which Dask needs

    monkeypatch.setattr("corelm.scaling.dask_cluster.cpu_limit", lambda: 7)
    with caplog.at_level("INFO", logger="corelm"):
        engine = Dask([job()], None, 2)
    try:
        assert re.fullmatch(r"2 Dask workers at tcp://127\.0\.0\.1:\d+", caplog.messages[-1])
        assert list(engine._client.nthreads().values()) == [1, 1]
        assert list(engine._client.run(threads).values()) == ["3", "3"]
        here = psutil.Process()
        for process in [here, *here.children(recursive=True)]:
            for connection in process.net_connections("inet"):
                if connection.status == psutil.CONN_LISTEN:
                    assert connection.laddr.ip == "127.0.0.1"
                    assert connection.laddr.port != 8787
    finally:
        engine.close()


def test_a_unit_that_kills_every_dask_worker_is_named(killed):
    pytest.importorskip("distributed")

    engine = Dask([job()], None, 1)
    try:
        with pytest.raises(EngineError, match=r"^several workers died in 'suicide'"):
            results(engine, [Double(1), Suicide()])
    finally:
        engine.close()


def results(engine: object, units: list[Unit]) -> dict[str, str]:
    return {unit.name: result for unit, result in engine.run(iter(units))}


def test_units_are_done_again_a_few_times_and_the_engine_works_afterwards(killed):
    engine = Processes([job()], 2)
    try:
        with pytest.raises(
            EngineError, match=r"^3 workers died in 'suicide', the last one by SIGK"
        ):
            results(engine, [Double(1), Suicide(), Double(2)])
        for raised, expected in [(SamplerError, SamplerError), (OddError, EngineError)]:
            with pytest.raises(expected, match="1 of them"):
                results(engine, [Raise(raised)])
        doubled = {f"double {n}": str(2 * n) for n in range(5)}
        assert results(engine, [Double(n) for n in range(5)]) == doubled
        assert results(Serial(ToyModel()), [Double(n) for n in range(5)]) == doubled
    finally:
        engine.close()


def test_an_engine_has_several_models(killed):
    jobs = [job(), Job.of("dogs", ToyModel(end=False), "the", ())]
    for engine in (Serial(ToyModel(), ToyModel(end=False)), Processes(jobs, 1)):
        try:
            found = [list(engine.run(iter([CountWords()]), model)) for model in (0, 1)]
        finally:
            engine.close()
        assert found == [[(CountWords(), "13")], [(CountWords(), "12")]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sha256": "0" * 64}, r"another model cats: \w{64} there, 0{64} here; install the same"),
        ({"versions": (("corelm-kills", "0.9"),)}, r"another corelm-kills: 1\.0 there, 0\.9 here"),
        ({"versions": (("corelm-gone", "1.0"),)}, r"another corelm-gone: none there, 1\.0 here"),
    ],
)
def test_a_worker_with_other_versions_is_refused_with_both(killed, changes, message):
    with pytest.raises(EngineError, match=f"^a worker has {message}"):
        do(replace(job(), **changes), packed(Double(1)))


def test_a_job_has_the_versions_of_all_plugins(killed):
    nested = corelm.sampler("top_k(k=3) | fails_late")
    names = {"corelm", "numpy", "corelm-kills", "platform", "kernels", "vector_width"}
    assert dict(job(nested).versions).keys() == names
    assert dict(job(nested).versions)["corelm-kills"] == "1.0"


def test_a_job_has_the_version_of_the_plugin_that_offers_the_model(killed, tmp_path):
    greedy = corelm.sampler("greedy")
    assert dict(job(greedy).versions)["corelm-kills"] == "1.0"
    on_disk = Job.of(f"{tmp_path}/cats", ToyModel(), "the", [greedy])
    assert "corelm-kills" not in dict(on_disk.versions)


def test_a_worker_loads_the_model_as_the_command_did(killed, monkeypatch):
    asked = []

    def load(name, **options):
        asked.append((name, options))
        return ToyModel()

    monkeypatch.setattr("corelm.scaling.job.load", load)
    replace(job(), device="cpu", dtype="float16").load()
    assert asked == [("cats", {"device": "cpu", "dtype": "float16"})]


def test_what_a_worker_imports_computes_with_its_share_of_the_threads(monkeypatch):
    names = (VARIABLE, "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "5")
    with limited_threads(3):
        assert [os.environ.get(name) for name in names] == ["3", "3", "3", "5"]
    assert [os.environ.get(name) for name in names] == [None, None, None, "5"]


class Local(Sampler):
    """A sampler that no plugin offers."""

    def __call__(self, logits, context):
        return logits


def test_what_workers_cannot_have_is_refused_at_once(killed):
    with pytest.raises(UsageError, match=r"^local exists in this process alone, where workers"):
        job(corelm.sampler("greedy") | Local())
    with pytest.raises(
        UsageError, match=r"^workers load the models themselves: give the name, not"
    ):
        corelm.compare(ToyModel(), ["greedy"], engine="processes")
    with pytest.raises(UsageError, match=r"give the name, not a ToyModel$"):
        corelm.compare("cats", ["greedy"], scorer=ToyModel(), engine="processes")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"engine": "process"}, "there is no engine 'process'; did you mean 'processes'?"),
        ({"workers": 2}, "the engine serial has no workers; choose processes or dask"),
        ({"engine": "processes", "workers": 0}, "workers must be at least 1, not 0"),
        ({"engine": "processes", "scheduler": "tcp://a:1"}, "a scheduler is for the engine dask"),
        ({"engine": "dask", "scheduler": "tcp://a:1", "workers": 1}, "a scheduler has its own"),
    ],
)
def test_an_engine_that_cannot_be_is_refused(asked, message):
    with pytest.raises(CorelmError) as refused:
        choose(**asked)
    assert str(refused.value).startswith(message)


def test_a_sampler_travels_as_its_expression():
    sampler = corelm.sampler("top_p(p=0.9) | temperature(t=0.7)")
    assert Strategy(sampler).__reduce__() == (strategy, (str(sampler),))
