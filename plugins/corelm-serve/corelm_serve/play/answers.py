"""The answers to the page's requests."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from itertools import takewhile
from typing import Any

import numpy as np

from corelm import CorelmError, LanguageModel, Sampler, lint, presets
from corelm.abilities import FullVocabulary
from corelm.runs import (
    ExplainedStage,
    NamedModel,
    Strategy,
    Texts,
    chain_stages,
    printable,
)
from corelm_serve.errors import ApiError, as_api_error
from corelm_serve.play.chains import cards, chain_of, decoders, installed
from corelm_serve.play.columns import arithmetic, described, likeliest
from corelm_serve.play.places import Place
from corelm_serve.play.rows import RowCache
from corelm_serve.prepare import check_at_most
from corelm_serve.requests.completion import with_decoder
from corelm_serve.requests.play import (
    NextRequest,
    PlaceRequest,
    TreeRequest,
    WriteRequest,
)
from corelm_serve.scheduling.scheduler import Limits
from corelm_serve.service import ServedModel, find

LEVELS = 3
"""The places of a tree whose words are listed at first: along the likeliest words."""

Models = Mapping[str, ServedModel]
Caches = Mapping[str, RowCache]


def samplers(models: Models) -> dict[str, Any]:
    """Return what is installed: samplers, decoders, presets, and where each model comes from."""
    return {
        "samplers": installed(),
        "decoders": decoders(),
        "presets": presets(),
        "levels": printable.SURPRISAL_SCALE.bounds,
        "models": {name: served.source or name for name, served in models.items()},
        "facts": {name: _facts(served.model) for name, served in models.items()},
    }


def _facts(model: LanguageModel) -> dict[str, Any]:
    """Return a model's first prompt, True if that is a message, its word for a token, its ends."""
    vocabulary = FullVocabulary(model.vocabulary)
    is_chat = vocabulary.is_chat
    prompt = NamedModel.MESSAGE if is_chat else NamedModel(model).default_prompt
    ends = [*model.vocabulary.ends]
    return {"prompt": prompt, "chat": is_chat, "unit": vocabulary.unit, "ends": ends}


def next_word(
    body: Any, models: Models, caches: Caches, limits: Limits, late: str | None = None
) -> dict[str, Any]:
    """Return the next word's distributions, from the model's to the one drawn from.

    If a stage fails, the answer names it and has the distributions before it. It also has the error
    of a chain or a prompt that can't be read, as the page sends them at every key. `late` is the
    message about a chain that took too long.
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
    whole = chain_of(replace(request, off=())) if request.off else sampler
    words = place.words()
    # As in reports, the end of a text doesn't count: human text has none.
    nats = [word["surprisal"] for word in words if not word["end"]]
    return {
        "chain": {"expression": str(sampler), "stages": cards(whole)},
        "words": words,
        "surprisal": math.fsum(nats) / len(nats) if nats and None not in nats else None,
        "averaged": len(nats),
        "human": NamedModel(place.model).human_surprisal,
        "vocabulary": len(place.vocabulary),
        "unit": FullVocabulary(place.vocabulary).unit,
        "largest_entropy": math.log(len(place.vocabulary)),
        "ended": place.ended,
    } | _next_at(place, sampler, request, late)


def _next_at(
    place: Place, sampler: Sampler, request: NextRequest, late: str | None
) -> dict[str, Any]:
    """Return the distributions at a place, the tokens that are listed, and what is drawn."""
    trace: list[Any] = []
    fault = late
    if not late:
        try:
            chain_stages.apply(sampler, place.row(), place.past(sampler).context, trace)
        except CorelmError as error:
            fault = as_api_error(error).message
    # Up to the first result that is no distribution.
    valid = takewhile(lambda each: np.isfinite(each.logits.max()), trace)
    stages = place.rows.explained(place.ids).with_stages(valid)
    last = stages[-1].logits[None]
    tokens = likeliest(stages, request.count)
    drawn = None if fault or place.ended else place.drawn(last)
    text_of = place.text_of()
    ids = tokens if drawn is None or drawn in tokens else [*tokens, drawn]
    counts = {} if drawn is None or not request.draws else place.counts(last, request.draws)
    at, table = request.stage, None
    if at is not None and at < len(stages):
        table = arithmetic(stages[max(at - 1, 0)], stages[at], request.count)
        for row in table["rows"]:
            row |= text_of(row["token"])
    return {
        "columns": described(stages, place.vocabulary.ends),
        "tokens": [
            {
                "id": token,
                "probabilities": [float(stage.distribution[token]) for stage in stages],
                "removed_by": next(
                    (i for i, each in enumerate(stages) if each.removed[token]), None
                ),
                "count": counts.get(token, 0),
            }
            | text_of(token)
            for token in ids
        ],
        "draws": sum(counts.values()),
        "arithmetic": table,
        "drawn": drawn,
        "error": fault,
        "notes": [] if late else lint(sampler),  # which applies its stages to other rows
    }


def tree(body: Any, models: Models, caches: Caches, limits: Limits) -> dict[str, Any]:
    """Return the likeliest words at a place, and after words that could follow it.

    Each node has the ids that lead to it from the place, and the words after them; or the error of
    a chain that fails there.
    """
    request = TreeRequest.read(body)
    sampler = chain_of(request)

    def node(path: tuple[int, ...]) -> dict[str, Any]:
        there = replace(request, tokens=request.tokens + path)
        place = place_of(there, models, caches, limits)
        return {"path": path, "error": None} | _words_at(place, sampler, request.count)

    if request.paths is not None:
        return {"nodes": [node(path) for path in ((), *request.paths)]}
    nodes = [node(())]
    while len(nodes) < LEVELS and (followed := _likeliest(nodes[-1])):
        nodes.append(node(followed))
    return {"nodes": nodes}


def _words_at(place: Place, sampler: Sampler, count: int) -> dict[str, Any]:
    """Return the likeliest words that a chain could draw at a place, or its error."""
    if place.ended:
        return {"words": []}
    try:
        logits = chain_stages.apply(sampler, place.row(), place.past(sampler).context)
    except CorelmError as error:
        return {"words": [], "error": as_api_error(error).message}
    last, text_of = ExplainedStage(None, logits[0]), place.text_of()
    return {
        "words": [
            {"id": token, "probability": float(last.distribution[token])} | text_of(token)
            for token in last.likeliest(count).tolist()
        ]
    }


def _likeliest(node: dict[str, Any]) -> tuple[int, ...] | None:
    """Return the ids that lead past a node's likeliest word; None if all its words end the text."""
    following = (word["id"] for word in node["words"] if not word["end"])
    return next(((*node["path"], token) for token in following), None)


def write(body: Any, models: Models, caches: Caches, limits: Limits) -> dict[str, Any]:
    """Draw tokens with the seed from a place to the end of the text."""
    request = WriteRequest.read(body)
    sampler, place = chain_of(request), place_of(request, models, caches, limits)
    first = len(place.tokens)
    if request.decoder is None:
        _draw(place, sampler, request.length)
    else:
        _decode(place, with_decoder(sampler, request.decoder), request)
    return {"words": place.words()[first:]}


def _draw(place: Place, sampler: Sampler, length: int) -> None:
    past = place.past(sampler)
    for _ in range(length):
        if place.ended:
            return
        row = place.row()
        logits = chain_stages.apply(sampler, row, past.context)
        token = place.drawn(logits)
        past.append_drawn(np.array([token]), logits, row)
        place.ids = (*place.ids, token)


def _decode(place: Place, strategy: Strategy, request: WriteRequest) -> None:
    """Append the text that a decoder writes, with the text so far as its prompt.

    Raises:
        ApiError: the decoder fails.
    """
    if place.ended:
        return
    try:
        texts = Texts("", strategy, request.length, 1, request.seed, ids=[*place.ids])
        for step in texts.steps(place.model, [0]):
            place.ids = (*place.ids, int(step.tokens[0]))
            if place.ended:
                return
    except CorelmError as error:
        raise as_api_error(error, "decoder") from error
    except Exception as error:  # the decoder's own error
        message = f"{strategy.decoder} failed with {type(error).__name__}"
        raise ApiError(message, 500, param="decoder", code="decoder_failed") from error


def place_of(request: PlaceRequest, models: Models, caches: Caches, limits: Limits) -> Place:
    """Return the place in a text that a request is about.

    Raises:
        ApiError: no such model or token, a text that is too long, or a message to a model without
            a template.
    """
    served = find(models, request.model)
    prompt = request.prompt
    if request.chat:
        try:
            prompt = FullVocabulary(served.model.vocabulary).message(prompt)
        except CorelmError as error:
            raise as_api_error(error, "prompt") from error
    place = Place(served, caches[served.name], prompt, request.tokens, request.seed)
    check_at_most("prompt", len(place.ids), limits.prompt, "tokens, drawn ones included,")
    return place
