"""`--model keras_hub:PRESET`, and models that corelm cannot use."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

keras_hub = pytest.importorskip("keras_hub", reason="pip install keras-hub")

import tiny_keras_hub  # noqa: E402
from corelm_keras_hub import KerasHubModel  # noqa: E402
from keras import ops  # noqa: E402

import corelm  # noqa: E402
from corelm.abilities import can  # noqa: E402
from corelm.errors import ModelFileError, UnknownNameError, UsageError  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # of Keras's files


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("presets") / "tiny"
    tiny_keras_hub.gpt2().save_to_preset(str(path))
    return path


def test_a_folder_is_opened(folder):
    model = corelm.load(f"keras_hub:{folder}")
    ids = model.vocabulary.encode("the cat")
    expected = KerasHubModel(tiny_keras_hub.gpt2()).next_token_distribution([ids])
    np.testing.assert_allclose(model.next_token_distribution([ids]), expected, atol=1e-6)
    assert model.context_length == tiny_keras_hub.CONTEXT


def test_weights_may_have_another_dtype(folder):
    model = corelm.load(f"keras_hub:{folder}", dtype="bfloat16")
    logits = model.start([[1, 2]]).next_logits()
    assert logits.dtype == np.float32
    assert (logits == np.asarray(ops.cast(ops.cast(logits, "bfloat16"), "float32"))).all()
    with pytest.raises(UsageError, match="Keras has no dtype 'float12'; try float32"):
        corelm.load(f"keras_hub:{folder}", dtype="float12")
    with pytest.raises(UsageError, match="have no choice of device"):
        corelm.load(f"keras_hub:{folder}", device="cpu")


def test_a_downloaded_preset_is_found_by_its_name(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path))
    with pytest.raises(UnknownNameError) as caught:
        corelm.load("keras_hub:tiny_en")
    assert str(caught.value) == (
        "there is no folder 'tiny_en', and no preset of that name in the cache of KerasHub; to "
        'download a preset, run: python -c "import keras_hub; '
        "keras_hub.models.CausalLM.from_preset('tiny_en')\""
    )
    variant = tmp_path / "models/keras/gpt2/keras/tiny_en"
    (variant / "2").mkdir(parents=True)
    (variant / "2/config.json").write_text("{}")  # an older one, damaged
    shutil.copytree(folder, variant / "10")
    other = tmp_path / "models/keras/bert/keras/bert_en/1"
    other.mkdir(parents=True)
    (other / "config.json").write_text("{}")
    (other / "task.json").write_text('{"class_name": "BertMaskedLM"}')
    assert len(corelm.load("keras_hub:tiny_en").vocabulary) == 264
    from corelm.registry.listed_models import list_models

    listed = [model.name for model in list_models() if model.name.startswith("keras_hub:")]
    assert listed == ["keras_hub:tiny_en"]


@pytest.mark.parametrize("name", ["config.json", "task.json", "model.weights.h5"])
@pytest.mark.parametrize("content", [None, b"{", b'{"class_name": "X", "module": "os"}'])
def test_a_damaged_preset_is_refused_in_one_line(folder, tmp_path, name, content):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / name).unlink()
    if content is not None:
        (copy / name).write_bytes(content)
    elif name == "task.json":
        return  # a preset of a backbone and a tokenizer has none
    with pytest.raises(ModelFileError, match="copy") as caught:
        corelm.load(f"keras_hub:{copy}")
    assert "\n" not in str(caught.value)


def test_a_preset_of_another_size_than_its_weights_is_refused(folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    for name in ("config.json", "task.json"):
        text = (copy / name).read_text()
        assert '"hidden_dim": 8' in text
        (copy / name).write_text(text.replace('"hidden_dim": 8', '"hidden_dim": 12'))
        assert json.loads((copy / name).read_text())
    with pytest.raises(ModelFileError, match="cannot be read: "):
        corelm.load(f"keras_hub:{copy}")


def test_models_that_have_no_texts_are_refused():
    with pytest.raises(UsageError, match=r"expected a keras_hub.models.CausalLM, not dict"):
        KerasHubModel({})
    network = tiny_keras_hub.backbone(10)
    with pytest.raises(UsageError, match="has no preprocessor"):
        KerasHubModel(keras_hub.models.GPT2CausalLM(backbone=network))


def test_a_model_whose_cache_is_unknown_runs_on_whole_texts():
    causal_lm = tiny_keras_hub.gpt2()
    expected = KerasHubModel(causal_lm).start([[1, 2, 3]])
    expected.next_logits()

    class WithImages(type(causal_lm)):
        def _build_cache(self, token_ids, images):
            raise NotImplementedError

    causal_lm.__class__ = WithImages
    session = KerasHubModel(causal_lm).start([[1, 2, 3]])
    for both in (session, expected):
        both.select([0, 0, 0])
        both.extend([[1, 2], [3, 4], [5, 6]])
        both.rewind(1)
        both.select([2, 0])
    np.testing.assert_allclose(session.last_logits(2), expected.last_logits(2), atol=1e-5)
    assert not can(session, "hidden_states")
    assert can(expected, "hidden_states")
