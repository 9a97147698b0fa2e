"""The samplers that read logits only, in one table, and the implementations that must agree.

Each sampler runs as the compiled kernels, as the definition on NumPy, torch and array-api-strict,
and as the definition that JAX compiles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import array_api_strict as strict
import numpy as np
import reference_filters as reference
from compiled_kernels import no_kernels
from hypothesis import strategies as st
from reference_filters import SHARES

import corelm
from corelm import Context, Sampler

INF = math.inf
NOWHERE = Context.of([[0]])
Call = Callable[[Sampler, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Filter:
    """A filter with one parameter.

    Attributes:
        parameter: its name.
        keeps: the reference: from a row and a value to the ids that stay.
        values: that the tests try on every row.
        any_value: a strategy for the edges.
        off: values at which the logits come back as they were.
        lowers_entropy: what stays is a prefix of the falling order.
    """

    parameter: str
    keeps: Callable[[np.ndarray, float], np.ndarray]
    values: tuple[float, ...]
    off: tuple[float, ...]
    any_value: st.SearchStrategy[float] = SHARES
    lowers_entropy: bool = True


FILTERS = {
    "epsilon": Filter("epsilon", reference.epsilon, (1e-9, 3e-4, 0.01, 0.3), (0,)),
    "eta": Filter("epsilon", reference.eta, (1e-9, 3e-4, 0.01, 0.3), (0,)),
    "min_p": Filter("p", reference.min_p, (1e-9, 0.05, 0.5, 1), (0,)),
    "tail_free": Filter("z", reference.tail_free, (0, 0.25, 0.5, 0.95), (1,)),
    "top_a": Filter("a", reference.top_a, (1e-9, 0.05, 0.5, 1), (0,)),
    "top_h": Filter("h", reference.top_h, (0, 0.1, 0.5, 0.9), (1,)),
    "top_k": Filter(
        "k", reference.top_k, (1, 2, 50, 299, 1100, 2600), (0, 4, 10**9), st.integers(1, 9)
    ),
    "top_n_sigma": Filter("n", reference.top_n_sigma, (0, 0.5, 1, 2.3, 5), (INF,), st.floats(0, 5)),
    "top_p": Filter("p", reference.top_p, (0, 0.1, 0.5, 0.9, 0.999), (1,)),
    "typical": Filter("p", reference.typical, (0.1, 0.5, 0.9, 0.999), (1,), lowers_entropy=False),
}

OTHERS = (
    "greedy",
    "stochastic",
    "uniform",
    "temperature(t=0)",
    "temperature(t=1e-300)",
    "temperature(t=0.5)",
    "temperature(t=1.5)",
    "temperature(t=1e300)",
    "temperature(t=inf)",
    "dynamic_temperature(t_min=0.5, t_max=1.5)",
    "dynamic_temperature(t_min=0, t_max=2, exponent=2)",
    "edt(t=1.2, theta=0.6)",
    "edt(t=0.7, theta=1, base=0.5)",
    "quadratic(factor=0.2)",
    "quadratic(factor=0.3, curve=2)",
    "quadratic(factor=0.1, curve=4)",
    "xtc(probability=0.5, threshold=0.05)",
    "xtc(probability=1, threshold=0.01, special=(1, 3))",
    "phase(start=0, end=1, inside=top_p(p=0.9) | temperature(t=0.7))",
    "phase(start=1, end=0, inside=greedy, outside=min_p(p=0.05))",
    "schedule(first=temperature(t=1.5), last=temperature(t=0.5))",
    "top_p(p=0.9) | temperature(t=0.7) | min_p(p=0.05)",
)
"""Expressions of the samplers that are no filters of one parameter, and of a chain."""


def filters(name: str) -> Iterator[tuple[float, Sampler]]:
    """The values of a filter in the table, each with its sampler."""
    entry = FILTERS[name]
    for value in entry.values:
        yield value, corelm.sampler(name, **{entry.parameter: value})


def in_definition(call: Call) -> Call:
    def without_kernels(sampler: Sampler, rows: np.ndarray) -> np.ndarray:
        with no_kernels():
            return call(sampler, rows)

    return without_kernels


def on_numpy(sampler: Sampler, rows: np.ndarray) -> np.ndarray:
    return sampler(rows, context_of(rows))


def on_torch(sampler: Sampler, rows: np.ndarray) -> np.ndarray:
    import torch

    result = sampler(torch.from_numpy(np.array(rows)), context_of(rows))
    assert isinstance(result, torch.Tensor)
    return result.numpy()


def on_strict(sampler: Sampler, rows: np.ndarray) -> np.ndarray:
    result = sampler(strict.asarray(rows), context_of(rows))
    assert type(result) is type(strict.asarray(rows))
    return np.asarray(result)


def on_jax(sampler: Sampler, rows: np.ndarray) -> np.ndarray:
    import jax

    context = context_of(rows)
    return np.asarray(jax.jit(lambda logits: sampler(logits, context))(rows))


def context_of(rows: np.ndarray) -> Context:
    return Context.of(np.zeros((len(rows), 1)))


NUMPY: dict[str, Call] = {"kernels": on_numpy, "definition": in_definition(on_numpy)}
ON_TORCH: dict[str, Call] = {"torch": in_definition(on_torch), "torch with kernels": on_torch}
