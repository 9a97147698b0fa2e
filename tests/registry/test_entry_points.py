"""corelm finds the same entry points as `importlib.metadata`, in any layout of the path."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from importlib import metadata
from pkgutil import iter_modules  # noqa: F401 (before a test replaces the path)

import pytest

from corelm.registry.offers import EntryPoint, entry_points

POINTS = "# ours\n[other]\na = one\n[corelm]\n# a comment\n b = two.three \nc=four:five [six]\n\n"
HEADER = "Metadata-Version: 2.1\nName: Some-Name\nVersion: 1.2\nName: second\n\nName: third\n"


def by_importlib(group):
    return sorted(
        EntryPoint(point.name, point.value, group, point.dist.name, point.dist.version)
        for point in metadata.entry_points(group=group)
    )


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A path of two folders, and of one that is missing."""
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path / "missing"), *map(str, folders)])
    return folders


def install(folder, name, points=POINTS, file="METADATA", header=HEADER):
    info = folder / name
    info.mkdir()
    (info / file).write_text(header)
    (info / "entry_points.txt").write_text(points)


@pytest.mark.parametrize("group", ["corelm.names", "pytest11", "console_scripts", "none of them"])
def test_the_installed_packages_have_the_same_entry_points(group):
    assert sorted(entry_points(group)) == by_importlib(group)


def test_each_module_of_a_folder_is_an_entry_point_and_none_is_imported(path):
    install(path[0], "many-1.0.dist-info", "[corelm]\na = one\n[corelm.folders]\nm = many_of\n")
    package = path[1] / "many_of"
    package.mkdir()
    for name in ("__init__.py", "_shared.py", "second.py", "first.py", "py.typed"):
        (package / name).write_text("raise AssertionError('imported')")
    own = ("corelm", "Some-Name", "1.2")
    assert entry_points("corelm") == [
        EntryPoint("a", "one", *own),
        EntryPoint("first", "many_of.first", *own),
        EntryPoint("second", "many_of.second", *own),
    ]


def test_a_folder_in_a_zip_file_or_a_missing_one_takes_nothing_down(path, tmp_path, monkeypatch):
    install(path[0], "many-1.0.dist-info", "[corelm.folders]\nm = zipped_of\ng = gone_of\n")
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.writestr("zipped_of/__init__.py", "")
        archive.writestr("zipped_of/only.py", "")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "more.zip")])
    assert [point.value for point in entry_points("corelm")] == ["zipped_of.only"]


@pytest.mark.parametrize(
    ("name", "file"), [("some_name-1.2.dist-info", "METADATA"), ("Some.Name.egg-info", "PKG-INFO")]
)
def test_the_section_of_the_group_is_read(path, name, file):
    install(path[0], name, file=file)
    assert entry_points("corelm") == [
        EntryPoint("b", "two.three", "corelm", "Some-Name", "1.2"),
        EntryPoint("c", "four:five [six]", "corelm", "Some-Name", "1.2"),
    ]
    assert sorted(entry_points("corelm")) == by_importlib("corelm")


def test_the_first_of_two_distributions_of_a_name_counts(path):
    install(path[0], "some_name-1.0.dist-info", "[corelm]\nfirst = a\n")
    install(path[1], "Some.Name-2.0.dist-info", "[corelm]\nsecond = b\n")
    install(path[1], "another-2.0.dist-info", "[corelm]\nthird = c\n")
    assert sorted(point.name for point in entry_points("corelm")) == ["first", "third"]
    assert sorted(entry_points("corelm")) == by_importlib("corelm")


class Backport(metadata.DistributionFinder):
    """The finder of the package importlib_metadata, which cannot read another encoding."""

    __module__ = "importlib_metadata"

    def find_distributions(self, context=None):
        raise AssertionError("folders are read without it")


@pytest.mark.parametrize("finders", [[], [Backport()]], ids=["Python's finder", "a backport's too"])
def test_metadata_without_a_name_or_in_another_encoding_takes_nothing_down(
    path, monkeypatch, finders
):
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, *finders])
    install(path[0], "nameless-1.0.dist-info", "[corelm]\na = b\n", header="")
    (path[1] / "odd-1.0.dist-info").mkdir()
    (path[1] / "odd-1.0.dist-info" / "entry_points.txt").write_bytes(b"[corelm]\n\xff = d\n")
    (path[1] / "file-1.0.egg-info").write_text(HEADER)
    assert entry_points("corelm") == [
        EntryPoint("a", "b", "corelm"),
        EntryPoint("\ufffd", "d", "corelm"),
    ]


def test_packages_in_a_zip_file_are_found(path, tmp_path, monkeypatch):
    install(path[0], "some_name-1.2.dist-info")
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.writestr("zipped-3.0.dist-info/METADATA", HEADER.replace("Some-Name", "zipped"))
        archive.writestr("zipped-3.0.dist-info/entry_points.txt", "[corelm]\nz = y\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "more.zip")])
    found = entry_points("corelm")
    assert EntryPoint("z", "y", "corelm", "zipped", "1.2") in found
    assert sorted(found) == by_importlib("corelm")


def test_a_finder_of_distributions_is_asked(path, monkeypatch):
    class Finder(metadata.DistributionFinder):
        def find_distributions(self, context=metadata.DistributionFinder.Context()):  # noqa: B008
            return [metadata.Distribution.at(path[1] / "hidden")]

    install(path[1], "hidden", "[corelm]\nh = i\n")
    assert entry_points("corelm") == []
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder()])
    assert entry_points("corelm") == [EntryPoint("h", "i", "corelm", "Some-Name", "1.2")]


def test_a_module_or_an_object_in_it_is_loaded():
    assert EntryPoint("m", "json.decoder", "corelm").load() is sys.modules["json.decoder"]
    assert EntryPoint("o", "subprocess:Popen.wait", "corelm").load() is subprocess.Popen.wait
