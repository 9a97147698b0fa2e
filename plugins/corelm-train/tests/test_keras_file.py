"""Export to `.keras` and back; foreign `.keras` files with code in them."""

from __future__ import annotations

import json
import os
import sys
import zipfile

import numpy as np
import pytest
from corelm_train.keras_file import write_keras
from small_models import SMALL, numbered_words, random_weights, small_model

import corelm
from corelm import log_softmax
from corelm.bundles import Bundle
from corelm.errors import MissingDependencyError, ModelFileError, UsageError
from corelm.models.numpy_model import NumpyModel

keras = pytest.importorskip("keras", reason="pip install keras")

pytestmark = pytest.mark.filterwarnings("error")  # as with `python -W error`


def small_bundle(kind):
    a = SMALL[kind]
    manifest = {"prompt": "w3 w4"}
    return Bundle(a, numbered_words(30, end=True), random_weights(a), manifest)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    return write_keras(small_bundle("rnn"), tmp_path_factory.mktemp("export") / "model.keras")


def rewritten(exported, path, change=lambda config: None, leave_out=()):
    """A copy of a `.keras` file with its configuration changed."""
    with zipfile.ZipFile(exported) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name == "config.json":
                config = json.loads(content)
                change(config)
                content = json.dumps(config)
            if name not in leave_out:
                target.writestr(name, content)
    return path


def refusal(path):
    with pytest.raises(ModelFileError) as refused:
        corelm.load(path)
    message = str(refused.value)
    assert message.startswith(repr(str(path)))
    assert "\n" not in message
    assert len(message) < 600
    return message


@pytest.mark.slow
@pytest.mark.parametrize("kind", SMALL)
def test_a_model_comes_back_with_its_vocabulary(tmp_path, kind):
    path = write_keras(small_bundle(kind), tmp_path / "model.keras")
    texts = np.random.default_rng(0).integers(0, 30, (3, 6))
    loaded, ours = corelm.load(path), small_model(SMALL[kind], end=True)
    assert not isinstance(loaded, NumpyModel)
    assert loaded.vocabulary.words == ours.vocabulary.words
    assert loaded.context_length == 8
    assert loaded.default_prompt == "w3 w4"
    np.testing.assert_allclose(
        log_softmax(loaded.start(texts).next_logits()),
        log_softmax(ours.start(texts).next_logits()),
        atol=1e-4,
    )


@pytest.mark.slow
def test_keras_itself_reads_the_file(exported):
    network = keras.saving.load_model(exported, safe_mode=True)
    expected = log_softmax(small_model(SMALL["rnn"]).start([[3, 4, 5]]).next_logits())
    np.testing.assert_allclose(np.log(network(np.array([[3, 4, 5]])))[:, -1], expected, atol=1e-4)


@pytest.mark.slow
def test_an_earlier_file_is_replaced_only_on_request(tmp_path):
    path = tmp_path / "model.keras"
    path.write_text("mine")
    with pytest.raises(
        UsageError, match="already exists; choose another name, or replace it with --over"
    ):
        write_keras(small_bundle("rnn"), path)
    assert path.read_text() == "mine"
    write_keras(small_bundle("rnn"), path, overwrite=True)
    assert len(corelm.load(path).vocabulary) == 30
    assert os.listdir(tmp_path) == ["model.keras"]


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"the name of a Keras file must end with \.keras"):
        write_keras(small_bundle("rnn"), tmp_path / "model.h5")


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ModelFileError, match="could not be written to"):
        write_keras(small_bundle("rnn"), tmp_path / "file" / "model.keras")


NEEDED = r"needs Keras 3\.15\.1 or later .*: pip install \"corelm\[train\]\""


def test_without_keras_one_line_says_so(tmp_path, monkeypatch, exported):
    monkeypatch.setitem(sys.modules, "keras", None)
    with pytest.raises(MissingDependencyError, match=NEEDED):
        write_keras(small_bundle("rnn"), tmp_path / "model.keras")
    with pytest.raises(MissingDependencyError):
        corelm.load(exported)
    assert os.listdir(tmp_path) == []


# Files that mean harm


def test_a_lambda_is_refused(tmp_path, exported):
    def change(config):
        layer = {"class_name": "Lambda", "module": "keras.layers", "config": {"name": "x"}}
        config["config"]["layers"].append(layer)

    message = refusal(rewritten(exported, tmp_path / "x.keras", change))
    assert "it holds a Lambda, which is code, and corelm runs none from a file" in message


def test_a_real_lambda_is_refused(tmp_path):
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Lambda(lambda x: x + 1)(inputs))
    model.save(tmp_path / "x.keras")
    assert "it holds a Lambda, which is code" in refusal(tmp_path / "x.keras")


@pytest.mark.parametrize(
    "entry",
    [
        {"module": "os", "class_name": "system", "registered_name": None},
        {"module": None, "class_name": "Mine", "registered_name": "Mine>Mine"},
        {"module": "kerasnot", "class_name": "Dense", "registered_name": "Dense"},
        {"module": "builtins", "class_name": "eval", "registered_name": "eval"},
    ],
)
def test_a_class_from_elsewhere_is_refused(tmp_path, exported, entry):
    def change(config):
        config["config"]["layers"].append({"config": {"inner": [entry | {"config": {}}]}})

    message = refusal(rewritten(exported, tmp_path / "x.keras", change))
    assert f"it needs the class {entry['class_name']!r}, which is neither Keras's" in message


def test_a_vocabulary_outside_the_file_is_refused(tmp_path, exported):
    def change(config):
        layer = {
            "module": "keras.layers",
            "class_name": "StringLookup",
            "config": {"name": "lookup", "vocabulary": "/etc/passwd"},
            "registered_name": None,
            "name": "lookup",
            "inbound_nodes": [],
        }
        config["config"]["layers"].append(layer)

    message = refusal(rewritten(exported, tmp_path / "x.keras", change))
    assert "cannot be read" in message
    assert "vocabulary file outside of the model archive" in message


def test_a_keras_file_without_a_vocabulary_says_what_to_do(tmp_path, exported):
    message = refusal(rewritten(exported, tmp_path / "x.keras", leave_out=("corelm.json",)))
    assert "it holds no vocabulary; load it with keras.saving.load_model and wrap it" in message


@pytest.mark.parametrize("name", ["config.json", "vocabulary.txt", "model.weights.h5"])
def test_every_member_is_needed(tmp_path, exported, name):
    assert name.split(".")[0] in refusal(
        rewritten(exported, tmp_path / "x.keras", leave_out=(name,))
    )


def test_a_config_that_is_not_an_object_or_nests_too_deeply(tmp_path, exported):
    for text in ("[]", "[" * 100_000, "{"):
        with zipfile.ZipFile(tmp_path / "x.keras", "w") as archive:
            archive.writestr("config.json", text)
        refusal(tmp_path / "x.keras")


@pytest.mark.parametrize("share", [0, 0.01, 0.3, 0.9, 0.999])
def test_a_file_that_is_cut_off(tmp_path, exported, share):
    content = exported.read_bytes()
    (tmp_path / "x.keras").write_bytes(content[: int(len(content) * share)])
    refusal(tmp_path / "x.keras")


def test_a_pipe_does_not_hang(tmp_path):
    if not hasattr(os, "mkfifo"):
        pytest.skip("needs pipes with names")
    os.mkfifo(tmp_path / "x.keras")
    with pytest.raises(ModelFileError, match="there is no file at"):
        corelm.load(tmp_path / "x.keras")
