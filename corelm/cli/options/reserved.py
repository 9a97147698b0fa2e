"""The options of the commands, whose names no parameter of a sampler or decoder may take over."""

from __future__ import annotations

from corelm.generation.loops import REPEATS

RESERVED = frozenset(
    {
        "--batch", "--decoder", "--device", "--dtype", "--help", "--json", "--length",
        "--model", "--no-stream", "--output", "--preset", "--prompt", "--prompt-file", "--resume",
        "--sampler", "--samples", "--scheduler", "--seconds", "--seed", "--stop", "--stop-loop",
        "--stop-regex", "--token", "--top", "--unknown", "--workers",
    }
)  # fmt: skip
"""The options of `sample`, `explain` and `bench`: a parameter has one option in all three."""

OPTIONAL = {"--stop-loop": str(REPEATS)}
"""The options that need no value, and the value that each has by default."""

SHORT = {"-n": "--samples"}
"""The short options, and the long one of each."""
