"""Ancestral sampling: draw each token given the tokens before it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from corelm.decoder import Decoder
from corelm.decoding.state import DecodingTask
from corelm.decoding.step import Step
from corelm.hookspecs import hookimpl


class Ancestral(Decoder):
    """Draw each token from the distribution that the sampler returns, given those before it."""

    is_ancestral = True

    def __call__(self, task: DecodingTask) -> Iterator[Step]:
        if not task:
            return
        decoding = task.start()
        for position in range(task.length):
            step = decoding.draw()
            unfinished = ~decoding.is_end(step.tokens)
            finished = position + 1 == task.length or not np.count_nonzero(unfinished)
            if not finished:
                # Finished rows leave first, so the model doesn't read their last tokens.
                decoding.select(unfinished)
                decoding.advance()
            yield step
            if finished:
                return


@hookimpl
def corelm_decoders() -> Mapping[str, type[Decoder]]:
    return {"ancestral": Ancestral}
