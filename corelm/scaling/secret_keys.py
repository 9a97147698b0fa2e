"""The secrets of samplers: parameters that name an environment variable, written `env:NAME`.

An expression shows the name and not the value, so that two runs with different values look alike.
A slow hash of the value tells them apart without giving it away.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping

from corelm import Decoder, Sampler
from corelm.toolkit import parts

PREFIX = "env:"
ROUNDS = 200_000
"""Iterations of the hash: a guess at a short secret costs a tenth of a second."""


def hashes_of_secrets(things: Iterable[Sampler | Decoder]) -> Mapping[str, str]:
    """Return a hash of the value of each environment variable that samplers read, by its name.

    Args:
        things: samplers and decoders.

    Example:
        >>> import corelm
        >>> hashes_of_secrets([corelm.sampler("greedy")])
        {}
    """
    names = sorted({name for thing in things for name in _variables(thing)})
    return {name: hash_of_variable(name) for name in names}


def hash_of_variable(name: str) -> str:
    """Return a hash of the value of an environment variable; an unset one counts as empty."""
    value = os.environ.get(name, "").encode(errors="surrogateescape")
    return hashlib.pbkdf2_hmac("sha256", value, name.encode(), ROUNDS, 8).hex()


def _variables(thing: Sampler | Decoder) -> Iterator[str]:
    for part in parts(thing):
        for parameter in part.parameters():
            value = getattr(part, parameter.name)
            for text in value if isinstance(value, tuple) else (value,):
                if isinstance(text, str) and text.startswith(PREFIX):
                    yield text.removeprefix(PREFIX)
