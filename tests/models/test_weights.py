"""Weights have the names and shapes that Keras gives them."""

from __future__ import annotations

import math

import pytest
from corelm_train.network_weights import set_weights, weights_of
from corelm_train.settings import PRESETS
from small_models import SMALL, random_weights

from corelm.models import bundle
from corelm.models.contents import shapes

pytest.importorskip("keras", reason="pip install keras")


@pytest.mark.parametrize("kind", SMALL)
def test_names_and_shapes_are_those_of_keras(kind):
    from corelm_train.keras_layers import build

    network = build(SMALL[kind])
    found = {name: weight.shape for name, weight in weights_of(network).items()}
    assert found == shapes(SMALL[kind])


@pytest.mark.parametrize("kind", SMALL)
def test_weights_put_into_a_network_come_out_again(kind):
    from corelm_train.keras_layers import build

    network, weights = build(SMALL[kind]), random_weights(SMALL[kind])
    set_weights(network, weights)
    found = weights_of(network)
    assert all((found[name] == weight).all() for name, weight in weights.items())


def test_weights_of_another_network_are_refused():
    from corelm_train.keras_layers import build

    with pytest.raises(bundle.ModelFileError, match="not the weights of this network"):
        set_weights(build(SMALL["rnn"]), random_weights(SMALL["book"]))


def test_the_book_has_the_chapters_number_of_weights():
    sizes = shapes(PRESETS["book"].architecture).values()
    assert sum(map(math.prod, sizes)) == 9_825_176
