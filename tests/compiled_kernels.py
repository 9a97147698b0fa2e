"""The kernels in C, for tests that call them, need them, or compare them with the definitions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import pytest

from corelm import native

kernels = native.kernels
needs_kernels = pytest.mark.skipif(kernels is None, reason="the kernels are not compiled here")


@contextmanager
def replace_kernels(other: object) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "kernels", other)
        yield


def no_kernels(really: bool = True) -> AbstractContextManager[None]:
    """Compute with the definitions in NumPy alone."""
    return replace_kernels(None) if really else nullcontext()
