"""The limits of a server, each with its default."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds that keep one client from using up the machine.

    Attributes:
        body: bytes of a request.
        prompt: tokens of a prompt.
        length: tokens drawn for a text.
        prompts: prompts in a request.
        total: tokens of all prompts of a request, and tokens drawn for all of its texts.
        entries: log-probabilities in an answer.
        rows: texts that a model writes at once, and texts of one prompt.
        waiting: requests that wait for a model; more are refused with 429.
        seconds: the time of a request, from its arrival to its last token.
        stall: seconds that one step of one request may take before it is given up.
        piece: tokens of a prompt that are read between two steps.
        prefixes: tokens of prompts that each model keeps, to read equal beginnings once.
        grace: seconds that running requests get to end when the server stops.
    """

    body: int = 2**20
    prompt: int = 32_768
    length: int = 4_096
    prompts: int = 128
    total: int = 2**18
    entries: int = 2**20
    rows: int = 64
    waiting: int = 256
    seconds: float = 600.0
    stall: float = 30.0
    piece: int = 512
    prefixes: int = 8_192
    grace: float = 10.0
