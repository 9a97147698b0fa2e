"""No kernel crashes for any arguments; `.ci/sanitize` runs this under the sanitizers."""

from __future__ import annotations

from compiled_kernels import needs_kernels
from kernel_calls import call_kernels

from corelm.native.rows import loaded


@needs_kernels
def test_calls_are_refused_or_return():
    width = loaded().use_vector_width(16)
    for seed in range(100):
        call_kernels(bytes([seed]))
    loaded().use_vector_width(width)
