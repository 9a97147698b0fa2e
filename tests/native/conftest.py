"""The tests of the kernels: each with vectors of eight and of sixteen floats."""

from __future__ import annotations

import pytest
from compiled_kernels import kernels


@pytest.fixture(params=[8, 16], autouse=True, scope="module")
def vector_width(request):
    """The number of floats in a vector. `.ci/run` fails without kernels if there is a compiler."""
    if kernels is None:
        pytest.skip("the kernels are not compiled here")
    if kernels.use_vector_width(request.param) != request.param:
        pytest.skip("this processor has no vectors of sixteen floats")
    yield request.param
    kernels.use_vector_width(16)
