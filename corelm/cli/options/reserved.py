"""The options of the commands, whose names no parameter of a sampler or decoder may take over."""

from __future__ import annotations

RESERVED = frozenset(
    {
        "--batch", "--decoder", "--device", "--dtype", "--help", "--json", "--length", "--model",
        "--no-stream", "--preset", "--prompt", "--prompt-file", "--sampler", "--samples",
        "--seconds", "--seed", "--stop", "--token", "--top", "--unknown",
    }
)  # fmt: skip
"""The options of `sample`, `explain` and `bench`: a parameter has one option in all three."""

SHORT = {"-n": "--samples"}
"""The short options, and the long one of each."""
