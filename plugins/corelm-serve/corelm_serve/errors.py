"""Errors in OpenAI's JSON shape, with corelm's sentences."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from types import FrameType
from typing import Any

from corelm import CorelmError, Sampler
from corelm.errors import (
    ExecutorError,
    ModelOutputError,
    ParameterError,
    SamplerError,
    SettingsError,
    UsageError,
)
from corelm.runs import printable

TYPES = {
    401: "authentication_error",
    403: "permission_error",
    408: "timeout_error",
    429: "rate_limit_error",
    503: "service_unavailable_error",
}
"""The types of errors that have one of their own."""
LONGEST = 2_000
"""Characters of a message."""
RETRY = {429: "2", 503: "2"}
"""Seconds after which a client may ask again, by status."""


class ApiError(Exception):
    """A request that is refused, or that failed.

    Args:
        message: one or two sentences.
        status: the HTTP status.
        param: the field at fault.
        code: a word for programs.
        headers: more headers of the response.
    """

    def __init__(
        self,
        message: str,
        status: int = 400,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = printable.one_line(message)[:LONGEST]
        self.status, self.param, self.code = status, param, code
        again = {"Retry-After": RETRY[status]} if status in RETRY else {}
        self.headers = {**again, **(headers or {})}

    def within(self, name: str) -> ApiError:
        """Return the same error, with its field as a part of another, such as `messages[0].role`.

        Args:
            name: the other field, or a place in a list, such as `[0]`.
        """
        inner = self.param or ""
        path = name + ("." if inner and not inner.startswith("[") else "") + inner
        return ApiError(self.message, self.status, param=path, code=self.code, headers=self.headers)

    @property
    def document(self) -> dict[str, Any]:
        """The error as OpenAI's clients read it."""
        other = "invalid_request_error" if self.status < 500 else "server_error"
        return {
            "error": {
                "message": self.message,
                "type": TYPES.get(self.status, other),
                "param": self.param,
                "code": self.code,
            }
        }


def as_api_error(error: BaseException, param: str | None = None) -> ApiError:
    """Return any error as one of the API.

    Mistakes of the request are 400. A sampler or a model that fails is 500, and its message names
    it. Every other error is a fault of the server: its text may hold paths, so only its type is
    sent.
    """
    match error:
        case ApiError():
            return error
        case SamplerError():
            return ApiError(str(error), 500, param=param, code="sampler_failed")
        case ModelOutputError():
            return ApiError(str(error), 500, code="model_failed")
        case UsageError() | SettingsError() | ParameterError():
            return ApiError(str(error), 400, param=param, code="invalid_value")
        case ExecutorError():
            return ApiError(str(error), 503, code="busy")
        case CorelmError():
            return ApiError(str(error), 500, code="failed")
    name = type(error).__name__
    return ApiError(f"the server failed with {name}; its log has the reason", 500, code=name)


def ended_by(error: BaseException) -> ApiError:
    """Return the error for an exception, such as KeyboardInterrupt, that would end the server."""
    frame = [*traceback.walk_tb(error.__traceback__)][-1][0]
    message = f"{culprit(frame)} raised {type(error).__name__}"
    return ApiError(message, 500, code="sampler_failed")


def culprit(frame: FrameType | None) -> str:
    """Describe the code that a frame is in: a sampler or the model."""
    sampler = next(samplers_in(frame), None)
    return "the model or the decoder" if sampler is None else f"the sampler {sampler.name}"


def samplers_in(frame: FrameType | None) -> Iterator[Sampler]:
    """Yield the samplers whose methods a frame and its callers are in, the innermost first."""
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, Sampler):
            yield owner
        frame = frame.f_back
