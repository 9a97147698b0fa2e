"""A logits processor of transformers as a sampler of corelm."""

import inspect

import numpy as np
import torch

from corelm import Sampler, param


def from_logits_processor(processor):
    """Return any logits processor of transformers as a sampler, so that a report can compare it.

    The sampler is named after the processor and its settings. A processor that keeps a state from
    step to step isn't a sampler: its results here depend on earlier calls.

    Args:
        processor: a `LogitsProcessor`, or a `LogitsProcessorList`.

    Example:
        >>> import corelm
        >>> from transformers import TopKLogitsWarper
        >>> sampler = from_logits_processor(TopKLogitsWarper(top_k=1))
        >>> print(sampler)
        TopKLogitsWarper(top_k=1)
        >>> corelm.sampling_distribution(sampler, [1.0, 3.0, 2.0]).tolist()
        [0.0, 1.0, 0.0]
    """
    sampler = ProcessorSampler(source=description(processor))
    object.__setattr__(sampler, "_processor", processor)
    # The processor reads no earlier tokens.
    if getattr(processor, "supports_continuous_batching", None):
        object.__setattr__(sampler, "reads", frozenset())
    return sampler


class ProcessorSampler(Sampler):
    """A logits processor of transformers; made by `from_logits_processor`."""

    reads = frozenset({"tokens"})
    is_shift_invariant = False

    source: str = param("", "the processor and its settings")

    def __call__(self, logits, context):
        tokens = context.tokens
        if not (tokens < 0).any():
            return self._apply(logits, tokens)
        rows = zip(logits, tokens, strict=True)  # transformers has no counterpart of a padded row
        return np.concatenate([self._apply(row[None], ids[ids >= 0][None]) for row, ids in rows])

    def _apply(self, logits, tokens):
        ids = torch.from_numpy(np.array(tokens, dtype=np.int64))
        # A copy, as some processors write into their input.
        scores = torch.from_numpy(np.array(logits))
        return self._processor(ids, scores).numpy().astype(logits.dtype, copy=False)

    @property
    def expression(self):
        """The processor and its settings, as Python would write them."""
        return self.source

    def __repr__(self):
        return f"from_logits_processor({self.source})"


def description(processor):
    """Return the class of a processor and its settings without the defaults.

    Example:
        >>> from transformers import TopPLogitsWarper
        >>> description(TopPLogitsWarper(top_p=0.9))
        'TopPLogitsWarper(top_p=0.9)'
    """
    name = type(processor).__name__
    if isinstance(processor, list):
        return f"{name}([{', '.join(map(description, processor))}])"
    parameters = inspect.signature(type(processor).__init__).parameters
    values = {n: _plain(vars(processor)[n]) for n in parameters if n in vars(processor)}
    settings = [f"{n}={value!r}" for n, value in values.items() if value != parameters[n].default]
    return f"{name}({', '.join(settings)})"


def _plain(value):
    """Convert a tensor to a number or a list, with seven digits for single precision."""
    if not isinstance(value, torch.Tensor):
        return value
    if value.is_floating_point():
        return np.vectorize(lambda x: float(f"{x:.7g}"))(value.numpy(force=True)).tolist()
    return value.tolist()
