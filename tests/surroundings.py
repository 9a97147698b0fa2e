"""Shared by all tests: the same surroundings for each, and packages that are really installed."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import settings
from tiers import imports_a_missing_package, mark_engines, skip_without_packages

from corelm.runs import plugins

settings.register_profile("corelm", settings(), deadline=None)  # no test depends on the clock
settings.register_profile("fast", settings.get_profile("corelm"), max_examples=25)

Install = Callable[..., Path]


def pytest_configure(config: pytest.Config) -> None:
    """Surround tests, and the processes they start, alike wherever pytest was started."""
    # All tests, which `.ci/run` runs, try the usual 100 examples.
    settings.load_profile("fast" if "not slow" in config.option.markexpr else "corelm")
    if "CORELM_PASSED" in os.environ:
        config.pluginmanager.import_plugin("once")
    # Programs that a shell starts in the background ignore Ctrl-C, and so do their children.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in ("COLUMNS", "LINES", "CORELM_PLUGINS", "CORELM_STRICT_PLUGINS"):
        os.environ.pop(name, None)
        # readline, which pytest imports, sets the first two behind the back of os.environ.
        os.unsetenv(name)
    # Each core has a worker of its own, and tiny networks compile for longer than they run.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect the tests without garbage collection, which would pass over all engines again.

    Tests import more of them: a tenth of all work was to look for garbage, so it is done seldom.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()  # what was imported stays
        gc.set_threshold(30_000)


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out the test modules that import a package where the heart is installed alone."""
    return True if imports_a_missing_package(collection_path) else None


FIRST = (
    *("test_examples_print_what_the_page_says[", "test_each_backend_agrees_with_full_passes"),
    *("test_an_interrupted_run_keeps", "test_a_training_killed", "test_four_devices"),
    *("test_any_number_and_any_text", "test_every_kind_of_package"),
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of engines and long ones, and start those that take longest first."""
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker("slow")
        mark_engines(item)
        skip_without_packages(item)
    # These first, or a worker has one alone at the end. The sort keeps the order of the others.
    items.sort(key=lambda item: not item.name.startswith(FIRST))


@pytest.fixture(autouse=True, scope="session")
def _home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A home for each worker, instead of the user's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CORELM_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(autouse=True)
def _logger() -> None:
    """Start with the logger that an import makes; commands and workers of a cluster change it."""
    logger = logging.getLogger("corelm")
    logger.setLevel(logging.NOTSET)
    logger.handlers = []


@pytest.fixture
def cpuinfo(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], None]:
    """Replace the file in which Linux describes the processor."""

    def replace(text: str | None) -> None:
        def read_text(path: Path, encoding: str) -> str:
            if text is None:
                raise FileNotFoundError(path)
            return text

        monkeypatch.setattr(Path, "read_text", read_text)

    return replace


@pytest.fixture
def register() -> Iterator[Callable[..., str | None]]:
    """A function that registers plugins for one test, as `register(plugin, name)`."""
    plugins.registry.cache_clear()
    yield plugins.registry().register
    plugins.registry.cache_clear()


@pytest.fixture
def installed_plugin(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Install]:
    """A function that installs a package of one module, found here and in subprocesses.

    `installed_plugin("corelm-nucleus", {"top_p": "corelm_nucleus"}, "...the module...")`
    """
    modules: list[str] = []

    def install(
        name: str, points: Mapping[str, str], code: str | bytes, group: str = "corelm"
    ) -> Path:
        site = tmp_path_factory.mktemp("site")
        modules.append(name.replace("-", "_"))
        text = code.encode() if isinstance(code, str) else code
        (site / f"{modules[-1]}.py").write_bytes(text)
        metadata = site / f"{modules[-1]}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = [f"[{group}]", *(f"{point} = {value}" for point, value in points.items()), ""]
        (metadata / "entry_points.txt").write_text("\n".join(lines))
        monkeypatch.syspath_prepend(str(site))
        inherited = [path for path in [os.environ.get("PYTHONPATH")] if path]
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), *inherited]))
        plugins.registry.cache_clear()
        return site

    yield install
    plugins.registry.cache_clear()
    for module in modules:
        sys.modules.pop(module, None)
