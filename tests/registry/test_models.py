"""Models by name and by path."""

from __future__ import annotations

import os

import pytest
from small_models import write

import corelm
from corelm import load
from corelm.errors import (
    AmbiguousNameError,
    ModelFileError,
    PluginError,
    UnknownNameError,
    UsageError,
)
from corelm.models.numpy_model import NumpyModel
from corelm.registry.listed_models import list_models
from corelm.registry.models import plugin_of
from corelm.runs import plugins
from corelm.testing import ToyModel

PLUGIN = """
import corelm
from corelm.testing import ToyModel
def broken():
    raise RuntimeError("no network today")
@corelm.hookimpl
def corelm_models():
    return {"toy": ToyModel, "mine": ToyModel, "broken": broken}
"""


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch, installed_plugin):  # which forgets the plugins of a test
    monkeypatch.setenv("CORELM_HOME", str(tmp_path / "home"))
    # Of those installed, these alone, though an earlier test may have asked for all.
    monkeypatch.setenv("CORELM_PLUGINS", "corelm-toys,corelm-schemes")
    plugins.registry.cache_clear()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def toys(installed_plugin):
    installed_plugin("corelm-toys", {"toy": "corelm_toys"}, PLUGIN)


def perplexity(model):
    return model.manifest["figures"]["perplexity"]


def test_a_folder_is_loaded_by_its_path(tmp_path):
    folder = write(tmp_path / "model")
    for path in (folder, str(folder), "./model", os.path.join("..", tmp_path.name, "model")):
        model = load(path)
        assert isinstance(model, NumpyModel)
        assert model.vocabulary.words == ("", "[UNK]", "good", "b\\a\nd")
        assert perplexity(model) == 92.625


def test_a_model_in_the_home_or_the_current_folder_is_loaded_by_its_name(home, tmp_path):
    write(home / "models" / "mine")
    write(tmp_path / "here")
    assert [perplexity(load(name)) for name in ("mine", "here")] == [92.625, 92.625]


def test_a_folder_of_that_name_without_a_model_is_not_in_the_way(tmp_path, toys):
    (tmp_path / "toy").mkdir()
    assert isinstance(load("toy"), ToyModel)


def test_a_plugins_model_is_loaded_by_name_and_full_name(toys):
    assert isinstance(load("toy"), ToyModel)
    assert isinstance(load("mine"), ToyModel)
    assert isinstance(load("corelm-toys:mine"), ToyModel)


def test_the_plugin_of_a_model(home, tmp_path, toys):
    assert plugin_of("toy").distribution == "corelm-toys"
    assert plugin_of("imdb").distribution == "corelm"
    assert plugin_of(str(tmp_path / "somewhere")) is None


def test_a_full_name_of_corelm_is_no_folder(home, tmp_path):
    write(home / "models" / "corelm:imdb")
    write(tmp_path / "corelm:imdb")
    assert len(load("corelm:imdb").vocabulary) == 15000


def test_full_names_distinguish_two_models_of_one_name(home, toys):
    folder = write(home / "models" / "toy")
    with pytest.raises(AmbiguousNameError) as refused:
        load("toy")
    assert str(refused.value) == (
        f"2 models are called 'toy'; say which one: {folder} or corelm-toys:toy"
    )
    assert isinstance(load(str(folder)), NumpyModel)
    assert isinstance(load("corelm-toys:toy"), ToyModel)


def test_a_model_that_is_here_imports_no_plugins(home, installed_plugin, tmp_path):
    code = f"open({str(tmp_path / 'imported')!r}, 'w')\n" + PLUGIN
    installed_plugin("corelm-toys", {"toy": "corelm_toys"}, code)
    write(home / "models" / "other")
    load("other")
    assert not (tmp_path / "imported").exists()


def test_an_unknown_name_is_answered_with_the_nearest(home):
    write(home / "models" / "poems")
    with pytest.raises(UnknownNameError) as refused:
        load("poem")
    assert str(refused.value) == (
        "there is no model 'poem'; did you mean 'poems'? (there are: gpt2, imdb, poems; "
        "for a folder or a .keras file give its path, such as ./poem)"
    )


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 5000, "..."])
def test_malformed_names_are_unknown(name):
    with pytest.raises(UsageError):
        load(name)


@pytest.mark.packages
@pytest.mark.parametrize("path", ["./nothing", "nothing/", "nothing.keras", "~/nothing", ".."])
def test_a_path_with_nothing_there(path):
    with pytest.raises(ModelFileError, match=r"there is no|manifest\.json': it is missing"):
        load(path)


def test_a_plugin_that_fails_to_load_its_model_is_named(toys):
    with pytest.raises(PluginError, match="corelm-toys:broken could not be loaded: RuntimeError"):
        load("broken")


def test_a_plugin_that_fails_itself_gives_its_reason(installed_plugin):
    installed_plugin("corelm-toys", {"toy": "corelm_toys"}, "import nothing_of_this_name")
    with pytest.raises(UnknownNameError, match="plugin corelm-toys:toy failed: ModuleNotFound"):
        load("toy")


def test_models_are_listed_with_where_they_come_from(home, toys):
    folder = write(home / "models" / "poems")
    (home / "models" / "notes").mkdir()
    write(home / "models" / ".hidden")
    listed = {model.name: (model.source, model.path) for model in list_models()}
    assert listed.pop("imdb")[0] == "corelm:imdb"
    assert listed.pop("gpt2")[0] == "corelm:gpt2"
    assert listed == {
        "broken": ("corelm-toys:broken", None),
        "mine": ("corelm-toys:mine", None),
        "toy": ("corelm-toys:toy", None),
        "poems": (str(folder), folder),
    }


def test_local_models_are_found_without_loading_a_plugin(home, installed_plugin):
    write(home / "models" / "poems")
    (home / "models" / "notes").mkdir()
    installed_plugin("corelm-toys", {"toy": "corelm_toys"}, "import nothing_of_this_name")
    assert [model.name for model in list_models(own=True)] == ["gpt2", "imdb", "poems"]
    assert not plugins.registry().failures


def test_a_model_that_a_killed_write_put_aside_is_found_by_name(home):
    write(home / "models" / "poems").rename(home / "models" / ".poems.old")
    assert perplexity(load("poems")) == 92.625
    assert "poems" in {model.name for model in list_models()}


@pytest.mark.parametrize("name", ["gpt2", "imdb"])
def test_a_shipped_model_is_offered_without_being_read(name):
    [model] = [model for model in list_models() if model.name == name]
    assert model.path.name == name
    assert model.path.parent.name == "pretrained"


USES = [
    lambda model: corelm.generate(model, "the", sampler="greedy", length=1),
    lambda model: next(corelm.stream(model, "the", sampler="greedy")),
    lambda model: corelm.explain(model, "the", "greedy"),
    lambda model: corelm.compare(model, ["greedy"], n=1, length=1),
]


@pytest.mark.packages
@pytest.mark.parametrize("use", USES)
def test_a_path_is_a_model_wherever_a_name_is(tmp_path, use):
    write(tmp_path / "model")
    assert use(tmp_path / "model")


@pytest.mark.packages
@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("other", [None, 5, ["imdb"]])
def test_something_that_is_not_a_model_is_refused(use, other):
    with pytest.raises(UsageError, match="a model is a name, a path or a language model, not "):
        use(other)


SCHEME = """
import corelm
from corelm.testing import ToyModel
def opened(words, device="cpu"):
    if words == "broken":
        raise RuntimeError("no such file")
    model = ToyModel(words.split("+"))
    model.device = device
    return model
def installed():
    print("noise")
    return ["so+it", "goes"]
def failing():
    raise RuntimeError("no cache")
@corelm.hookimpl
def corelm_models():
    return {
        "toys": corelm.ModelScheme(opened, "WORDS", options=("device",), installed=installed),
        "quiet": corelm.ModelScheme(opened, "WORDS"),
        "unlucky": corelm.ModelScheme(opened, "WORDS", installed=failing),
        "one": ToyModel,
    }
"""


@pytest.fixture
def schemes(installed_plugin):
    names = ("toys", "quiet", "unlucky", "one")
    installed_plugin("corelm-schemes", dict.fromkeys(names, "corelm_schemes"), SCHEME)


def test_a_scheme_gets_the_rest_of_the_name(schemes):
    assert load("toys:so+it").vocabulary.words[3:] == ("so", "it")
    assert load("corelm-schemes:toys:a/b").vocabulary.words[3:] == ("a/b",)
    assert isinstance(load("corelm-schemes:one"), ToyModel)


def test_a_scheme_gets_the_options_that_it_has(schemes):
    assert load("toys:so").device == "cpu"
    assert load("toys:so", device="cuda").device == "cuda"
    with pytest.raises(UsageError, match="models of 'toys' have no choice of dtype"):
        load("toys:so", dtype="float16")
    with pytest.raises(UsageError, match="the model one has no choice of device"):
        load("one", device="cuda")


def test_a_scheme_needs_a_rest_and_a_model_takes_none(schemes):
    for name in ("toys", "toys:"):
        with pytest.raises(UsageError, match="give the model to open: toys:WORDS"):
            load(name)
    with pytest.raises(UsageError, match="takes nothing after its name, not 'more'"):
        load("one:more")


def test_an_error_of_a_scheme_is_named(schemes):
    with pytest.raises(PluginError, match=r"corelm-schemes:toys could not be loaded.*no such file"):
        load("toys:broken")


@pytest.mark.parametrize(
    ("files", "name", "way"),
    [
        (["a.gguf"], "a.gguf", "there is no model 'a.gguf'; a.gguf is a file of llama.cpp: open it "
         "as gguf:a.gguf, after installing corelm-llama-cpp"),
        (["a.gguf"], "./a.gguf", "./a.gguf is a file of llama.cpp: open it as gguf:./a.gguf"),
        (["m/config.json"], "m", "m is a folder of transformers: open it as transformers:m"),
        (["m/config.json"], "./m", "./m is a folder of transformers: open it as transformers:./m"),
        (["m/config.json", "m/task.json"], "./m", "./m is a preset of KerasHub: open it as "
         "keras_hub:./m"),
    ],
)  # fmt: skip
def test_a_model_of_another_engine_is_recognised(tmp_path, files, name, way):
    for file in files:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text("{}")
    with pytest.raises(UsageError) as caught:
        load(name)
    assert way in str(caught.value)


def test_an_installed_scheme_needs_no_installing(tmp_path, installed_plugin, monkeypatch):
    (tmp_path / "a.gguf").write_text("")
    monkeypatch.setenv("CORELM_PLUGINS", "corelm-files")
    installed_plugin("corelm-files", {"gguf": "corelm_files"}, PLUGIN)
    with pytest.raises(UsageError, match=r"open it as gguf:\./a\.gguf$"):
        load("./a.gguf")


def test_a_path_with_a_colon_is_a_path(tmp_path, schemes):
    with pytest.raises(ModelFileError, match="there is no model at"):
        load("./toys:so")


def test_models_of_schemes_are_listed(schemes, caplog, capsys):
    listed = [model.name for model in list_models() if model.source.startswith("corelm-schemes")]
    assert listed == ["one", "quiet:WORDS", "toys:so+it", "toys:goes", "unlucky:WORDS"]
    assert "corelm-schemes:unlucky cannot list its models: RuntimeError: no cache" in caplog.text
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", [None, 5, ["imdb"], ToyModel()])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(UsageError, match="a model is a name or a path, not "):
        load(name)


@pytest.mark.parametrize("name", ["someone/a-model", "https://huggingface.co/someone/a-model"])
def test_a_name_of_hugging_face_is_recognised(name):
    with pytest.raises(UsageError, match=f"no model at '{name}'.* as transformers:someone/a-model"):
        load(name)


@pytest.mark.parametrize("path", ["./someone/model", "/some/where", "../a/b", "a/b/c"])
def test_a_path_is_no_name_of_hugging_face(path):
    with pytest.raises(ModelFileError, match=r"there is no model at '[^']*'$"):
        load(path)
