"""The public names: complete, sorted, documented, with examples that run."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import pkgutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
from tiers import PACKAGES, missing_packages

import corelm
import corelm.runs
import corelm.testing
from corelm import scaling

ROOT = Path(corelm.__file__).parent
SAMPLERS = Path(importlib.import_module("corelm_samplers").__file__).parent
WHEEL = (
    "corelm",
    "corelm_samplers",
    *(name for name in PACKAGES if name not in missing_packages()),
)
"""The packages in corelm's wheel that are installed."""
SHIPPED_MODEL = ROOT / "models" / "pretrained" / "imdb" / "manifest.json"
NEEDS_TENSORFLOW = {
    "corelm_train.keras_layers",
    "corelm_train.callbacks",
    "corelm_train.learning",
    "corelm_train.run",
}

NEEDS_TRANSFORMERS = {"corelm.interop.tokenizer_vocabulary", "corelm.interop.testing"}

VALUES = {"API_VERSION", "Array", "hookimpl"}
"""Public names that are no class or function: their comment is in the module."""

NO_EXAMPLE = {
    "CorelmError": "the root of the errors",
    "Decoder": "the tests and how-to pages write one",
    "TokenRecord": "a record, seen in the example of generate",
    "Explanation": "a record, seen in the example of explain",
    "Generation": "a record, seen in the example of generate",
    "LanguageModel": "a protocol",
    "ParameterError": "the example of param shows one",
    "Session": "a protocol",
    "StatelessModel": "a protocol",
    "Step": "a record, seen in the example of stream",
    "DecodingTask": "a record that decoders are given",
    "Vocabulary": "a protocol",
    "Chain": "made by |, seen in the example of Sampler",
    "Ancestral": "the decoder that is used when none is named",
    "Context": "its example stands with Context.of",
}


def names_with_docstrings(module: ModuleType) -> dict[str, str]:
    return {name: inspect.getdoc(getattr(module, name)) or "" for name in module.__all__}


FACADES = [corelm, corelm.filters, corelm.runs, corelm.commands, scaling]
"""Modules whose names are imported from their homes on first use, each with its table."""


@pytest.mark.parametrize("facade", FACADES, ids=lambda module: module.__name__)
def test_the_public_names_are_complete_and_sorted(facade):
    assert facade.__all__ == sorted(facade.__all__) == sorted(facade._HOMES)
    assert all(hasattr(facade, name) for name in facade.__all__)
    with pytest.raises(AttributeError, match=f"^module '{facade.__name__}' has no attribute 'no'"):
        facade.no  # noqa: B018


def test_importing_corelm_imports_no_module_of_it():
    program = "import sys, corelm; print([m for m in sys.modules if m.startswith('corelm.')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_the_public_modules_need_no_import_of_their_own():
    program = "import corelm; print(corelm.errors.UsageError.__name__, corelm.runs.Texts.__name__)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("UsageError Texts\n", "")


def test_a_parameter_that_is_a_sampler_reads_an_expression_in_a_program_of_one_import():
    program = (
        "from corelm import Sampler, param\n"
        "class Inside(Sampler):\n"
        "    inside: Sampler = param('greedy', 'another one')\n"
        "    def __call__(self, logits, context): return logits\n"
        "print(Inside(inside='temperature(t=0.5)'))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("inside(inside=temperature(t=0.5))\n", "")


def test_no_other_name_is_public():
    with pytest.raises(AttributeError, match="module 'corelm' has no attribute 'compere'"):
        corelm.compere  # noqa: B018


def test_no_module_has_the_name_of_a_public_function_or_class():
    """`import corelm.sampler` would bind one of both, depending on what was imported before."""
    modules = {module.name for module in pkgutil.iter_modules(corelm.__path__)}
    assert not modules & (set(corelm.__all__) - {"plot"})


def test_every_promised_name_is_public():
    promised = (
        "load sampler generate stream sampling_distribution entropy reweight_distribution "
        "Sampler Mask Switch Chain param Context Decoder Ancestral Step LanguageModel hookimpl "
        "API_VERSION mask_logits draw log_softmax"
    )
    assert set(promised.split()) <= set(corelm.__all__)


@pytest.mark.packages
def test_every_public_name_is_documented():
    for name in sorted(set(corelm.__all__) - VALUES):
        text = inspect.getdoc(getattr(corelm, name)) or ""
        assert text, name
        assert not text.startswith(f"{name}("), "the docstring is dataclass's own"
        assert text.split("\n\n")[0].rstrip().endswith((".", ":")), f"{name}: not a sentence"


@pytest.mark.packages
def test_every_public_function_has_an_example_but_for_the_exceptions():
    without = {
        name
        for name in set(corelm.__all__) - VALUES
        if ">>> " not in (inspect.getdoc(getattr(corelm, name)) or "")
    }
    assert without == set(NO_EXAMPLE)


@pytest.mark.packages
def test_every_public_method_is_documented():
    for name in sorted(set(corelm.__all__) - VALUES):
        value = getattr(corelm, name)
        for attribute, member in vars(value).items() if inspect.isclass(value) else ():
            is_code = inspect.isfunction(member) or isinstance(member, (property, classmethod))
            if is_code and not attribute.startswith("_"):
                assert inspect.getdoc(getattr(value, attribute)), f"{name}.{attribute}"


def test_the_test_kit_is_public_too():
    kit = {"LAWS", "ToyModel", "obeys_the_laws"}
    assert kit <= set(corelm.testing.__all__)
    assert all(inspect.getdoc(getattr(corelm.testing, name)) for name in kit)


def test_the_package_is_typed():
    assert (ROOT / "py.typed").exists()
    assert (SAMPLERS / "py.typed").exists()


# Examples


def modules_with_examples() -> list[str]:
    """Return the modules of corelm, its samplers and its packages that have an example."""
    found = []
    for package in WHEEL:
        root = Path(importlib.import_module(package).__file__).parent
        for file in sorted(root.rglob("*.py")):
            if ">>> " in file.read_text(encoding="utf-8"):
                parts = file.relative_to(root).with_suffix("").parts
                found.append(".".join([package, *(part for part in parts if part != "__init__")]))
    return found


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name, marks=[pytest.mark.engines("transformers")] * (name in NEEDS_TRANSFORMERS)
        )
        for name in modules_with_examples()
    ],
)
def test_the_examples_run(name):
    if name in NEEDS_TENSORFLOW:
        pytest.importorskip("tensorflow", reason="pip install tensorflow")
    if name == "corelm.interop.chat_template":
        pytest.importorskip("jinja2", reason="pip install jinja2")
    if name in NEEDS_TRANSFORMERS:
        pytest.importorskip("transformers", reason="pip install transformers")
    if name == "corelm.registry.models" and not SHIPPED_MODEL.exists():
        pytest.skip("the shipped model is not in this checkout")
    module = importlib.import_module(name)
    failed, attempted = doctest.testmod(module, optionflags=doctest.IGNORE_EXCEPTION_DETAIL)
    assert attempted > 0
    assert failed == 0


# What an import costs


def test_importing_corelm_imports_nothing_heavy():
    code = (
        "import sys, corelm, corelm.testing\n"
        "corelm.sampler('temperature | greedy')\n"
        "heavy = ['keras', 'tensorflow', 'typer', 'rich', 'click', 'pytest', 'scipy',\n"
        "         'matplotlib', 'jinja2', 'pandas', 'corelm_report', 'corelm_report.metrics']\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr


def test_two_classes_of_the_heart_never_share_a_name():
    """A leading underscore doesn't tell them apart for a reader."""
    names = Counter(
        node.name.lstrip("_")
        for file in ROOT.rglob("*.py")
        for node in ast.parse(file.read_text("utf-8")).body
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, count in names.items() if count > 1] == []
