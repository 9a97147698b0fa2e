"""The array API for TensorFlow's tensors, over `keras.ops`.

`array_namespace` returns this module for a tensor of TensorFlow. Keras has one backend per process,
so this works only if the backend is TensorFlow. Functions that aren't defined here have the same
name in Keras.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

float32, float64, int32 = "float32", "float64", "int32"


def __getattr__(name: str) -> Any:
    from keras import ops

    return getattr(ops, name)


def astype(x: Any, dtype: Any) -> Any:
    return __getattr__("cast")(x, dtype)


def asarray(x: Any) -> Any:
    return __getattr__("convert_to_tensor")(x)


def argsort(x: Any, axis: int, stable: bool) -> Any:
    return __getattr__("argsort")(x, axis=axis)  # stable in TensorFlow


def sum(x: Any, axis: int, keepdims: bool = False, dtype: Any = None) -> Any:
    return __getattr__("sum")(astype(x, dtype or x.dtype), axis=axis, keepdims=keepdims)


def cumulative_sum(x: Any, axis: int, dtype: Any = None) -> Any:
    return __getattr__("cumsum")(astype(x, dtype or x.dtype), axis=axis)


def concat(arrays: Any, axis: int) -> Any:
    return __getattr__("concatenate")(arrays, axis=axis)


TYPES = {"float32": float32, "float64": float64}
__array_namespace_info__ = lambda: SimpleNamespace(dtypes=lambda kind: TYPES)  # noqa: E731
