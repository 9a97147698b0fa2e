"""The body of `POST /v1/completions`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from corelm_serve.errors import ApiError
from corelm_serve.requests.fields import (
    FLAG,
    Kind,
    Request,
    either,
    field,
    list_of,
    nested,
    text,
    whole,
)
from corelm_serve.requests.sampling import UNUSED, Sampling

MOST_IDS, MOST_PROMPTS = 2**19, 2**16
"""Bounds that a body of 1 MiB cannot exceed; `Limits` has the real ones."""


ID = whole(0, 2**31)
PROMPT = either(
    "a text, a list of token ids, or a list of texts or of lists of token ids",
    text(),
    list_of(ID, MOST_IDS, 1),
    list_of(text(), MOST_PROMPTS, 1),
    list_of(list_of(ID, MOST_IDS), MOST_PROMPTS, 1),
)


def _no_number(value: Any) -> None:
    """Read false as None."""
    if value is not False:
        raise ValueError


FALSE = Kind("false", {"const": False}, _no_number)


@dataclass(frozen=True, kw_only=True)
class StreamOptions(Request):
    """Options of a streamed answer."""

    include_usage: bool = field(FLAG, "send the usage in a last event", False)
    include_obfuscation: bool = field(
        FLAG, "taken for compatibility: events have their own lengths", False
    )


@dataclass(frozen=True, kw_only=True)
class TextRequest(Sampling):
    """A request for texts of a model."""

    model: str = field(text(256, 1), "a name of `GET /v1/models`", required=True)
    stream_options: StreamOptions | None = field(nested(StreamOptions), "options of the stream")

    def check(self) -> None:
        """Raise if fields contradict each other."""
        if self.stream_options is not None and not self.stream:
            raise excluded("stream_options needs stream", "stream_options")


def excluded(message: str, param: str) -> ApiError:
    """Return the error for a field that another one excludes."""
    return ApiError(message, param=param, code="excluded_field")


@dataclass(frozen=True, kw_only=True)
class CompletionRequest(TextRequest):
    """Texts that continue a prompt."""

    refused: ClassVar[dict[str, str]] = {
        **UNUSED,
        "suffix": "these models continue a text, and can't fill a gap in it",
    }

    prompt: Any = field(PROMPT, "the text to continue, or several", required=True)
    max_tokens: int = field(whole(0, 2**31), "tokens to draw at most", 16)
    best_of: int | None = field(
        whole(1, 64),
        "texts to write for each prompt; the n with the largest mean log-probability are returned",
    )
    logprobs: int | None = field(
        either("a whole number from 0 to 20, or false", whole(0, 20), FALSE),
        "return log-probabilities of each token, and of this many others",
    )
    echo: bool = field(FLAG, "begin the answer with the prompt", False)

    @property
    def prompts(self) -> list[str | tuple[int, ...]]:
        """The prompts, each a text or its ids."""
        if isinstance(self.prompt, str) or isinstance(self.prompt[0], int):
            return [self.prompt]
        return list(self.prompt)

    @property
    def texts(self) -> int:
        """The number of texts that are written for each prompt."""
        return self.n if self.best_of is None else self.best_of

    def check(self) -> None:
        """Raise if fields contradict each other."""
        if self.best_of is not None and self.best_of < self.n:
            message = f"best_of must be at least n, which is {self.n}, not {self.best_of}"
            raise ApiError(message, param="best_of", code="invalid_value")
        if self.stream and self.texts > self.n:
            message = "best_of can't be streamed: the best texts are known when all are complete"
            raise excluded(message, "best_of")
        super().check()
