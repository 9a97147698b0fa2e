"""The optimizer of a recipe."""

import numpy as np
import pytest
from small_models import SMALL

keras = pytest.importorskip("keras", reason="pip install keras tensorflow")

from corelm_train import PRESETS, build  # noqa: E402
from corelm_train.learning import optimizer  # noqa: E402


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
