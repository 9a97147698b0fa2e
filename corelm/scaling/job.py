"""A job for workers: a model by name, and the versions and secrets that must be the same there.

A worker loads the model of a job once, and does units with it.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from textwrap import shorten
from typing import Any, Protocol, TypeAlias

from corelm import machine
from corelm.contracts.decoder import Decoder
from corelm.contracts.language_model import LanguageModel
from corelm.contracts.sampling import Sampler
from corelm.errors import ExecutorError, UnknownNameError, UsageError
from corelm.models import NamedModel
from corelm.registry.models import LoadedAs, is_path, load, loaded_as, plugin_of
from corelm.registry.registry import registry
from corelm.registry.strategies import Strategy
from corelm.scaling.dependencies import Dependencies, digests, hash_of_variable
from corelm.text.printable import reason_of, shown, strip_controls

LONGEST_LIST = 200
"""The longest list of settings that a message shows, in characters."""

OWN = ("corelm", "numpy")


class Unit(Protocol):
    """A unit of work: a small value that can be pickled, and that alone determines the result."""

    @property
    def name(self) -> str:
        """The name of the unit, unique in a run."""

    def __call__(self, model: LanguageModel) -> Any:
        """Do the work; return a value that JSON can hold."""


RunUnits: TypeAlias = Callable[[Iterator[Unit | None], int], Iterator[tuple[Unit, str]]]
"""A function that runs units, as `Executor.opened` describes it."""


@dataclass(frozen=True)
class Job:
    """The name of a model that workers load, and the versions that must be the same there.

    Attributes:
        model: the name of the model; a path is absolute.
        device: its device, for models with a choice.
        dtype: the number format of its weights, for models with a choice.
        fingerprint: that of `NamedModel`.
        versions: the versions of packages and the facts about a machine, by name.
        secrets: a hash of each environment variable that samplers read, by name.
        code: the digest of each package that computes, by name.
    """

    model: str
    device: str | None
    dtype: str | None
    fingerprint: str
    versions: tuple[tuple[str, str], ...]
    secrets: tuple[tuple[str, str], ...] = ()
    code: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, loaded: LoadedAs, model: LanguageModel, dependencies: Dependencies) -> Job:
        """Return the job of a model that is loaded here.

        Args:
            loaded: how it was loaded.
            model: the model.
            dependencies: what the units are made of, besides the model.

        Raises:
            UsageError: a sampler or decoder that others cannot make from its expression.
        """
        (name, device, dtype), things = loaded, dependencies.things
        distributions = {each for thing in things for each in _distributions(thing)}
        plugin = plugin_of(name)
        modules = [*dependencies.modules, *([plugin.value] if plugin else [])]
        code = Dependencies([model, *things], modules).code
        names = {*OWN, *distributions, *([plugin.distribution] if plugin else ())}
        path = os.path.abspath(os.path.expanduser(name)) if is_path(name) else name
        versions = tuple(_versions(sorted(names)).items())
        secrets = tuple(dependencies.secrets.items())
        identity = NamedModel(model).fingerprint()
        return cls(path, device, dtype, identity, versions, secrets, tuple(code.items()))

    def load(self) -> LanguageModel:
        """Load the model in a worker.

        Raises:
            ExecutorError: a version, code or model differs; the message has both values.
        """
        expected = dict(self.versions)
        for name, actual in _versions(expected).items():
            _compare(name, expected[name], actual)
        code = digests(name for name, _ in self.code)
        for name, digest in self.code:
            if code[name] != digest:
                raise ExecutorError(
                    f"a worker has other code of {name} (digest {code[name]}, expected {digest}), "
                    "though the versions are the same; install the same files on both, and start "
                    "the worker again"
                )
        for name, secret in self.secrets:
            if hash_of_variable(name) != secret:
                raise ExecutorError(
                    f"a worker has another value in its environment variable {name}; set the same "
                    "one on both"
                )
        model = load(self.model, device=self.device, dtype=self.dtype)
        _compare(f"model {self.model}", self.fingerprint, NamedModel(model).fingerprint())
        return model


def jobs_of(models: Sequence[LanguageModel], dependencies: Dependencies) -> list[Job]:
    """Return the job of each model, which workers load by the name that it was loaded by here.

    Args:
        models: the models.
        dependencies: what the units are made of, besides the models.

    Raises:
        UsageError: a model without a name, or a sampler or decoder that workers can't make.
    """
    jobs = []
    for model in models:
        loaded = loaded_as(model)
        if loaded is None:
            raise UsageError(
                "workers load the models themselves: give the name, not a "
                f"{type(getattr(model, 'unlifted', model)).__name__}"
            )
        jobs.append(Job.of(loaded, model, dependencies))
    return jobs


def _compare(name: str, expected: str, actual: str) -> None:
    if actual != expected:
        raise ExecutorError(
            f"a worker has {name} {actual}, expected {expected}; install the same version on both"
        )


def _versions(names: Iterable[str]) -> Mapping[str, str]:
    """Return the versions of these packages, and the facts that decide the last bits."""
    here = machine.facts(same_bits=True)
    packages = {name: _version(name) for name in names if name not in here}
    return packages | {name: str(fact) for name, fact in here.items()}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _distributions(thing: Sampler | Decoder) -> Iterator[str]:
    """Yield the packages that offer the parts of a sampler or decoder.

    Raises:
        UsageError: a part exists only in this process.
    """
    for part in thing.parts():
        offer = registry().offer_of(type(part))
        if offer is None or not offer.source.version:
            raise UsageError(
                f"{part.name} exists in this process alone, where workers cannot find it: install "
                "it as a plugin, or leave out the workers"
            )
        yield offer.source.distribution
    with suppress(UsageError, UnknownNameError):
        if Strategy.of(str(thing)) == Strategy.of(thing):
            return
    raise UsageError(
        f"{thing} cannot be written as an expression, so workers cannot have it; leave out the "
        "workers"
    )


MODELS = 2
"""The number of models that a worker keeps: a report's model, and its scorer."""

_one_at_a_time = threading.Lock()


def packed(unit: Unit) -> bytes:
    """Return a unit as bytes, so that a worker checks its versions before it unpickles the unit."""
    return pickle.dumps(unit)


def do(job: Job, unit: bytes) -> str:
    """Run a packed unit; return its result as JSON.

    Raises:
        ExecutorError: the worker has other versions than the job needs.
        Exception: the unit's own error, or an `ExecutorError` with its message.
    """
    with _one_at_a_time:
        try:
            model = _loaded(job)
            return json.dumps(pickle.loads(unit)(model))
        # A plugin may raise a BaseException, which would end the worker.
        except BaseException as error:
            if _travels(error):
                raise
            reason = reason_of(error)
        raise ExecutorError(reason)  # raised here, without a context, which would be pickled too


@lru_cache(maxsize=MODELS)
def _loaded(job: Job) -> LanguageModel:
    # The command loaded the same plugins and printed their warnings.
    logging.getLogger("corelm").setLevel(logging.ERROR)
    return job.load()


def _travels(error: BaseException) -> bool:
    """Return True if an error can be raised in another process."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return False
    return isinstance(error, Exception)


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return the settings that differ, with both values; for lists, with the items only one has.

    Of a digest only the name is shown, as its value means nothing to a reader; of a mapping only
    the keys.

    Example:
        >>> differences({"seed": 1, "length": 5}, {"seed": 2, "length": 5})
        'seed 1, here 2'
        >>> differences({"seeds": [1], "code": {}}, {"seeds": [3], "code": {"a_plugin": "12ab"}})
        'seeds 1, here 3; other code: a_plugin'
    """
    return "; ".join(
        _difference(name, before.get(name), now.get(name)) for name in _changed(before, now)
    )


def _changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [name for name in {**before, **now} if before.get(name) != now.get(name)]


def _difference(name: str, before: Any, now: Any) -> str:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        return f"other {name}: {', '.join(_changed(before, now))}"
    if _is_digest(before) or _is_digest(now):
        return f"other {name}"
    if isinstance(before, list) and isinstance(now, list):
        only_before, only_now = _without(before, now), _without(now, before)
        if only_before or only_now:  # both are empty if only the order differs
            before, now = only_before, only_now
    return f"{name.replace('_', ' ')} {_in_words(before)}, here {_in_words(now)}"


def _without(values: list[Any], others: list[Any]) -> list[Any]:
    return [value for value in values if value not in others]


def _in_words(value: Any) -> str:
    if not isinstance(value, list):
        return "none" if value is None else shown(value)
    text = strip_controls(", ".join(map(str, value)))
    return shorten(text, LONGEST_LIST, placeholder=" ...") or "none"


def _is_digest(value: Any) -> bool:
    """Return True for a digest in hexadecimal digits."""
    return isinstance(value, str) and bool(re.fullmatch("([a-z]+:)?[0-9a-f]{16,64}", value))
