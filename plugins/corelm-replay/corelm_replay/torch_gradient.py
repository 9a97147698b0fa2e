"""Replay on torch: one gradient for all blocks, each recomputed in the backward pass."""

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from corelm_replay.layout import Array


class Replayed(torch.autograd.Function):  # type: ignore[misc]
    """The log-probabilities of a `Replay`, as a differentiable function."""

    @staticmethod
    def forward(ctx: Any, logits: Array, work: Any) -> Array:
        ctx.work = work
        ctx.save_for_backward(logits)
        return torch.from_numpy(work.values(logits.detach())).to(logits.device)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Array) -> tuple[Array, None]:
        (logits,), work = ctx.saved_tensors, ctx.work
        result = torch.zeros_like(logits, memory_format=torch.contiguous_format)
        for block in work.blocks():
            rows = work.rows(logits.detach(), block)
            work.decide(rows, block)
            with torch.enable_grad():
                out = work.apply(rows.requires_grad_(), block)
            if out.requires_grad:  # the result of a greedy row depends on no logit
                at = torch.from_numpy(block.rows), torch.from_numpy(block.columns)
                after = _of_log_softmax(out.detach(), block.tokens, gradient[at])
                (change,) = torch.autograd.grad(out, rows, after)
                result[at] = change.to(result.dtype)
        return result, None


def _of_log_softmax(logits: Array, tokens: Array, gradient: Array) -> Array:
    """Return (n, vocabulary): the gradient of each row's log-probability of its token."""
    gradient = gradient.to(logits.dtype)[:, None]
    result = logits.softmax(-1).mul_(-gradient)
    return result.scatter_add_(1, torch.from_numpy(tokens).to(logits.device)[:, None], gradient)


def replayed(logits: Array, work: Any) -> Array:
    """Return the log-probabilities of a `Replay`, (batch, time), with their gradient."""
    return Replayed.apply(logits, work)
