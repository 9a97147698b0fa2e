"""Digests of the code that computes."""

from __future__ import annotations

import importlib.metadata
import json
import os
import zipfile
from pathlib import Path

import pytest

import corelm
from corelm.runs import Strategy, plugins
from corelm.scaling import Dependencies, dependencies

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
        before = Dependencies([sampler]).code
        arithmetic.write_text("def halved(logits):\n    return logits / 3\n")
        dependencies._digest_of.cache_clear()  # as in a new process
        after = Dependencies([sampler]).code
    finally:
        plugins.registry.cache_clear()
    assert {each for each in before if before[each] != after[each]} == {helper}
    assert set(before) == {"corelm", "corelm_samplers", name, helper, f"class {name}.Halved"}


@pytest.mark.parametrize(
    "where", ["beside the module", "elsewhere", "in a package", "editable", "editable by hatch"]
)
def test_an_edited_file_of_data_is_other_code(where, tmp_path, monkeypatch):
    """A sampler that reads its numbers from a file computes other ones after an edit."""
    name = f"boost_{where.replace(' ', '_')}"
    site, project = tmp_path / "site", tmp_path / "project"
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[corelm]\n{name} = {name}\n")
    module, data = site / f"{name}.py", site / f"{name}.json"
    if where == "elsewhere":
        data = tmp_path / "share" / f"{name}.json"
    if where == "in a package":
        module, data = site / name / "__init__.py", site / name / "build" / "boost.json"
    if "editable" in where:
        module, data = project / f"{name}.py", project / "tables" / "boost.json"
        origin = {"url": project.as_uri(), "dir_info": {"editable": True}}
        (info / "direct_url.json").write_text(json.dumps(origin))
        monkeypatch.syspath_prepend(project)
        project.mkdir()
        (project / "pyproject.toml").touch()
    for file in (module, data):
        file.parent.mkdir(parents=True, exist_ok=True)
    module.write_text(SAMPLER.format(helper="builtins", name=name).replace("halved", "abs"))
    files = [file for file in (module, data) if project not in file.parents]
    record = [f"{Path(os.path.relpath(file, site)).as_posix()},,\n" for file in files]
    (info / "RECORD").write_text("".join(record) + f"../../bin/{name},,\n")
    if "hatch" not in where:  # which lists no modules
        (info / "top_level.txt").write_text(f"{name}\n" if where != "elsewhere" else "another\n")
    monkeypatch.syspath_prepend(site)

    def digests_with(text):
        data.write_text(text)
        dependencies._digest_of.cache_clear()  # as in a new process
        required = dependencies.digests([f"version of {name}"])  # if another plugin requires it
        return Dependencies([corelm.sampler(name)]).code | required

    plugins.registry.cache_clear()
    try:
        before, again, after = map(digests_with, ["[1]", "[1]", "[2]"])
        results = project / "results"
        results.mkdir(parents=True)
        (results / "study.json").write_text("{}")  # the plugin's folder may hold results
        (project / "build").mkdir()
        (project / "build" / "lib.py").touch()
        assert digests_with("[2]") == after
    finally:
        plugins.registry.cache_clear()
    assert before == again
    assert before.keys() == after.keys()
    assert {each for each in before if before[each] != after[each]} == {
        name if where == "in a package" else f"data of {name}",
        *([f"version of {name}"] if "editable" in where else []),
    }


def test_what_a_parameter_names_is_a_dependency(tmp_path, monkeypatch):
    """Another model, or a function of the user, decides the texts of these decoders."""
    (tmp_path / "likeness.py").write_text("def same(a, b):\n    return 1.0\n")
    (tmp_path / "weak").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    decoders = map(Strategy.of, ("mbr(metric='likeness:same')", "speculative(draft='mlx:weak')",
                                 "guidance(method='contrastive', amateur='weak')"))  # fmt: skip
    things = [[part for part in each if part is not None] for each in decoders]

    def digests():
        dependencies._digest_of.cache_clear()  # as in a new process
        return [Dependencies(each).code for each in things]

    (tmp_path / "weak" / "weights").write_text("1")
    before = digests()
    assert digests() == before
    (tmp_path / "weak" / "weights").write_text("2")
    (tmp_path / "likeness.py").write_text("def same(a, b):\n    return 2.0\n")
    changed = [{name for name in first if first[name] != then[name]}
               for first, then in zip(before, digests(), strict=True)]  # fmt: skip
    assert changed == [{"likeness"}, {"named weak"}, {"named weak"}]


def test_a_newer_engine_is_another_version():
    pytest.importorskip("corelm_transformers")
    code = dependencies.digests(dependencies._of_the_same_plugins({"corelm_transformers"}))
    assert code["version of transformers"] == importlib.metadata.version("transformers")
    assert dependencies.digests(["version of nothing-like-it"]) == {
        "version of nothing-like-it": "none"
    }


def test_code_in_archives_links_and_bytecode_is_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("module.py", "1")
    package, elsewhere = tmp_path / "package", tmp_path / "elsewhere"
    elsewhere.mkdir()
    package.mkdir()
    (package / "data").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(package)
    (elsewhere / "table.json").touch()
    (package / "compiled.pyc").touch()
    files = {name for name, _ in dependencies._files(package)}
    assert files == {"compiled.pyc", "data/table.json"}
    inner = tmp_path / "a.zip" / "module.py"
    assert list(dependencies._files(inner)) == [("module.py", tmp_path / "a.zip")]
    assert not [*dependencies._files(tmp_path / "none")]
