"""A tiny model of GPT-2's architecture, for tests of other engines' adapters."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from corelm.models import bundle
from corelm.models.architectures import Architecture
from corelm.models.byte_pairs import BytePairVocabulary
from corelm.models.weights import shapes

MERGES = (
    "Ġ t|h e|Ġt he|i n|in g|Ġ a|o r|e r|Ġ s|Ġ m|o v|i e|Ġm ov|Ġmov ie|Ġ w|o o|oo d|Ġ g|Ġg ood|n d|"
    "Ġa nd|i s|Ġ is|Ġ f|i l|il m|Ġf ilm|T h|Th is|Ġ b|a d|Ġb ad|a s|Ġw as|Ġ Ġ|Ã ©|e n|Ġ in"
)


def tiny_gpt2(folder: str | os.PathLike[str], *, seed: int = 0, context_length: int = 64) -> Path:
    """Write a model with random weights and GPT-2's architecture, in a tenth of a second.

    Other engines can run it: `corelm models export FOLDER --to gguf tiny.gguf`.

    Args:
        folder: the folder to write; an earlier model in it is replaced.
        seed: decides the weights.
        context_length: the largest number of tokens that the network sees.

    Returns:
        The folder, for `corelm.load`.

    Example:
        >>> import corelm, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model = corelm.load(tiny_gpt2(f"{folder}/tiny"))
        >>> model.vocabulary.encode("This movie"), model.context_length
        ([286, 271], 64)
    """
    parts = [line.split(" ") for line in MERGES.split("|")]
    vocabulary = BytePairVocabulary((left, right) for left, right in parts)
    a = Architecture(
        "gpt2", len(vocabulary), context_length, width=32, dense=128, heads=2, blocks=2
    )
    rng = np.random.default_rng(seed)
    # Gammas around 1 and large weights, so that a mistake in any layer shows in the logits.
    weights = {
        name: (name.endswith("gamma") + 0.3 * rng.standard_normal(shape)).astype(np.float32)
        for name, shape in shapes(a).items()
    }
    bundle.write(folder, a, vocabulary, weights, training={"seed": seed}, figures={})
    return Path(folder)
