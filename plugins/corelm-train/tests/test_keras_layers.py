"""The Keras networks: sizes, causality, masks; and the optimizer of a recipe."""

import numpy as np
import pytest
from small_models import SMALL

keras = pytest.importorskip("keras", reason="pip install keras")

from corelm_train import PRESETS, build  # noqa: E402
from corelm_train.keras_layers import TransformerDecoder  # noqa: E402
from corelm_train.learning import optimizer  # noqa: E402


@pytest.fixture(params=SMALL)
def network(request):
    keras.utils.set_random_seed(0)
    network = build(SMALL[request.param])
    for variable in network.trainable_variables:  # so that no layer is silent from its zeros
        variable.assign(np.random.default_rng(1).normal(0, 0.5, variable.shape))
    return network


@pytest.mark.slow
def test_the_book_network_has_the_chapters_number_of_weights():
    assert build(PRESETS["book"].architecture).count_params() == 9_825_176


@pytest.mark.slow
def test_the_default_network_ties_its_embeddings():
    # tokens 15,000 x 256, positions 100 x 256, per block 256 x (768 + 256 + 1024 + 1024) and
    # two scales of 256, and the last scale of 256
    expected = 15_000 * 256 + 100 * 256 + 3 * (256 * 3072 + 2 * 256) + 256
    assert build(PRESETS["default"].architecture).count_params() == expected


@pytest.mark.slow
def test_no_position_sees_a_later_one(network):
    first = np.array([[3, 4, 5, 6, 7, 8]], "int32")
    other = np.array([[3, 4, 5, 9, 10, 11]], "int32")
    before, after = np.asarray(network(first)), np.asarray(network(other))
    np.testing.assert_allclose(before[:, :3], after[:, :3], atol=1e-6)
    assert np.abs(before[:, 3:] - after[:, 3:]).max() > 1e-3


@pytest.mark.slow
def test_padding_on_the_right_changes_nothing_before_it(network):
    text = np.array([[3, 4, 5]], "int32")
    padded = np.array([[3, 4, 5, 0, 0, 0]], "int32")
    np.testing.assert_allclose(network(text), network(padded)[:, :3], atol=1e-6)


@pytest.mark.parametrize("kind", ["book", "rnn"])
def test_the_chapters_networks_give_probabilities(kind):
    scores = np.asarray(build(SMALL[kind])(np.ones((2, 4), "int32")))
    np.testing.assert_allclose(scores.sum(-1), 1, atol=1e-5)


def test_the_books_second_attention_does_not_see_padding():
    keras.utils.set_random_seed(0)
    layer = TransformerDecoder(8, 16, 2)
    x = np.random.default_rng(0).normal(size=(1, 4, 8)).astype("float32")
    mask = np.array([[True, False, True, True]])
    changed = x.copy()
    encoder = x.copy()
    encoder[:, 1] += 5  # what stands behind the padding
    plain = np.asarray(layer(x, x, inputs_mask=mask))
    masked = np.asarray(layer(changed, encoder, inputs_mask=mask))
    np.testing.assert_allclose(plain, masked, atol=1e-6)
    assert np.abs(np.asarray(layer(x, encoder)) - plain).max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["default", "gpt2"])
def test_matrices_and_embeddings_decay_and_nothing_else(kind):
    network = build(SMALL[kind])
    for variable in network.trainable_variables:
        variable.assign(np.ones(variable.shape, dtype=np.float32))
    muon = optimizer(PRESETS["default"].recipe, steps=1)
    # Without a gradient, weight decay alone changes a weight.
    zeros = [keras.ops.zeros_like(variable) for variable in network.trainable_variables]
    muon.apply(zeros, network.trainable_variables)
    for variable in network.trainable_variables:
        is_matrix = variable.name in ("kernel", "embeddings")
        assert (np.asarray(variable) < 1).all() == is_matrix, variable.path
        assert (np.asarray(variable) == 1).all() != is_matrix, variable.path
