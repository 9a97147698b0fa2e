"""The answers to the page's requests."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from corelm import CorelmError, Sampler, Vocabulary, lint, presets
from corelm.abilities import texts_after
from corelm.runs import StageResult, Strategy, apply, human_surprisal, steps
from corelm_serve.errors import ApiError, as_api_error
from corelm_serve.models import ServedModel, find
from corelm_serve.play.chains import cards, chain_of, decoders, installed
from corelm_serve.play.places import Columns, Place, valid_results
from corelm_serve.play.rows import RowCache
from corelm_serve.prepare import check_at_most
from corelm_serve.requests.play import ChainRequest, NextRequest, PlaceRequest, WriteRequest
from corelm_serve.requests.sampling import with_decoder
from corelm_serve.settings import Limits

Models = Mapping[str, ServedModel]
Caches = Mapping[tuple[str, bool], RowCache]


def samplers(models: Models) -> dict[str, Any]:
    """Return what there is: samplers, decoders, presets, and where each model comes from."""
    return {
        "samplers": installed(),
        "decoders": decoders(),
        "presets": presets(),
        "models": {name: served.source or name for name, served in models.items()},
    }


def chain(body: Any) -> dict[str, Any]:
    """Return a chain as an expression, as cards, and with notes on likely mistakes.

    A chain that can't be read is no error of the page, which reads at every key: the answer says
    what is wrong.
    """
    request = ChainRequest.read(body)
    try:
        found = chain_of(request)
        return _about(found) | {"notes": lint(found), "error": None}
    except ApiError as error:
        return {"error": error.message}


def next_word(
    body: Any, models: Models, caches: Caches, limits: Limits, late: str | None = None
) -> dict[str, Any]:
    """Return the next word's way from the model to the draw.

    A stage that fails is named, with the distributions before it: the page shows both. So is a
    chain or a prompt that can't be read. `late` is the sentence about a chain that took too long.
    """
    request = NextRequest.read(body)
    try:
        place = place_of(request, models, caches, limits)
    except ApiError as error:
        if error.param != "prompt":
            raise
        return {"chain": None, "error": error.message, "param": "prompt"}
    try:
        sampler = chain_of(request)
    except ApiError as error:
        return {"chain": None, "error": error.message, "param": None}
    found: dict[str, Any] = {
        "chain": _about(sampler),
        "prompt": len(place.prompt),
        "position": len(place.tokens),
        "words": place.words(),
        "surprisal": place.mean_surprisal(),
        "averaged": len(place.compared),
        "human": human_surprisal(place.model),
        "vocabulary": len(place.vocabulary),
        "largest_entropy": math.log(len(place.vocabulary)),
        "ended": place.ended,
    }
    row = place.row()
    trace: list[StageResult] = []
    fault = late or _fault(lambda: apply(sampler, row, place.past(sampler).context, trace))
    columns = Columns(row, valid_results(trace), place.vocabulary.ends)
    tokens = columns.likeliest(request.count)
    drawn = None if fault or place.ended else place.drawn(columns.last)
    text_of = texts_after(place.ids, place.vocabulary)
    ids = tokens if drawn is None or drawn in tokens else [*tokens, drawn]
    return found | {
        "columns": columns.described(),
        "tokens": [
            columns.of_token(token) | _text(token, place.vocabulary, text_of) for token in ids
        ],
        "drawn": drawn,
        "error": fault,
    }


def write(body: Any, models: Models, caches: Caches, limits: Limits) -> dict[str, Any]:
    """Return the tokens that the seed draws from a place on, up to the end of the text."""
    request = WriteRequest.read(body)
    sampler, place = chain_of(request), place_of(request, models, caches, limits)
    first = len(place.tokens)
    if request.decoder is None:
        _draw(place, sampler, request.length)
    else:
        _decode(place, with_decoder(sampler, request.decoder), request)
    return {"words": place.words()[first:], "ended": place.ended}


def _draw(place: Place, sampler: Sampler, length: int) -> None:
    past = place.past(sampler)
    for _ in range(length):
        if place.ended:
            return
        row = place.row()
        logits = apply(sampler, row, past.context)
        token = place.drawn(logits)
        past.append_drawn(np.array([token]), logits, row)
        place.move_on(token)


def _decode(place: Place, strategy: Strategy, request: WriteRequest) -> None:
    """Move on by what a decoder writes, for which the text so far is a prompt.

    Raises:
        ApiError: the decoder fails.
    """
    if place.ended:
        return
    try:
        for step in steps(
            place.model, list(place.ids), sampler=strategy.sampler, decoder=strategy.decoder,
            length=request.length, seed=request.seed, unknown=request.unknown,
        ):  # fmt: skip
            place.move_on(int(step.tokens[0]))
            if place.ended:
                return
    except CorelmError as error:
        raise as_api_error(error, "decoder") from error
    except Exception as error:  # the decoder's own
        message = f"{strategy.decoder} failed with {type(error).__name__}"
        raise ApiError(message, 500, param="decoder", code="decoder_failed") from error


def place_of(request: PlaceRequest, models: Models, caches: Caches, limits: Limits) -> Place:
    """Return the place in a text that a request is about.

    Raises:
        ApiError: no such model or token, or a text that is too long.
    """
    served = find(models, request.model)
    rows = caches[served.name, request.unknown]
    place = Place(served, rows, request.prompt, request.tokens, request.seed)
    check_at_most("prompt", len(place.ids), limits.prompt, "tokens, drawn ones included,")
    return place


def _text(
    token: int, vocabulary: Vocabulary, text_of: Callable[[int], str]
) -> dict[str, str | bool]:
    """Return the text that a token would add, and whether it ends the text instead."""
    end = token in vocabulary.ends
    return {"text": "" if end else text_of(token), "end": end}


def _fault(work: Callable[[], object]) -> str | None:
    """Do some work, and return the sentence about its error; None if there is none."""
    try:
        work()
    except CorelmError as error:
        return as_api_error(error).message
    return None


def _about(sampler: Sampler) -> dict[str, Any]:
    return {"expression": str(sampler), "stages": cards(sampler)}
