"""Digests of the code that computes."""

from __future__ import annotations

import pytest

import corelm
from corelm.runs import plugins
from corelm.scaling import dependencies
from corelm.scaling.dependencies import code_of

SAMPLER = '''
from corelm import Sampler, hookimpl
from {helper} import halved

class Halved(Sampler):
    """Halve the logits."""

    def __call__(self, logits, context):
        return halved(logits)

@hookimpl
def corelm_samplers():
    return {{"{name}": Halved}}
'''


def lists_modules(info, helper, name):
    (info / "top_level.txt").write_text(f"{helper}\n{name}\n")


def lists_files(info, helper, name):
    own = f"{helper}.py,,\n{name}.py,,\n{info.name}/METADATA,,\n__editable___{name}_finder.py,,\n"
    (info / "RECORD").write_text(own)


@pytest.mark.parametrize("write_metadata", [lists_modules, lists_files])
def test_an_edited_helper_module_of_a_plugin_is_other_code(write_metadata, tmp_path, monkeypatch):
    name = f"halved_{write_metadata.__name__}"
    helper = f"{name}_arithmetic"
    info = tmp_path / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[corelm]\n{name} = {name}\n")
    write_metadata(info, helper, name)
    (tmp_path / f"{name}.py").write_text(SAMPLER.format(helper=helper, name=name))
    arithmetic = tmp_path / f"{helper}.py"
    arithmetic.write_text("def halved(logits):\n    return logits / 2\n")
    monkeypatch.syspath_prepend(tmp_path)
    plugins.registry.cache_clear()
    try:
        sampler = corelm.sampler(name)
        before = code_of([sampler])
        arithmetic.write_text("def halved(logits):\n    return logits / 3\n")
        dependencies._digest_of.cache_clear()  # as in a new process
        after = code_of([sampler])
    finally:
        plugins.registry.cache_clear()
    assert {each for each in before if before[each] != after[each]} == {helper}
    assert set(before) == {"corelm", "corelm_samplers", name, helper}
