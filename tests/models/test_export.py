"""The exports: each library loads its format, with corelm's logits and corelm's token ids."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from compiled_kernels import no_kernels
from small_models import TINY, write

import corelm
from corelm import atomic_files, models
from corelm.bundles import Bundle
from corelm.errors import MissingDependencyError, ModelFileError, UsageError
from corelm.interop.testing import tiny_gpt2
from corelm.models.export import FORMATS, export
from corelm.models.networks import layers

pytestmark = pytest.mark.filterwarnings("ignore")  # of the libraries

TEXT = "This movie was good and the film is bad, isn't it?\n\nIn 12 é 漢字 🎬"
TEXTS = [TEXT, "", " the", "the movie ", "don't\tstop", "<|endoftext", "ﬁlm ½ Ⅷ _-_"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return tiny_gpt2(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module", params=["tiny", "shipped"])
def folder(tiny, request):
    return (
        tiny if request.param == "tiny" else Path(models.__file__).with_name("pretrained") / "gpt2"
    )


@pytest.fixture
def model(folder):
    return corelm.load(folder)


@pytest.fixture
def exported(folder, tmp_path):
    """A function that exports the model to a format, and returns the path."""
    return lambda to: export(Bundle.read(folder), to, tmp_path / f"out{FORMATS[to].suffix}")


def logits_of(model, ids):
    """The logits after the start token and after each id."""
    return model.start([ids]).last_logits(len(ids) + 1)[0]


# The libraries


@pytest.mark.engines("transformers", "torch")
def test_transformers_has_the_logits_and_the_ids(model, exported):
    import torch
    import transformers

    path, ids = exported("transformers"), model.vocabulary.encode(TEXT)
    network = transformers.AutoModelForCausalLM.from_pretrained(path)
    assert (type(network).__name__, network.dtype) == ("GPT2LMHeadModel", torch.float32)
    with torch.no_grad():
        logits = network(torch.tensor([[1, *ids]])).logits[0].numpy()
    np.testing.assert_allclose(logits, logits_of(model, ids), atol=1e-4)

    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    for text in TEXTS:
        assert tokenizer(text).input_ids == [1, *model.vocabulary.encode(text)]
        assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True) == text
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (1, 1, 0)
    assert network.generation_config.eos_token_id == 1


@pytest.mark.engines("mlx", "mlx_lm")
def test_mlx_lm_opens_the_folder_for_transformers(model, exported):
    import mlx.core as mx
    import mlx_lm

    path, ids = exported("transformers"), model.vocabulary.encode(TEXT)
    network, tokenizer = mlx_lm.load(str(path))
    logits = np.array(network(mx.array([[1, *ids]]))[0])
    np.testing.assert_allclose(logits, logits_of(model, ids), atol=1e-4)
    assert [tokenizer.encode(text) for text in TEXTS] == [
        [1, *model.vocabulary.encode(text)] for text in TEXTS
    ]


def test_the_package_tokenizers_reads_the_tokenizer_alone(model, exported):
    tokenizers = pytest.importorskip("tokenizers", reason="pip install tokenizers")
    tokenizer = tokenizers.Tokenizer.from_file(str(exported("transformers") / "tokenizer.json"))
    for text in TEXTS:
        assert tokenizer.encode(text).ids == [1, *model.vocabulary.encode(text)]


@pytest.mark.engines("keras_hub")
def test_keras_hub_has_the_logits_and_the_ids(model, exported):
    pytest.importorskip("tensorflow", reason="pip install tensorflow")
    import keras_hub

    path, ids = exported("keras_hub"), model.vocabulary.encode(TEXT)
    network = keras_hub.models.CausalLM.from_preset(str(path))
    assert type(network).__name__ == "GPT2CausalLM"
    tokens = np.array([[1, *ids]])
    logits = network({"token_ids": tokens, "padding_mask": np.ones_like(tokens)})
    np.testing.assert_allclose(np.asarray(logits)[0], logits_of(model, ids), atol=1e-4)

    tokenizer = network.preprocessor.tokenizer
    for text in filter(None, TEXTS):
        assert np.asarray(tokenizer(text)).tolist() == model.vocabulary.encode(text)
    assert (tokenizer.start_token_id, tokenizer.end_token_id, tokenizer.pad_token_id) == (1, 1, 0)
    prepared = network.preprocessor.generate_preprocess(TEXT)
    assert prepared["token_ids"][: len(ids) + 1].numpy().tolist() == [1, *ids]
    assert network.preprocessor.sequence_length == model.context_length


def half_gelu(activate):
    """Round before and after gelu to half precision, as llama.cpp does: it looks gelu up.

    A number between two halves may still be rounded the other way, so logits differ by
    up to 0.0008 on one processor, and 0.0012 on another.
    """

    def rounded(y, activation):
        if activation == "gelu":
            y[:] = y.astype(np.float16)
        activate(y, activation)
        if activation == "gelu":
            y[:] = y.astype(np.float16)

    return rounded


@pytest.mark.engines("llama_cpp", "gguf")
def test_llama_cpp_has_the_logits_and_the_ids(folder, exported, monkeypatch):
    import llama_cpp

    monkeypatch.setattr(layers, "_activate", half_gelu(layers._activate))
    with no_kernels():
        model = corelm.load(folder)
    ids = model.vocabulary.encode(TEXT)
    engine = llama_cpp.Llama(
        str(exported("gguf")), n_ctx=64, logits_all=True, verbose=False, flash_attn=False,
        type_k=llama_cpp.GGML_TYPE_F32, type_v=llama_cpp.GGML_TYPE_F32,
    )  # fmt: skip
    engine.eval([1, *ids])
    found = engine.scores[: len(ids) + 1]
    with no_kernels():
        np.testing.assert_allclose(found, logits_of(model, ids), atol=2e-3)

    for text in TEXTS:
        assert engine.tokenize(text.encode(), add_bos=True) == [1, *model.vocabulary.encode(text)]
    assert (engine.token_bos(), engine.token_eos()) == (1, 1)
    assert engine.detokenize(ids).decode() == TEXT
    engine.close()


# The files


def test_the_files_for_transformers_agree_with_the_model(model, exported):
    path = exported("transformers")
    config = json.loads((path / "config.json").read_text())
    a = model.architecture
    assert (config["n_embd"], config["n_inner"], config["n_head"]) == (a.width, a.dense, a.heads)
    assert (config["n_positions"], config["n_layer"]) == (a.context_length, a.blocks)
    ids = json.loads((path / "vocab.json").read_text())
    assert list(ids) == model.vocabulary.words
    assert list(ids.values()) == list(range(len(ids)))
    merges = (path / "merges.txt").read_text().splitlines()
    assert merges[0] == "#version: 0.2"
    assert [tuple(line.split(" ")) for line in merges[1:]] == list(model.vocabulary.merges)


def test_a_folder_with_other_files_is_never_replaced(tiny, tmp_path):
    (tmp_path / "out" / "photos").mkdir(parents=True)
    (tmp_path / "out" / "photos" / "cat.png").write_bytes(b"")
    with pytest.raises(UsageError, match=r"also holds 'photos/cat\.png'; choose another folder"):
        export(Bundle.read(tiny), "transformers", tmp_path / "out", overwrite=True)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="is a file; this format needs a folder"):
        export(Bundle.read(tiny), "transformers", tmp_path / "file", overwrite=True)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_failed_export_leaves_the_earlier_one(tiny, tmp_path, monkeypatch):
    target = export(Bundle.read(tiny), "transformers", tmp_path / "out")

    def fail(new, target):
        raise OSError("full")

    monkeypatch.setattr(atomic_files, "_replace", fail)
    with pytest.raises(ModelFileError, match=r"could not be written to .*: full"):
        export(Bundle.read(tiny), "transformers", target, overwrite=True)
    assert (target / "config.json").is_file()
    assert [file.name for file in tmp_path.iterdir()] == ["out"]


def test_a_network_without_a_counterpart_is_refused(tmp_path):
    model = Bundle.read(write(tmp_path / "tiny", architecture=TINY))
    for to in FORMATS:
        with pytest.raises(UsageError) as caught:
            export(model, to, tmp_path / "out")
        assert str(caught.value) == (
            "this model has the network rnn and the tokens symbols; only gpt2 with byte-pairs can "
            "be exported to transformers, keras_hub, gguf, every network to a .keras file"
        )
    assert not (tmp_path / "out").exists()


def test_an_unknown_format_is_refused(tiny, tmp_path):
    with pytest.raises(UsageError, match="no format 'onnx'; there are transformers, keras_hub, gg"):
        export(Bundle.read(tiny), "onnx", tmp_path / "out")


@pytest.mark.packages
@pytest.mark.parametrize(
    ("to", "library", "command"),
    [
        ("gguf", "gguf", "pip install gguf"),
        ("keras_hub", "keras_hub", "pip install keras-hub tensorflow"),
    ],
)
def test_a_missing_library_is_named_with_the_command(
    tiny, tmp_path, monkeypatch, to, library, command
):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingDependencyError, match=f"install it with: {command}$"):
        export(Bundle.read(tiny), to, tmp_path / "out")


def test_transformers_is_not_needed_to_write_its_format(tiny, tmp_path, monkeypatch):
    for library in ("torch", "tokenizers", "transformers"):
        monkeypatch.setitem(sys.modules, library, None)
    assert (export(Bundle.read(tiny), "transformers", tmp_path / "out") / "config.json").is_file()


# The tiny model


def test_the_tiny_model_depends_on_the_seed_alone(tiny, tmp_path):
    for seed, same in ((0, True), (1, False)):
        other = Bundle.read(tiny_gpt2(tmp_path / "other", seed=seed)).weights
        name = "block_1/qkv/kernel"
        assert np.array_equal(other[name], Bundle.read(tiny).weights[name]) == same
