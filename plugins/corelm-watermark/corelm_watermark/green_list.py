"""The green list: raise the logits of a secret part of the vocabulary."""

from functools import lru_cache

import numpy as np

from corelm import ParameterError, hookimpl, param
from corelm.errors import MissingDependencyError
from corelm.filters import array_namespace, in_library_of
from corelm_watermark.keys import context_seeds, mix, secret
from corelm_watermark.watermark import Watermark


class GreenList(Watermark):
    """Raise the logits of a secret part of the vocabulary, which changes from token to token.

    A keyed hash of the last `context` tokens decides which tokens are green, a share gamma of
    them; their logits rise by delta. `corelm watermark detect` counts the green tokens of a text:
    in a text without this watermark they are a share gamma. A row with fewer tokens than `context`
    stays as it is. Put it last in a chain.

    With the scheme `transformers`, the green tokens are its WatermarkLogitsProcessor's with
    `seeding_scheme="lefthash"`. The key is then its `hashing_key`, a number. This needs torch.

    Source: Kirchenbauer et al. 2023, A Watermark for Large Language Models, arXiv 2301.10226.

    Related: synthid.

    Example:
        >>> import corelm
        >>> sampler = GreenList(key="an example", gamma=0.5, delta=2)
        >>> corelm.sampling_distribution(sampler, [0.0] * 4, tokens=[7]).round(3).tolist()
        [0.319, 0.043, 0.319, 0.319]
    """

    neutral = {"delta": 0.0}
    reads = frozenset({"tokens", "vocabulary"})  # the result depends on the ids themselves

    key: str = param(
        "", "a secret text, or env:NAME for an environment variable that holds it", local=True
    )
    gamma: float = param(0.25, "the green share of the vocabulary", gt=0, lt=1)
    delta: float = param(2.0, "nats added to the logit of a green token", ge=0, le=100)
    context: int = param(1, "how many of the last tokens decide what is green", ge=1)
    scheme: str = param("blake2", "how it is decided", choices=("blake2", "transformers"))

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "_secret", secret(self.key))
        if self.scheme == "transformers":
            if not self._secret.isdecimal():
                raise ParameterError("key must be a whole number with scheme='transformers'")
            if self.context != 1:
                raise ParameterError(
                    f"context must be 1 with scheme='transformers', not {self.context}: "
                    "its lefthash reads the last token alone"
                )

    def __call__(self, logits, context):
        last = context.tokens[:, -self.context :]
        if last.shape[1] < self.context:  # too few tokens to seed the hash
            return logits
        size = logits.shape[1]
        green = self.green(last, np.arange(size)[None], size) & (last >= 0).all(-1, keepdims=True)
        green = in_library_of(logits, green)
        return array_namespace(logits).where(green, logits + self.delta, logits)

    def green(self, contexts, ids, size):
        """Return True for each token that is green.

        Args:
            contexts: (contexts, width) ids of the preceding tokens.
            ids: (contexts, tokens) or (1, tokens) ids.
            size: the number of tokens in the vocabulary.
        """
        if self.scheme == "transformers":
            key, last = int(self._secret), contexts[:, -1].tolist()
            masks = np.stack([_green_list(key, token, self.gamma, size) for token in last])
            return np.take_along_axis(masks, np.broadcast_to(ids, (len(masks), ids.shape[1])), 1)
        seeds = context_seeds(self._secret, contexts)[:, None]
        return mix(seeds, ids.astype(np.uint64)) < np.uint64(int(self.gamma * 2**64))

    def marks(self, grams, size):
        return self.green(grams[:, :-1], grams[:, -1:], size)

    def chance(self, size):
        return int(size * self.gamma) / size if self.scheme == "transformers" else self.gamma


@lru_cache(maxsize=2048)
def _green_list(key, token, share, size):
    """Return the green tokens after a token, (size,), as WatermarkLogitsProcessor's "lefthash".

    Raises:
        MissingDependencyError: torch is not installed.
    """
    try:
        import torch
    except ImportError:
        raise MissingDependencyError(
            "scheme='transformers' needs torch: pip install torch"
        ) from None
    generator = torch.Generator().manual_seed(key * token % (2**64 - 1))
    green = np.zeros(size, dtype=bool)
    green[torch.randperm(size, generator=generator)[: int(size * share)].numpy()] = True
    return green


@hookimpl
def corelm_samplers():
    return {"green_list": GreenList}
