"""No kernel crashes for any arguments; `.ci/sanitize` runs this under the sanitizers."""

from __future__ import annotations

import pytest
from kernel_calls import call_kernels

from corelm import native
from corelm.native.rows import loaded


@pytest.mark.skipif(native.kernels is None, reason="the kernels are not compiled here")
def test_calls_are_refused_or_return():
    width = loaded().use_vector_width(16)
    for seed in range(100):
        call_kernels(bytes([seed]))
    loaded().use_vector_width(width)
