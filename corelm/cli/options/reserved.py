"""The option names of the commands, which no sampler's parameter may take over."""

from __future__ import annotations

RESERVED = frozenset(
    {
        "--batch", "--decoder", "--help", "--json", "--length", "--model", "--n", "--no-stream",
        "--preset", "--prompt", "--prompt-file", "--sampler", "--seconds", "--seed", "--stop",
        "--token", "--top", "--unknown",
    }
)  # fmt: skip
"""The options of `sample`, `explain` and `bench`: a parameter has one name in all three."""
