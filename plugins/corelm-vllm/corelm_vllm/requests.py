"""The requests of a batch, and the step that applies their samplers to rows of logits."""

import copy
import logging
import weakref
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch

import corelm
from corelm.errors import CorelmError
from corelm.interop import EngineSampler

logger = logging.getLogger("vllm.corelm")
NO_TOKENS = np.empty(0, dtype=np.int64)
SURPRISALS = {"surprisal", "model_surprisal"}
"""Parts of the context that are carried from one row of a text to the next."""


class Request:
    """A request that asks for corelm.

    Args:
        engine: applies the sampler; shared by requests whose samplers read logits only.
        seed: of the draw; None leaves it to vLLM.
    """

    def __init__(self, engine, seed):
        self.engine = engine
        self.stream = None if seed is None else corelm.RandomStream(seed, [0])
        self.failed = False
        self._steps = []  # the engine after each row of the last step

    @property
    def reads_tokens(self):
        """True if the text so far is needed, for the context or for the position of the draw."""
        return bool(self.engine.reads) or self.stream is not None

    def apply_in_turn(self, logits, rows):
        """Return the logits of rows of this request, each of which may continue another.

        With drafts a step has a row for each of them, and the next step continues the row of the
        last one that was accepted.
        """
        result, steps = np.empty_like(logits), []
        for i in sorted(range(len(rows)), key=lambda i: len(rows[i].tokens)):
            tokens = rows[i].tokens
            known = (engine for engine in [*steps, *self._steps] if engine.continues(tokens))
            engine = copy.copy(next(known, self.engine))
            lengths = [rows[i].prompt_length]
            result[i] = engine(logits[i : i + 1], [tokens], prompt_lengths=lengths)[0]
            steps.append(engine)
        self._steps = steps
        return result


@dataclass(frozen=True)
class Row:
    """A row of logits: its index, its request, the ids of the text so far, its prompt's length."""

    index: int
    request: Request
    tokens: np.ndarray
    prompt_length: int

    @property
    def uniform(self):
        """The random number of this position."""
        position = max(len(self.tokens) - self.prompt_length, 0)
        return self.request.stream.at(position)[0]


class Requests:
    """Makes the requests of an engine; equal samplers that read logits only are applied together.

    Args:
        vocabulary: the vocabulary of vLLM's model, for samplers that name words.
    """

    def __init__(self, vocabulary):
        self._vocabulary = vocabulary
        self._shared = weakref.WeakValueDictionary()  # engines that no request uses are freed

    def new(self, settings):
        """Return a request with these settings; None for a request without corelm."""
        if settings is None:
            return None
        name = str(settings.sampler)
        engine = self._shared.get(name)
        if engine is None:
            vocabulary = self._vocabulary.ending_at(settings.ends)
            engine = EngineSampler(settings.sampler, vocabulary=vocabulary)
            if not engine.reads:
                self._shared[name] = engine
        return Request(engine, settings.seed)


def apply(logits, rows):
    """Write the samplers' logits into the rows of a torch tensor.

    A sampler that fails is logged, and its requests continue without it: an exception here would
    end the engine, with all requests of all users.
    """
    rows = [row for row in rows if not row.request.failed]
    for _, group in groupby(sorted(rows, key=_engine), key=_engine):
        members = list(group)
        try:
            _apply_group(logits, members)
        except CorelmError as error:
            logger.error("corelm leaves these requests to vLLM from here on: %s", error)
            for row in members:
                row.request.failed = True


def _engine(row):
    return id(row.request.engine)


def _apply_group(logits, rows):
    engine = rows[0].request.engine
    index = torch.tensor([row.index for row in rows], device=logits.device)
    part = logits[index]
    drawing = [i for i, row in enumerate(rows) if row.request.stream is not None]
    if logits.device.type != "cpu" and not drawing and engine.is_native(part):
        logits[index] = engine.native(part).to(logits.dtype)
        return
    host = part.float().cpu().numpy()
    if engine.reads & SURPRISALS:  # such an engine belongs to one request
        result = rows[0].request.apply_in_turn(host, rows)
    else:
        lengths = [row.prompt_length for row in rows]
        result = engine(host, [row.tokens for row in rows], prompt_lengths=lengths)
    if drawing:
        result = result.copy()  # the engine keeps it, for the surprisal of the next token
        uniforms = np.array([rows[i].uniform for i in drawing])
        tokens, _ = corelm.draw(result[drawing], uniforms)
        result[drawing] = -np.inf
        result[drawing, tokens] = 0
    writable = np.require(result, requirements="W")  # torch warns of other arrays
    logits[index] = torch.from_numpy(writable).to(logits.device, logits.dtype)
