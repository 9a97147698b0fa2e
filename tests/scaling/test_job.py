"""The job of a worker: the model that it loads, and the versions that it must have."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace

import pytest
from units import CountWords, Double, OddError, Raise

import corelm
from corelm import Sampler
from corelm.errors import ExecutorError, UsageError
from corelm.registry.models import LoadedAs
from corelm.scaling.dependencies import Dependencies, hash_of_variable
from corelm.scaling.job import Job, _loaded, differences, do, jobs_of, packed
from corelm.testing import ToyModel

pytestmark = pytest.mark.usefixtures("killed")  # which installs the models `cats` and `dogs`


def job(*samplers: Sampler) -> Job:
    return Job.of(LoadedAs("cats", None, None), ToyModel(), Dependencies(samplers))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fingerprint": "0" * 64}, r"model cats distribution:\w{64}, expected 0{64}; install"),
        ({"versions": (("corelm-kills", "0.9"),)}, r"corelm-kills 1\.0, expected 0\.9; install"),
        ({"versions": (("corelm-gone", "1.0"),)}, r"corelm-gone none, expected 1\.0; install"),
    ],
)
def test_a_worker_with_other_versions_is_refused_with_both(changes, message):
    with pytest.raises(ExecutorError, match=f"^a worker has {message}"):
        do(replace(job(), **changes), packed(Double(1)))


def test_a_worker_with_another_secret_is_refused(monkeypatch):
    monkeypatch.setenv("THE_KEY", "here")
    same = replace(job(), secrets=(("THE_KEY", hash_of_variable("THE_KEY")),))
    assert do(same, packed(Double(1))) == "2"
    monkeypatch.setenv("THE_KEY", "there")
    _loaded.cache_clear()
    with pytest.raises(ExecutorError, match="another value in its environment variable THE_KEY"):
        do(same, packed(Double(1)))


def test_a_job_has_the_versions_of_all_plugins():
    nested = corelm.sampler("top_k(k=3) | fails_late")
    names = {"corelm", "numpy", "corelm-kills", "platform", "kernels", "vector_width"}
    assert dict(job(nested).versions).keys() == names
    assert dict(job(nested).versions)["corelm-kills"] == "1.0"


def test_a_job_has_the_version_of_the_plugin_that_offers_the_model(tmp_path):
    greedy = corelm.sampler("greedy")
    assert dict(job(greedy).versions)["corelm-kills"] == "1.0"
    loaded, of_greedy = LoadedAs(f"{tmp_path}/cats", None, None), Dependencies([greedy])
    on_disk = Job.of(loaded, ToyModel(), of_greedy)
    assert "corelm-kills" not in dict(on_disk.versions)


def test_a_worker_loads_the_model_as_the_command_did(monkeypatch):
    asked = []

    def load(name, **options):
        asked.append((name, options))
        return ToyModel()

    monkeypatch.setattr("corelm.scaling.job.load", load)
    replace(job(), device="cpu", dtype="float16").load()
    assert asked == [("cats", {"device": "cpu", "dtype": "float16"})]


def test_a_job_has_the_name_and_the_device_that_its_model_was_loaded_with(monkeypatch):
    monkeypatch.setattr("corelm.registry.models._loaded", lambda name, options: ToyModel())
    models = [corelm.load("cats", device="cpu", dtype="float16"), corelm.load("dogs")]
    first, second = jobs_of(models, Dependencies([corelm.sampler("greedy")], ["numpy"]))
    assert (first.model, first.device, first.dtype) == ("cats", "cpu", "float16")
    assert (second.model, second.device, second.dtype) == ("dogs", None, None)
    assert {"corelm", "corelm_samplers", "numpy"} <= dict(first.code).keys()


class Local(Sampler):
    """A sampler that no plugin offers."""

    def __call__(self, logits, context):
        return logits


def test_what_workers_cannot_have_is_refused_at_once():
    with pytest.raises(UsageError, match=r"^local exists in this process alone, where workers"):
        job(corelm.sampler("greedy") | Local())


@pytest.mark.parametrize(
    "given", [{"model": ToyModel()}, {"model": "cats", "scorer": ToyModel()}], ids=list
)
def test_a_model_without_a_name_is_refused(given):
    pytest.importorskip("distributed")
    message = r"^workers load the models themselves: give the name, not a ToyModel$"
    with pytest.raises(UsageError, match=message):
        corelm.compare(samplers=["greedy"], workers=1, **given)


# The worker's side


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Jobs whose models are toys; what a worker changes in its process is put back."""
    level = logging.getLogger("corelm").level
    monkeypatch.setattr(Job, "load", lambda job: ToyModel(end=job.model == "with an end"))
    _loaded.cache_clear()
    yield
    _loaded.cache_clear()
    logging.getLogger("corelm").setLevel(level)


def job_of(name: str) -> Job:
    return Job(name, None, None, "0" * 64, ())


@pytest.mark.usefixtures("worker")
def test_a_worker_does_units_with_several_models_and_repeats_no_warning():
    words = packed(CountWords())
    assert [do(job_of(name), words) for name in ("with an end", "without")] == ["13", "12"]
    assert logging.getLogger("corelm").level == logging.ERROR


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize(
    ("raised", "expected", "message"),
    [
        (ExecutorError, ExecutorError, "1 of them"),
        (ValueError, ValueError, "1 of them"),
        (OddError, ExecutorError, "OddError: 1 of them"),
        (SystemExit, ExecutorError, "SystemExit: 1 of them"),
    ],
)
def test_an_error_travels_as_it_is_or_as_its_message(raised, expected, message):
    with pytest.raises(expected) as error:
        do(job_of("with an end"), packed(Raise(raised)))
    assert (type(error.value), str(error.value)) == (expected, message)


DIGEST = "0123456789abcdef"


@pytest.mark.parametrize(
    ("before", "now", "text"),
    [
        ({"n": 4}, {"n": 5}, "n 4, here 5"),
        ({"a_b": "x"}, {}, "a b 'x', here none"),
        ({"prompts": ["one", "two"]}, {"prompts": ["two"]}, "prompts one, here none"),
        ({"seeds": [1, 2]}, {"seeds": [2, 1]}, "seeds 1, 2, here 2, 1"),
        ({"model a_b": DIGEST}, {"model a_b": DIGEST[::-1]}, "other model a_b"),
        ({"model a_b": DIGEST}, {}, "other model a_b"),
        ({"code": {"a_b": DIGEST}}, {"code": {}}, "other code: a_b"),
        ({"secrets": {"KEY": DIGEST}}, {"secrets": {}}, "other secrets: KEY"),
        ({"same": 1, "n": 1, "m": 3}, {"same": 1, "n": 2}, "n 1, here 2; m 3, here none"),
    ],
)
def test_settings_that_differ(before, now, text):
    assert differences(before, now) == text


def test_a_long_list_of_settings_is_shortened():
    found = differences({"prompts": [f"prompt {i}" for i in range(1000)]}, {"prompts": []})
    assert len(found) < 250
    assert "prompt 1, prompt 2" in found
    assert " ..., here none" in found
