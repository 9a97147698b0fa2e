"""Write a chain for the C library, which draws without Python."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np

from corelm import native
from corelm.contracts.context import example_context
from corelm.contracts.language_model import Vocabulary, never_drawn
from corelm.contracts.sampling import Sampler
from corelm.decoding.draws import CONSTANT, calls_of
from corelm.errors import UsageError
from corelm.native.rows import Call
from corelm.registry.expressions import sampler as read_sampler


def chain_text(sampler: Sampler | str, vocabulary: Vocabulary, *, unknown: bool = False) -> str:
    """Return a chain in the form that `corelm_chain_read` of the C library reads.

    The form names kernels with their parameters, and tokens by id. `corelm/native/README.md`
    tells how to build the library, and `corelm/native/src/chain_text.c` explains the form.

    Args:
        sampler: a sampler, a registered name or an expression; all of it kernels and penalties.
        vocabulary: the model's, for the words of a sampler and the tokens that are never drawn.
        unknown: allow [UNK] to be drawn.

    Raises:
        UsageError: a stage that does more, such as read the text; too many stages; or no kernels
            here.

    Example:
        >>> from corelm.testing import ToyModel
        >>> print(chain_text("top_k(k=2) | temperature(t=0.5)", ToyModel().vocabulary))
        corelm chain 1
        # top_k(k=2) | temperature(t=0.5)
        vocabulary 13
        never 0 1
        start 2
        stage top_k 2
        stage apply_temperature 0x1.0000000000000p-1
        end
        <BLANKLINE>
    """
    sampler = read_sampler(sampler)
    if native.kernels is None:
        raise UsageError("a chain for C is made of kernels, which are not compiled here")
    if sampler.has_branches:
        raise UsageError(f"a chain for C tosses a coin last: {sampler}")
    calls = [call for stage in sampler.active_stages for call in _calls(stage, vocabulary)]
    if len(calls) > native.kernels.MOST_STAGES:
        most = native.kernels.MOST_STAGES
        raise UsageError(f"a chain for C has at most {most} stages, not {len(calls)}")
    return "\n".join(_lines(sampler, vocabulary, calls, unknown))


def _calls(stage: Sampler, vocabulary: Vocabulary) -> Sequence[Call]:
    """Return a stage as lines of text, each a kernel's name and its parameters."""
    penalty = _penalty(stage) if stage._is_built_in else None
    if penalty is not None:
        return [penalty]
    is_constant = stage.reads <= CONSTANT
    context, size = example_context(vocabulary), len(vocabulary)
    calls = calls_of([stage], context, size) if is_constant else None
    if calls is None:
        raise UsageError(f"{stage} is not made of kernels alone, so there is no chain for C of it")
    return [_line(*call) for call in calls]


def _line(name: str, *parameters: Any) -> Call:
    """Return the line of a kernel."""
    if name != "change_tokens":
        return ("stage", name, *parameters)
    ids, _, _, subtract = parameters  # of every row, as nothing of a text is read
    return ("bias", *chain.from_iterable(zip(ids.tolist(), (-subtract).tolist(), strict=True)))


def _penalty(stage: Any) -> Call | None:
    """Return the line of a penalty; the C library keeps the text that it reads."""
    # What logits are divided by, what is subtracted once, and what each time.
    if stage.name == "repetition_penalty" and not stage.normalised:
        changes = (stage.penalty, 0, 0)
    elif stage.name == "presence_penalty":
        changes = (1, stage.penalty, 0)
    elif stage.name == "frequency_penalty":
        changes = (1, 0, stage.penalty)
    else:
        return None
    return ("penalty", *changes, stage.last, int(stage.skip_prompt))


def _lines(
    sampler: Sampler, vocabulary: Vocabulary, calls: list[Call], unknown: bool
) -> Iterator[str]:
    yield "corelm chain 1"
    yield f"# {sampler}".translate(dict.fromkeys(range(32), " "))
    yield f"vocabulary {len(vocabulary)}"
    yield " ".join(["never", *map(str, never_drawn(vocabulary, unknown).tolist())])
    start = getattr(vocabulary, "start", None)
    if start is not None:
        yield f"start {start}"
    for word, *parameters in calls:
        yield " ".join([word, *map(_written, parameters)])
    yield "end\n"


def _written(parameter: object) -> str:
    if isinstance(parameter, np.ndarray):
        return " ".join(["ids", *map(str, parameter.tolist())])
    return parameter.hex() if isinstance(parameter, float) else str(parameter)
