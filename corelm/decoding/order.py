"""The order of the steps that a decoder yields: one for each position, with fewer rows each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from corelm.decoding.step import Step
from corelm.errors import PluginError
from corelm.printable import shown

if TYPE_CHECKING:
    from corelm.decoder import Decoder
    from corelm.decoding.state import DecodingTask


def steps_in_order(decoder: Decoder, task: DecodingTask) -> Iterator[Step]:
    """Yield the steps of a decoder.

    Raises:
        PluginError: a step that is not the next one, which would put a token in a wrong place.
    """
    steps: object = decoder(task)  # a plugin may return anything
    if not isinstance(steps, Iterable):
        raise PluginError(f"{decoder!r} returned {shown(steps)}; write `yield step` in __call__")
    rows = set(task.random_stream.samples)
    for position, step in enumerate(steps):
        if not isinstance(step, Step):
            raise PluginError(f"{decoder!r} yielded {shown(step)}; yield a `corelm.Step`")
        if step.position != position or position >= task.length:
            raise PluginError(
                f"{decoder!r} yielded a step of position {step.position} where {position} of "
                f"{task.length} is next: yield one step for each position, in order, and call "
                "`decoding.advance()` after each"
            )
        samples = step.samples.tolist()
        if len(set(samples)) < len(samples) or not rows.issuperset(samples):
            raise PluginError(
                f"{decoder!r} yielded the samples {samples} at step {position}: each sample that "
                "has not ended has one row; `decoding.select` drops and reorders rows"
            )
        rows = set(samples)
        yield step
