"""Replay on JAX with a custom gradient, so that no block stays in memory."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from corelm_replay.layout import Array


def replayed(logits: Array, work: Any) -> Array:
    """Return the log-probabilities of a `Replay`, (batch, time), with their gradient."""
    function = jax.custom_vjp(partial(_values, work=work))
    function.defvjp(
        lambda logits: (_values(logits, work), logits),
        lambda logits, gradient: (_gradient(logits, gradient, work),),
    )
    return function(logits)


def _values(logits: Array, work: Any) -> Array:
    if not isinstance(logits, jax.core.Tracer):
        return jnp.asarray(work.values(logits))
    result = jnp.zeros(logits.shape[:2], jnp.promote_types(logits.dtype, np.float32))
    for block in work.blocks():
        values = work.logprobs(work.rows(logits, block), block, traced=True)
        result = result.at[block.rows, block.columns].set(values)
    return result


def _gradient(logits: Array, gradient: Array, work: Any) -> Array:
    result = jnp.zeros_like(logits)
    for block in work.blocks():
        rows = work.rows(logits, block)
        traced = isinstance(rows, jax.core.Tracer)
        if not traced:
            work.decide(rows, block)
        _, pull = jax.vjp(partial(work.logprobs, block=block, traced=traced), rows)
        (change,) = pull(gradient[block.rows, block.columns].astype(rows.dtype))
        result = _put(result, block.rows, block.columns, change)
    return result


@partial(jax.jit, donate_argnums=0)
def _put(result: Array, rows: Array, columns: Array, values: Array) -> Array:
    """Write into the gradient in place: its memory is donated instead of copied for each block."""
    return result.at[rows, columns].set(values.astype(result.dtype))
