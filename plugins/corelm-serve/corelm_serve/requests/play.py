"""The bodies of the requests that the page makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from corelm.runs import Expression
from corelm_serve.errors import ApiError
from corelm_serve.requests.completion import ID, LARGEST_SEED, LONGEST_EXPRESSION, MOST_STAGES
from corelm_serve.requests.fields import (
    DOCUMENT,
    FLAG,
    Kind,
    Request,
    field,
    list_of,
    one_of,
    text,
    whole,
)

PICTURES = {"svg": "image/svg+xml", "pdf": "application/pdf", "png": "image/png"}
"""The forms of a picture, with their media types."""
MOST_DRAWN = 4_096
"""The most tokens after the prompt."""
MOST_WRITTEN = 256
"""The most tokens that one request draws."""
MOST_DRAWS = 1_000
"""The largest number of draws at one place."""
MOST_LISTED = 200
"""The most likely tokens that are listed."""
MOST_OPENED, DEEPEST_OPENED = 32, 16
"""The most words of a tree that are opened, and the most words from its root to one of them."""


def _stages(value: Any, depth: int = 0) -> list[dict[str, Any]]:
    """Read the stages of a chain, nested ones too."""
    if not isinstance(value, list) or len(value) > MOST_STAGES:
        raise ValueError
    return [_stage(each, depth) for each in value]


def _stage(value: Any, depth: int) -> dict[str, Any]:
    if not isinstance(value, dict) or not value.keys() <= {"name", "parameters"}:
        raise ValueError
    name, parameters = value.get("name"), value.get("parameters", {})
    if not isinstance(name, str) or not isinstance(parameters, dict):
        raise ValueError
    read = {key: _parameter(each, depth) for key, each in parameters.items()}
    return {"name": name, "parameters": read}


def _parameter(value: Any, depth: int) -> Any:
    """Read a parameter, which may have stages of its own."""
    if isinstance(value, list):
        return [_parameter(each, depth) for each in value]
    if not isinstance(value, dict) or "stages" not in value:
        return value
    if value.keys() != {"stages"} or depth == Expression.DEEPEST:
        raise ValueError
    return {"stages": _stages(value["stages"], depth + 1)}


STAGE = {
    "type": "object",
    "required": ["name"],
    "properties": {"name": {"type": "string"}, "parameters": {"type": "object"}},
    "additionalProperties": False,
}
STAGES = Kind(
    "a list of stages, each with a name and parameters",
    {"type": "array", "items": STAGE, "maxItems": MOST_STAGES},
    _stages,
)


@dataclass(frozen=True, kw_only=True)
class ChainRequest(Request):
    """A chain: as an expression, as stages, or as settings that another engine uses."""

    sampler: str | None = field(
        text(LONGEST_EXPRESSION), "the expression; empty for the model's own distribution"
    )
    stages: list[dict[str, Any]] | None = field(STAGES, "the stages, in place of the expression")
    settings: str | None = field(
        text(2**16, 1), "settings of another engine as JSON, in place of the expression"
    )
    off: tuple[int, ...] = field(
        list_of(whole(0, MOST_STAGES), MOST_STAGES), "the places of stages to leave out", ()
    )

    def check(self) -> None:
        """Raise unless the request gives the chain in exactly one way."""
        ways = [
            name for name in ("sampler", "stages", "settings") if getattr(self, name) is not None
        ]
        if len(ways) != 1:
            raise ApiError(
                "give the chain in one way: as sampler, as stages or as settings",
                param=ways[1] if ways else "sampler",
                code="excluded_field" if ways else "missing_field",
            )


@dataclass(frozen=True, kw_only=True)
class PlaceRequest(ChainRequest):
    """A place in a text: after a prompt and the tokens drawn since."""

    model: str | None = field(text(256, 1), "a name of `GET /v1/models`; default: the only one")
    prompt: str = field(text(), "the prompt", "")
    chat: bool = field(FLAG, "the prompt is a message, in the model's chat template", False)
    tokens: tuple[int, ...] = field(
        list_of(ID, MOST_DRAWN, name="token ids"), "the tokens drawn after it", ()
    )
    seed: int = field(whole(0, LARGEST_SEED), "decides the random numbers", 0)


@dataclass(frozen=True, kw_only=True)
class NextRequest(PlaceRequest):
    """The next word at a place, and the way to its distribution."""

    count: int = field(whole(1, MOST_LISTED), "likely tokens to list, of each end of the chain", 12)
    draws: int = field(whole(0, MOST_DRAWS), "draw this many times, as the samples of a run do", 0)
    stage: int | None = field(
        whole(0, MOST_STAGES), "the column whose arithmetic to return; 0 is the model"
    )


@dataclass(frozen=True, kw_only=True)
class TreeRequest(PlaceRequest):
    """The likeliest words at a place, and after words that could follow it."""

    count: int = field(whole(1, 16), "likely words to list after each", 4)
    paths: tuple[tuple[int, ...], ...] | None = field(
        list_of(list_of(ID, DEEPEST_OPENED, 1, name="token ids"), MOST_OPENED),
        "the words to list the next ones of, each by the ids that lead to it; "
        "default: the likeliest word and the likeliest after it",
    )


@dataclass(frozen=True, kw_only=True)
class PictureRequest(NextRequest):
    """The next word at a place as a picture."""

    form: str = field(one_of(*PICTURES), "the form of the file", "svg")


@dataclass(frozen=True, kw_only=True)
class SendRequest(Request):
    """A state of the page for all students of a class."""

    state: dict[str, Any] = field(DOCUMENT, "the state, as links have it", required=True)


@dataclass(frozen=True, kw_only=True)
class WriteRequest(PlaceRequest):
    """Tokens to draw from a place on."""

    length: int = field(whole(1, MOST_WRITTEN), "tokens to draw at most", 60)
    decoder: str | None = field(
        text(LONGEST_EXPRESSION, 1), "a decoder, such as `beam(width=4)`; default: ancestral"
    )
