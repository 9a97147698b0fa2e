"""The next word as a picture: the one of `corelm.plot.explanation`."""

from __future__ import annotations

import io
import threading
from typing import Any

import corelm
from corelm.errors import CorelmError
from corelm_serve.errors import as_api_error
from corelm_serve.play.answers import Caches, Models, place_of
from corelm_serve.play.chains import chain_of
from corelm_serve.requests.play import PICTURES, PictureRequest
from corelm_serve.scheduling.scheduler import Limits

DOTS_PER_INCH = 216
DRAWING = threading.Lock()
"""One picture is drawn at a time, as matplotlib's settings are global."""


def explained(
    body: Any, models: Models, caches: Caches, limits: Limits
) -> tuple[corelm.Explanation, PictureRequest]:
    """Return the explanation that a picture shows, and the request.

    Raises:
        ApiError: a chain that can't be read, or a stage that fails.
    """
    request = PictureRequest.read(body)
    place, chain = place_of(request, models, caches, limits), chain_of(request)
    try:
        explanation = corelm.explain(place.model, place.text, chain, after=place.tokens)
    except CorelmError as error:
        raise as_api_error(error, "sampler") from error
    return explanation, request


def picture(explanation: corelm.Explanation, request: PictureRequest) -> tuple[bytes, str]:
    """Return the picture and its media type."""
    with DRAWING:
        figure, written = corelm.plot.explanation(explanation, top=request.count), io.BytesIO()
        figure.savefig(written, format=request.form, dpi=DOTS_PER_INCH)
    return written.getvalue(), PICTURES[request.form]
