"""Masks that hold a text to the format a request asks for, made by corelm-grammar."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import corelm
from corelm import Mask, Sampler
from corelm.errors import CorelmError
from corelm.runs import Strategy, plugins
from corelm_serve.errors import ApiError, as_api_error
from corelm_serve.models import ServedModel
from corelm_serve.requests.chat import ChatRequest
from corelm_serve.requests.formats import Tool
from corelm_serve.requests.sampling import Sampling
from corelm_serve.requests.trials import try_sampler
from corelm_serve.tool_calls import CallFormat

PACKAGE = "corelm-grammar"


def has_masks(strategy: Strategy) -> bool:
    """Return True if a sampler, or one inside it, is a mask."""
    return any(isinstance(part, Mask) for part in strategy.sampler.parts())


def with_format(strategy: Strategy, request: Sampling) -> Strategy:
    """Return a strategy whose texts have the request's `response_format`.

    Raises:
        ApiError: a schema that can't be followed, or no corelm-grammar.
    """
    schema = request.response_format.schema if request.response_format is not None else None
    if schema is None:
        return strategy
    text = json.dumps(schema, ensure_ascii=False)
    return _constrained(strategy, "json_schema", "response_format", schema=text)


def with_tools(
    strategy: Strategy, request: ChatRequest, served: ServedModel
) -> tuple[Strategy, CallFormat | None]:
    """Return a strategy whose texts may call the request's tools, and how calls are written.

    Raises:
        ApiError: tools that can't be offered, or no corelm-grammar.
    """
    tools = request.callable_tools
    if not tools:
        return strategy, None
    if request.response_format is not None and request.response_format.schema is not None:
        message = "response_format excludes tools; forbid their calls with tool_choice none"
        raise ApiError(message, param="response_format", code="excluded_field")
    form = CallFormat.of(getattr(served.model.vocabulary, "chat_template", None) or "")
    optional = request.tool_choice in (None, "auto")
    several = request.parallel_tool_calls and (optional or request.tool_choice == "required")
    grammar = form.grammar(tools, optional=optional, several=several)
    try:
        return _constrained(strategy, "lark", "tools", grammar=grammar), form
    except ApiError:
        _check_schemas(tools)
        raise


def _check_schemas(tools: Sequence[Tool]) -> None:
    """Raise an error that names the tool whose schema is at fault, if one is by itself."""
    for tool in tools:
        function = tool.function
        try:
            corelm.sampler("json_schema", schema=json.dumps(function.schema))
        except CorelmError as error:
            message = f"parameters of {function.name}: {error}"
            raise ApiError(message, param="tools", code="invalid_value") from error


def _constrained(strategy: Strategy, name: str, param: str, **parameters: Any) -> Strategy:
    """Put a mask before a strategy, so that it acts on the model's own distribution.

    Where the chain has masks of its own, the mask also comes last: the last one is never broken.
    """
    if name not in {offer.name for offer in plugins.registry().offers("corelm_samplers")}:
        message = f"{param} needs the package {PACKAGE}: pip install ./plugins/{PACKAGE}"
        raise ApiError(message, param=param, code="unsupported")
    try_sampler(param, name, parameters)
    try:
        mask: Sampler = corelm.sampler(name, **parameters)
    except CorelmError as error:
        raise as_api_error(error, param) from error
    chain = mask | strategy.sampler
    return Strategy(chain | mask if has_masks(strategy) else chain, strategy.decoder)
