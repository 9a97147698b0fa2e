"""Sessions of networks other than GPT-2 agree with full passes."""

from __future__ import annotations

import functools

import numpy as np
import pytest

keras_hub = pytest.importorskip("keras_hub", reason="pip install keras-hub")

from corelm_keras_hub import KerasHubModel  # noqa: E402
from corelm_keras_hub.model import CachedPasses, FullPasses  # noqa: E402

from corelm import CorelmError  # noqa: E402
from corelm.testing import LAWS  # noqa: E402

SIZES = {"vocabulary_size": 50, "num_layers": 2, "hidden_dim": 16, "intermediate_dim": 32}
GROUPED = SIZES | {"num_query_heads": 4, "num_key_value_heads": 2, "head_dim": 4}
WINDOW = {"use_sliding_window_attention": True, "sliding_window_size": 4}
NETWORKS = {
    "Bloom": (SIZES | {"num_heads": 4}, True),
    "Gemma": (GROUPED | WINDOW, True),
    "GPTNeoX": (SIZES | {"hidden_dim": 32, "num_heads": 2}, False),
    "Gemma3": (GROUPED | {"image_size": 16}, False),
}
"""The sizes of each network, and True if corelm uses its key/value cache."""


@functools.cache  # with the passes that were compiled for it
def model_of(name):
    tokenizer = keras_hub.tokenizers.ByteTokenizer()
    tokenizer.start_token_id, tokenizer.end_token_id, tokenizer.pad_token_id = None, 1, 0
    preprocessor = keras_hub.models.CausalLMPreprocessor(tokenizer, sequence_length=40)
    backbone = getattr(keras_hub.models, f"{name}Backbone")(**NETWORKS[name][0])
    rng = np.random.default_rng(0)
    for weight in backbone.weights:
        weight.assign(rng.normal(size=weight.shape) * 0.4)
    task = getattr(keras_hub.models, f"{name}CausalLM")
    return KerasHubModel(task(backbone=backbone, preprocessor=preprocessor))


def test_a_notebook_shows_its_sizes():
    shown = model_of("Bloom")._repr_mimebundle_()
    assert "50 tokens" in shown["text/html"]
    assert "KerasHubModel" in shown["text/plain"]


@pytest.mark.parametrize("law", LAWS["model"])
def test_a_model_obeys_the_laws(law):
    law(model_of("Bloom"))


@pytest.mark.parametrize("name", NETWORKS)
def test_sessions_agree_with_full_passes(name):
    _, cached = NETWORKS[name]
    model = model_of(name)
    session = model.start([[3, 4, 5, 6, 7]])
    session.select([0, 0, 0])
    session.extend([[1, 2], [3, 4], [5, 6]])
    session.rewind(1)
    session.select([2, 0])
    session.extend([8, 9])
    texts = np.array([[3, 4, 5, 6, 7, 5, 8], [3, 4, 5, 6, 7, 1, 9]])
    [expected] = FullPasses(model._full_pass, model.context_length).process(texts, 3)
    np.testing.assert_allclose(session.last_logits(3), expected, atol=1e-5)
    assert hasattr(session, "hidden_states") == cached
    limit = 512 if name == "GPTNeoX" else 40  # of the network, else of the preprocessor
    assert model.context_length == limit


def test_a_model_that_keeps_a_state_outside_its_cache_is_refused(monkeypatch):
    monkeypatch.setattr(CachedPasses, "select", lambda self, rows: None)
    with pytest.raises(CorelmError, match=r"BloomCausalLM .* cache"):
        model_of.__wrapped__("Bloom")
