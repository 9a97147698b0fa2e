"""A corelm sampler as a `llama_sampler`, for llama.cpp's own sampler chains.

llama.cpp calls the functions of one interface, which lives as long as the process. A sampler object
stores only a number, the key of a Python state, so llama.cpp never holds the address of an object
that Python could free.
"""

import array
import copy
import ctypes
import functools
import itertools

import numpy as np

from corelm.errors import UsageError
from corelm.interop import EngineSampler
from corelm_llama_cpp.library import hold, llama, logger, raise_held
from corelm_llama_cpp.processor import RECORD


class State:
    """The text of one `llama_sampler`, and the sampler that continues it.

    Args:
        engine: the sampler, at the beginning of a text.
        draws: choose a token, instead of leaving the draw to a later sampler of the chain.
        size: the number of ids; 0 if it is not known.
    """

    def __init__(self, engine, draws, size):
        self._engine, self.draws = engine, draws
        self._size = size  # at least the ids seen: llama.cpp may pass a part of the vocabulary
        self.reset()

    def reset(self):
        """Begin a new text."""
        self._tokens = array.array("q")
        self._engine.reset()
        self._stepped = self._engine

    def clone(self):
        """Return a state that continues the same text independently."""
        other = copy.copy(self)
        other._tokens = self._tokens[:]
        other._engine, other._stepped = copy.copy(self._engine), copy.copy(self._stepped)
        return other

    def accept(self, token):
        """Append a token to the text."""
        self._tokens.append(token)
        self._engine = self._stepped

    def apply(self, candidates):
        """Apply the sampler to a `llama_token_data_array`."""
        try:
            self._apply(candidates, _records(candidates))
        except BaseException as error:  # an exception cannot pass through llama.cpp
            hold(error)
            candidates.selected = 0  # llama.cpp ends the process without a selected token

    def draw(self, logits):
        """Return the next token of (1, vocabulary) logits."""
        [token] = self._step().draw(logits, self._text())
        return int(token)

    def _apply(self, candidates, records):
        # Contiguous copies: NumPy compares them several times as fast, and the records change.
        ids, logits = np.ascontiguousarray(records["id"]), np.ascontiguousarray(records["logit"])
        in_order = np.array_equal(ids, _numbers(max(self._size, len(ids))))
        self._size = max(self._size, len(ids) if in_order else int(ids.max()) + 1)
        row = logits
        if not in_order:  # tokens that aren't candidates have minus infinity
            row = np.full(self._size, -np.inf, dtype=np.float32)
            row[ids] = logits
        if self.draws:
            records[0] = self.draw(row[None]), 0, 1
            candidates.size, candidates.selected, candidates.sorted = 1, 0, True
            return
        [row] = self._step()(row[None], self._text())
        after = row if in_order else row[ids]  # earlier samplers leave them in any order
        remains = after > -np.inf
        count = np.count_nonzero(remains)
        if count == len(ids):
            records["logit"] = after
        else:
            places = np.flatnonzero(remains)
            records[:count]["id"], records[:count]["logit"] = ids[places], after[places]
        candidates.size, candidates.selected, candidates.sorted = count, -1, False

    def _step(self):
        """Return a copy of the sampler for a step, which is kept once the token is accepted.

        llama.cpp may apply a sampler again, for instance when a grammar rejects the token.
        """
        self._stepped = copy.copy(self._engine)
        return self._stepped

    def _text(self):
        # A copy, since Python can't extend an array while NumPy holds its memory.
        return [np.array(self._tokens)]


class LlamaCppSampler:
    """A `llama_sampler`, for every function of llama-cpp-python that takes one.

    A chain owns the samplers added to it, and frees them with itself; one that is in no chain is
    freed by `free`. An exception is raised where the function of llama-cpp-python returns.
    """

    def __init__(self, state):
        self._key = next(_KEYS)
        self._pointer = _new_sampler(self._key, state)

    @property
    def _as_parameter_(self):
        """The pointer, for the functions of llama-cpp-python.

        Raises:
            UsageError: it was freed, by itself or with its chain.
        """
        if self._key not in _STATES:
            raise UsageError("this sampler was freed; make another one with as_sampler()")
        return self._pointer

    def sample(self, context, index=-1):
        """Draw and accept the next token, faster than `llama_sampler_sample`.

        It reads the logits from llama.cpp's memory, without a list of candidates.

        Args:
            context: a `llama_context`, such as `Llama.ctx`.
            index: the output of the last batch; -1 is the last one.

        Raises:
            UsageError: a sampler without a seed, which leaves the draw to llama.cpp; or an output
                that does not exist.
            CorelmError: as `corelm.interop.EngineSampler`.
        """
        state = _state(self._as_parameter_)
        if not state.draws:
            raise UsageError("without a seed llama.cpp draws; add this sampler to a chain")
        vocabulary = llama.llama_model_get_vocab(llama.llama_get_model(context))
        size = llama.llama_vocab_n_tokens(vocabulary)
        logits = llama.llama_get_logits_ith(context, index)
        if not logits:
            raise UsageError(f"the last batch of this context has no output {index}")
        memory = (ctypes.c_float * size).from_address(ctypes.addressof(logits.contents))
        token = state.draw(np.frombuffer(memory, np.float32)[None])
        state.accept(token)
        return token

    def raise_error(self):
        """Raise an exception that a callback left in this thread.

        For programs that call llama.cpp by another binding than llama-cpp-python.
        """
        raise_held()

    def free(self):
        """Free a sampler that is in no chain; a second call does nothing."""
        if self._key in _STATES:
            llama.llama_sampler_free(self)


def as_sampler(sampler, *, seed=None, vocabulary=None):
    """Return a `llama_sampler` for llama.cpp's sampler chains.

    Its text is the tokens that it accepted, so call `llama_sampler_accept` for each token of the
    prompt. With a seed it chooses the token, and is the last of its chain. Without one it changes
    the distribution, and a later sampler, such as `llama_sampler_init_dist`, draws. A sampler
    between the two acts on the mixture if this one tosses a coin; a warning in the log says so.

    Args:
        sampler: a sampler, a registered name or an expression.
        seed: decides the random numbers; None leaves the draw to llama.cpp.
        vocabulary: a `LlamaCppVocabulary`, for samplers that name tokens or the end of a text.

    Raises:
        UsageError: an expression that cannot be read, or a seed below 0.
    """
    engine = EngineSampler(sampler, seed=seed, vocabulary=vocabulary)
    engine.warn_of_coin(logger, "llama.cpp")
    size = 0 if vocabulary is None else len(vocabulary)
    return LlamaCppSampler(State(engine, seed is not None, size))


def _records(candidates):
    """Return the records of a `llama_token_data_array` as an array, without a copy."""
    if not candidates.size:
        raise UsageError("llama.cpp's list of candidates is empty: no token is left to draw")
    address = ctypes.addressof(candidates.data.contents)
    memory = (ctypes.c_char * (candidates.size * RECORD.itemsize)).from_address(address)
    return np.frombuffer(memory, RECORD)


@functools.lru_cache(maxsize=2)
def _numbers(count):
    return np.arange(count, dtype=np.int32)


_KEYS = itertools.count(1)
_STATES: dict[int, State] = {}
"""The states of the samplers that llama.cpp has not freed."""


def _new_sampler(key, state):
    _STATES[key] = state
    return llama.llama_sampler_init(_INTERFACE, key)


def _state(pointer):
    return _STATES[pointer.contents.ctx]


def _clone(pointer):
    sampler = _new_sampler(next(_KEYS), _state(pointer).clone())
    return ctypes.cast(sampler, ctypes.c_void_p).value


_NAME = ctypes.create_string_buffer(b"corelm")
_POINTER = llama.llama_sampler_p_ctypes
# ctypes cannot return pointers from callbacks, but addresses.
_RETURNS_ADDRESS = ctypes.CFUNCTYPE(ctypes.c_void_p, _POINTER)
_FUNCTIONS = {
    "name": _RETURNS_ADDRESS(lambda pointer: ctypes.addressof(_NAME)),
    "accept": llama.llama_sampler_i_accept(lambda pointer, token: _state(pointer).accept(token)),
    "apply": llama.llama_sampler_i_apply(
        lambda pointer, data: _state(pointer).apply(data.contents)
    ),
    "reset": llama.llama_sampler_i_reset(lambda pointer: _state(pointer).reset()),
    "clone": _RETURNS_ADDRESS(_clone),
    "free": llama.llama_sampler_i_free(lambda pointer: _STATES.pop(pointer.contents.ctx, None)),
    "copy_state": llama.llama_sampler_i_copy_state(
        lambda source, target: _STATES.update({target.contents.ctx: _state(source).clone()})
    ),
}
_INTERFACE = llama.llama_sampler_i(
    **{
        name: ctypes.cast(_FUNCTIONS[name], kind)
        for name, kind in llama.llama_sampler_i._fields_
        if name in _FUNCTIONS
    }
)
