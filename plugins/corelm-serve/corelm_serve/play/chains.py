"""Chains as the page's cards, and back: names and parameters as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Any

import corelm
from corelm import Sampler
from corelm.errors import CorelmError
from corelm.runs import params, plugins
from corelm_serve.errors import ApiError, as_api_error
from corelm_serve.requests.completion import MOST_STAGES
from corelm_serve.requests.fields import json_of
from corelm_serve.requests.play import ChainRequest
from corelm_serve.requests.trials import (
    UNCHANGED,
    built,
    has_texts,
    try_expression,
    try_settings,
    try_to_build,
)


def chain_of(request: ChainRequest) -> Sampler:
    """Return the chain of a request; without a stage it is `stochastic`, which changes nothing.

    Raises:
        ApiError: an expression that cannot be read, or stages that cannot be made.
    """
    request.check()
    param = next(
        name for name in ("sampler", "stages", "settings") if getattr(request, name) is not None
    )
    with Sampler.refuse_local():
        try:
            sampler = _read(request)
        except CorelmError as error:
            raise as_api_error(error, param) from error
    if len([*sampler.parts()]) > MOST_STAGES:
        message = f"a chain has at most {MOST_STAGES} samplers here, nested ones too"
        raise ApiError(message, param=param, code="too_large")
    if not request.off:
        return sampler
    stages = [stage for at, stage in enumerate(sampler.stages) if at not in request.off]
    return reduce(or_, stages) if stages else corelm.sampler(UNCHANGED)


def _read(request: ChainRequest) -> Sampler:
    if request.stages is not None:
        if any(has_texts(stage["parameters"]) for stage in request.stages):
            try_to_build("stages", "stages", request.stages)
        return built(request.stages)
    if request.settings is not None:
        settings = json_of(request.settings, "settings")
        try_settings(settings, None)
        return corelm.from_settings(settings).sampler
    assert request.sampler is not None
    try_expression(request.sampler, "sampler")
    return corelm.sampler(request.sampler if request.sampler.strip() else UNCHANGED)


def cards(sampler: Sampler) -> list[dict[str, Any]]:
    """Return the stages of a chain as JSON: the name, parameters and expression of each."""
    return [
        {
            "name": stage.name,
            "expression": str(stage),
            "neutral": stage.is_neutral,
            "parameters": {
                each.name: as_json(getattr(stage, each.name)) for each in type(stage).parameters()
            },
        }
        for stage in sampler.stages
    ]


def as_json(value: Any) -> Any:
    """Return the value of a parameter as JSON; infinity is the text `inf`."""
    if isinstance(value, Sampler):
        return {"stages": cards(value)}
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, (tuple, list)):
        return [as_json(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    return value


def installed() -> list[dict[str, Any]]:
    """Return the samplers that can be used here, each with its help line and its parameters."""
    offers = plugins.registry().offers("corelm_samplers")
    return [_offered(offer, offers) for offer in offers if not _needs_local(offer.value)]


def _needs_local(cls: type[Sampler]) -> bool:
    """Return True for a sampler with a parameter, such as a key, that no request may set."""
    if not any(each.rule.local for each in cls.parameters()):
        return False
    try:
        cls()
    except CorelmError:
        return True
    return False


def decoders() -> list[dict[str, str]]:
    """Return the installed decoders, each with its help line."""
    offers = plugins.registry().offers("corelm_decoders")
    return [
        {"name": _shortest_name(offer, offers), "help": offer.value.description()}
        for offer in offers
    ]


def _shortest_name(offer: plugins.Offer, offers: Sequence[plugins.Offer]) -> str:
    """Return the name of an offer; the full name if several offers share the short one."""
    return offer.full_name if sum(each.name == offer.name for each in offers) > 1 else offer.name


def _offered(offer: plugins.Offer, offers: Sequence[plugins.Offer]) -> dict[str, Any]:
    """Describe a sampler, the expression of a newly added stage, and what its parameters take."""
    cls, name = offer.value, _shortest_name(offer, offers)
    try:
        example = cls(**cls.example)
    except CorelmError:  # it has no values by default, such as a grammar
        example = None
    return {
        "name": name,
        "help": cls.description(),
        "package": offer.source.distribution,
        "expression": name if example is None else str(example),
        "parameters": [
            _described(each) | {"start": as_json(getattr(example, each.name, each.default))}
            for each in cls.parameters()
        ],
        "neutral": {key: as_json(value) for key, value in cls.neutral.items()},
    }


def _described(parameter: params.Parameter) -> dict[str, Any]:
    rule = parameter.rule
    return {
        "name": parameter.name,
        "aliases": list(rule.aliases),
        "type": "sampler" if parameter.is_nested else parameter.type_name,
        "default": as_json(parameter.default),
        "help": rule.help,
        "low": as_json(rule.ge if rule.gt is None else rule.gt),
        "above": rule.gt is not None,
        "high": as_json(rule.le if rule.lt is None else rule.lt),
        "below": rule.lt is not None,
        "choices": list(rule.choices) if rule.choices is not None else None,
        "local": rule.local,
    }
