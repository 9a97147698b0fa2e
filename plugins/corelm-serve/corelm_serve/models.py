"""The models that a server was started with, and its limits."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import corelm
from corelm import LanguageModel
from corelm.abilities import FullVocabulary
from corelm.runs import NamedModel, printable
from corelm_serve.engine_thread import EngineThread, OneThreadModel
from corelm_serve.errors import ApiError


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


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A model under the name that requests use."""

    name: str
    model: LanguageModel
    created: int = field(default_factory=lambda: int(time.time()))
    source: str | None = None
    """The model as given with `--model`; None if clients may not see it, since it may be a
    folder."""

    @property
    def context_length(self) -> int | None:
        """The largest number of tokens that the model attends to; None if it doesn't say."""
        length = getattr(self.model, "context_length", None)
        return length if isinstance(length, int) else None

    def ids(self, prompt: str | tuple[int, ...], *, may_be_empty: bool = False) -> list[int]:
        """Return the ids of a prompt.

        Ids stay as they are: an echoed prompt has a log-probability for each that was sent.

        Raises:
            ApiError: an id that the vocabulary doesn't have, or an empty prompt that can't begin
                a text.
        """
        vocabulary = self.model.vocabulary
        is_text = isinstance(prompt, str)
        ids = FullVocabulary(vocabulary).prompt_ids(prompt) if is_text else list(prompt)
        size = len(vocabulary)
        if wrong := [i for i in ids if i >= size]:
            message = f"there is no token {wrong[0]}; the ids are 0 to {size - 1}"
            raise ApiError(message, param="prompt", code="invalid_value")
        if not ids and vocabulary.start is None and not may_be_empty:
            message = "this model cannot continue an empty text; the prompt needs a token"
            raise ApiError(message, param="prompt", code="invalid_value")
        return ids


def find(models: Mapping[str, ServedModel], name: str | None) -> ServedModel:
    """Return the model of a name; without one, the only model.

    Raises:
        ApiError: no such model. Only the names given when the server started count, never paths.
    """
    if name is None and len(models) == 1:
        return next(iter(models.values()))
    if name is None or name not in models:
        hint = printable.did_you_mean(name or "", models)
        what = (
            "model is missing"
            if name is None
            else f"there is no model {printable.shown(name)}{hint}"
        )
        message = f"{what} (there are: {', '.join(models)})"
        raise ApiError(message, 404 if name else 400, param="model", code="model_not_found")
    return models[name]


OWN = "corelm"
"""The distribution of corelm's own models, whose kernels have one pool for all threads."""


def load(name: str, device: str | None, dtype: str | None) -> LanguageModel:
    """Load a model; another engine's model gets a thread of its own."""
    source = NamedModel.plugin_of(name)
    if source is None or source.distribution == OWN:
        return corelm.load(name, device=device, dtype=dtype)
    thread = EngineThread()
    model = thread.call(lambda: corelm.load(name, device=device, dtype=dtype))
    return OneThreadModel(model, thread)
