"""The requests and rows of a batch, and the step that applies samplers to rows of logits."""

import copy
import logging
import weakref
from collections import OrderedDict
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import torch

import corelm
from corelm.errors import UsageError
from corelm.interop import EngineSampler
from corelm.runs import ModelLogits

logger = logging.getLogger("vllm.corelm")
NO_TOKENS = np.empty(0, dtype=np.int64)
SURPRISALS = {"surprisal", "model_surprisal"}
"""Parts of the context that are carried from one row of a text to the next."""
NO_RECORDS = (
    "corelm records no tokens of the request %r: name a file when vLLM starts, as "
    'additional_config={"corelm_records": FILE}'
)
NO_OUTPUT = (
    "with asynchronous scheduling vLLM passes drawn tokens only if logits_processors names a "
    "class; start it with --logits-processors corelm_vllm:CheckRequests"
)


class Request:
    """A request that asks for corelm.

    Args:
        engine: applies the sampler; shared by requests whose samplers read no surprisals.
        settings: the settings of the request.
        recent: the engine's requests with samplers that read surprisals, the latest last.
        log: records the tokens of requests that ask for it; None if the server keeps none.
    """

    def __init__(self, engine, settings, recent, log=None):
        self.engine, self.settings = engine, settings
        self.log = None if settings.record is None else log
        self.failed, self.prompt_length = False, None
        self.stream = None
        if settings.seed is not None:
            self.stream = corelm.RandomStream(settings.seed, [settings.sample])
        self.steps = []  # the engine after each row of the last step, and before the first
        self._recent = recent

    @property
    def reads_tokens(self):
        """True if the text so far is needed, for the context or for a record."""
        return bool(self.engine.reads) or self.log is not None

    def apply_in_turn(self, logits, rows):
        """Return the logits of rows of this request, each of which may continue another.

        With drafts a step has a row for each draft, and the next step continues the row of the last
        accepted draft. vLLM may also pass the same text again, with other logits, while it reads
        the text of an interrupted request in parts.
        """
        self._recent.add(self)
        result, steps, first = np.empty_like(logits), [], None
        for i in sorted(range(len(rows)), key=lambda i: len(rows[i].tokens)):
            row, self.prompt_length = rows[i], rows[i].prompt_length
            before = self._engine_before(row, steps)
            first, engine = first or before, copy.copy(before)
            lengths = [row.prompt_length]
            result[i] = engine(logits[i : i + 1], [row.tokens], prompt_lengths=lengths)[0]
            steps.append(engine)
        self.steps = [*steps, first]
        return result

    def _engine_before(self, row, steps):
        """Return the engine after the text that a row continues; a new engine for a new text."""
        engines = [*steps, *self.steps]
        if not engines and len(row.tokens) > row.prompt_length:  # a request that was interrupted
            engines = self._recent.steps_like(self)
        return next((engine for engine in engines if engine.continues(row.tokens)), self.engine)


class RecentRequests:
    """The last requests whose samplers read surprisals.

    vLLM turns an interrupted request into a new one, and passes no surprisals. As the sampler and
    the text determine them, the new request finds them by its text.

    Args:
        most: the number of requests that are kept, each with a few rows of logits.
    """

    def __init__(self, most):
        self._most, self._requests = most, OrderedDict()

    def add(self, request):
        """Add a request at the end, and drop the oldest ones."""
        self._requests[id(request)] = request
        self._requests.move_to_end(id(request))
        while len(self._requests) > self._most:
            self._requests.popitem(last=False)

    def steps_like(self, request):
        """Return the last steps of requests with the sampler and the prompt length of another."""
        name, ends = str(request.settings.sampler), request.settings.ends
        return [
            engine
            for other in reversed(self._requests.values())
            if other.prompt_length == request.prompt_length
            and (str(other.settings.sampler), other.settings.ends) == (name, ends)
            for engine in other.steps
        ]


@dataclass(frozen=True)
class Row:
    """A row of logits.

    Attributes:
        index: its place in the batch.
        request: its request.
        tokens: ids of the text so far; none if the request doesn't read them.
        prompt_length: the tokens of its prompt.
        length: the tokens of its text.
    """

    index: int
    request: Request
    tokens: np.ndarray
    prompt_length: int
    length: int

    @property
    def uniform(self):
        """The random number of this position."""
        return self.request.stream.at(max(self.length - self.prompt_length, 0))[0]


class Requests:
    """A factory of the engine's requests; equal samplers that read no surprisals share an engine.

    Args:
        vocabulary: the vocabulary of vLLM's model.
        most: the number of requests that vLLM runs at a time.
        log: the `TokenLog` of corelm-replay for requests that ask for records; None for none.
    """

    def __init__(self, vocabulary, most, log=None):
        self._vocabulary, self._recent = vocabulary, RecentRequests(most)
        self._log = log
        self._shared = weakref.WeakValueDictionary()  # engines that no request uses are freed

    def new(self, settings):
        """Return a request with these settings; None for a request without corelm."""
        if settings is None:
            return None
        if settings.record is not None and self._log is None:
            logger.error(NO_RECORDS, settings.record)
        vocabulary = self._vocabulary.of_requests(settings.ends, settings.wanted)
        never = ModelLogits(vocabulary).never.tobytes()
        key = str(settings.sampler), never, tuple(vocabulary.ends)
        engine = self._shared.get(key)
        if engine is None:
            engine = EngineSampler(settings.sampler, vocabulary=vocabulary)
            if not engine.reads & SURPRISALS:
                self._shared[key] = engine
        return Request(engine, settings, self._recent, self._log)


def apply(logits, rows):
    """Write the samplers' logits into the rows of a torch tensor.

    A sampler that fails is logged, and its requests continue without it: an exception here would
    end the engine, with all requests of all users.
    """
    rows = [row for row in rows if not row.request.failed]
    for _, group in groupby(sorted(rows, key=_engine), key=_engine):
        members = list(group)
        if len(members) > 1 and _tried(logits, members) is None:
            continue
        for row in members:  # a text that a sampler fails on costs its own request alone
            error = _tried(logits, [row])
            if error is not None:
                logger.error("corelm leaves this request to vLLM from here on: %s", error)
                row.request.failed = True


def _tried(logits, rows):
    """Apply a sampler, and return its error: of any type, as it may be a plugin's or a device's."""
    try:
        _apply_group(logits, rows)
    except Exception as error:
        return error
    return None


def _engine(row):
    return id(row.request.engine)


def _apply_group(logits, rows):
    engine = rows[0].request.engine
    if engine.reads and any((row.tokens[row.prompt_length :] < 0).any() for row in rows):
        raise UsageError(NO_OUTPUT)
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
        engine.reset()  # another request's text of the same tokens may have a shorter prompt
        lengths = [row.prompt_length for row in rows]
        result = engine(host, [row.tokens for row in rows], prompt_lengths=lengths)
    if drawing:
        result = result.copy()  # the engine keeps the logits, for the surprisal of the next token
        uniforms = np.array([rows[i].uniform for i in drawing])
        tokens, _ = corelm.draw(result[drawing], uniforms)
        _record([rows[i] for i in drawing], tokens, host[drawing], result[drawing])
        result[drawing] = -np.inf
        result[drawing, tokens] = 0
    writable = np.require(result, requirements="W")  # torch warns of arrays that aren't writeable
    logits[index] = torch.from_numpy(writable).to(logits.device, logits.dtype)


def _record(rows, tokens, model_logits, logits):
    """Record the drawn tokens of the requests that ask for it, of one engine."""
    wanted = [i for i, row in enumerate(rows) if row.request.log is not None]
    if not wanted:
        return
    asking = [rows[i] for i in wanted]
    draw = asking[0].request.engine.drawn(
        model_logits[wanted],
        [row.tokens for row in asking],
        [row.prompt_length for row in asking],
        [row.request.settings.sample for row in asking],
        logits[wanted],
        tokens[wanted],
    )
    log, names = asking[0].request.log, [row.request.settings.record for row in asking]
    log.add(replace(draw, vocabulary=None), names)  # vLLM draws behind an end only if asked to


class SlotRows:
    """The rows of model runner V2, whose requests have slots; a row belongs to a slot.

    Args:
        req_states: vLLM's view of its slots: token ids and lengths of prompts.
    """

    def __init__(self, req_states):
        self._states = req_states
        self._requests = {}

    def add(self, slot, request):
        """Set the request of a slot in place of an earlier one; None if it doesn't use corelm."""
        self._requests[slot] = request

    def rows(self, ctx):
        """Return the rows of corelm's requests in a step."""
        if not any(self._requests.get(int(slot)) for slot in ctx.idx_mapping_np):
            return []
        slots = ctx.expanded_idx_mapping.cpu().tolist()
        positions, inputs = ctx.pos.cpu().numpy(), ctx.input_ids.cpu().numpy()
        offsets = ctx.expanded_local_pos.cpu().numpy()
        rows = []
        for i, slot in enumerate(slots):
            request = self._requests.get(slot)
            if request is not None:
                tokens = NO_TOKENS
                if request.reads_tokens:
                    # The drafts of speculative decoding are the inputs of the request's further
                    # rows.
                    committed = int(positions[i]) + 1 - int(offsets[i])
                    drafts = inputs[i + 1 - int(offsets[i]) : i + 1]
                    text = self._states.all_token_ids.gpu[slot, :committed].cpu().numpy()
                    tokens = np.concatenate([text, drafts])
                first, length = int(self._states.prompt_len.np[slot]), int(positions[i]) + 1
                rows.append(Row(i, request, tokens, first, length))
        return rows


class BatchRows:
    """The rows of model runner V1, where row i is request i of a batch that changes."""

    def __init__(self, swap):
        self._swap = swap
        self._requests = {}

    def update(self, batch_update, new_request):
        """Follow the changes of a batch: removed, then added, then moved requests.

        Args:
            batch_update: vLLM's `BatchUpdate`.
            new_request: returns the request of `SamplingParams`, or None.
        """
        for index in batch_update.removed:
            self._requests.pop(index, None)
        for index, params, prompt, output in batch_update.added:
            self._set(index, (new_request(params), prompt or [], output))
        # In vLLM's order: a request may move to the place of a removed one.
        for first, second, direction in batch_update.moved:
            one, two = self._requests.pop(first, None), self._requests.pop(second, None)
            self._set(second, one)
            if direction == self._swap:
                self._set(first, two)

    def _set(self, index, entry):
        if entry is None or entry[0] is None:
            self._requests.pop(index, None)
        else:
            self._requests[index] = entry

    def rows(self):
        """Return the rows of corelm's requests in a step."""
        return [
            Row(
                index,
                request,
                # A long text takes longer to copy than a sampler to run.
                np.array([*prompt, *output], np.int64) if request.reads_tokens else NO_TOKENS,
                len(prompt),
                len(prompt) + len(output),
            )
            for index, (request, prompt, output) in self._requests.items()
        ]
