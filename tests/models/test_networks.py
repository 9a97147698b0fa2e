"""The networks without Keras agree with the Keras networks to 1e-4 in logits."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from compiled_kernels import no_kernels
from corelm_train.network_weights import set_weights
from corelm_train.settings import PRESETS
from small_models import SMALL, random_weights

from corelm import log_softmax
from corelm.models.networks.kinds import NETWORKS

pytest.importorskip("keras", reason="pip install keras")


@pytest.fixture(params=["kernels", "NumPy"], autouse=True)
def _arithmetic(request):
    """Both ways to compute: with the kernels where there are some, and without."""
    with no_kernels(request.param == "NumPy"):
        yield


REAL = {  # the presets as they are, but for the vocabulary
    kind: dataclasses.replace(PRESETS[kind].architecture, vocabulary_size=600)
    for kind in ("book", "default", "gpt2", "rnn")
}


def pair(a, spread=0.5):
    """The NumPy network and the Keras network of the same weights, as functions of ids."""
    from corelm_train.keras_layers import build

    weights = random_weights(a, spread)
    keras_network, network = build(a), NETWORKS[a.kind](a, weights)
    set_weights(keras_network, weights)

    def in_keras(ids):
        scores = np.asarray(keras_network(ids))[:, -1]
        return log_softmax(scores) if a.kind in ("default", "gpt2") else np.log(scores)

    def in_numpy(ids):
        outputs = network.process(ids, ids.shape[1], network.new_cache(len(ids)))
        logits = network.logits(network.hidden(outputs[:, -1:]))[:, 0]
        assert logits.dtype == np.float32
        return log_softmax(logits)

    return in_numpy, in_keras


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:You are using a softmax over axis:UserWarning")
@pytest.mark.parametrize("kind", SMALL)
def test_at_every_length_up_to_the_full_context(kind):
    in_numpy, in_keras = pair(SMALL[kind])
    ids = np.random.default_rng(1).integers(1, 30, (3, 8))
    for length in range(1, 9):
        expected = in_keras(ids[:, :length])
        np.testing.assert_allclose(in_numpy(ids[:, :length]), expected, atol=1e-4)
        assert np.ptp(expected) > 1  # not the same for all tokens


@pytest.mark.parametrize("kind", SMALL)
def test_with_padding_at_every_place(kind):
    in_numpy, in_keras = pair(SMALL[kind])
    rng = np.random.default_rng(2)
    ids = rng.integers(1, 30, (64, 8))
    ids[rng.random(ids.shape) < 0.4] = 0
    np.testing.assert_allclose(in_numpy(ids), in_keras(ids), atol=1e-4)


@pytest.mark.long
@pytest.mark.parametrize("kind", REAL)
def test_at_the_size_of_the_presets(kind):
    in_numpy, in_keras = pair(REAL[kind], spread=0.06)
    ids = np.random.default_rng(3).integers(1, 600, (2, 100))
    expected = in_keras(ids)
    np.testing.assert_allclose(in_numpy(ids), expected, atol=1e-4)
    assert np.ptp(expected) > 1
