"""The tokens that a grammar allows after a text.

The state of a grammar is a function of the text so far. So states are cached by the text, with
nothing to reset, fork or rewind; a state that was dropped is computed again.
"""

from collections import OrderedDict
from typing import NamedTuple

import numpy as np
from llguidance import LLMatcher, LLParserLimits

from corelm.errors import UsageError
from corelm_grammar.tokens import reader_of

LIMITS = LLParserLimits(max_lexer_states=50_000, verbose_errors=False)
"""llguidance's limits on the work of a step, with an eighth of its default memory."""
REMEMBERED_TEXTS, REMEMBERED_GRAMMARS = 1024, 32
MOST_TRIED = 64
"""The most allowed tokens that are each tried, to see if anything can follow."""


class GrammarState(NamedTuple):
    """A grammar's state after a text. Neither part is ever changed, so threads can share it.

    Attributes:
        matcher: llguidance's; None after a text that the grammar does not allow.
        mask: bits, one for each token of llguidance: 1 if it may come next.
    """

    matcher: LLMatcher | None
    mask: np.ndarray


NOWHERE = GrammarState(None, np.empty(0, np.uint8))
"""The state after a text that cannot become a match."""


class States:
    """The states of one grammar, by the text that leads to them.

    Args:
        texts: the tokens of llguidance.
        grammar: in llguidance's form of Lark.

    Raises:
        UsageError: a grammar that exceeds llguidance's limits.
    """

    def __init__(self, texts, grammar):
        self._texts = texts
        matcher = LLMatcher(texts.tokenizer, grammar, limits=LIMITS, log_level=0)
        self._start = _state(matcher)
        self._known = OrderedDict()

    def after(self, text):
        """Return the state after bytes.

        Raises:
            UsageError: the grammar exceeds llguidance's limits.
        """
        state = self._known.get(text) if text else self._start
        # By bytes, not by tokens: equal texts share a state, however they are split.
        if state is None:
            state = self._known[text] = self._worked_out(text)
            if len(self._known) > REMEMBERED_TEXTS:
                self._known.popitem(last=False)
        return state

    def _worked_out(self, text):
        """Compute a state from the state of the longest cached prefix of the text."""
        beginnings = (length for length in range(len(text) - 1, 0, -1))
        length = next((n for n in beginnings if text[:n] in self._known), 0)
        before = self._known.get(text[:length], self._start)
        if before is NOWHERE:
            return NOWHERE
        # A copy, because other texts continue from the same state.
        matcher, rest = before.matcher.deep_copy(), self._texts.tokens_of(text[length:])
        if matcher.try_consume_tokens(rest) < len(rest) and not matcher.is_error():
            return NOWHERE
        return _state(matcher)


def _state(matcher):
    if not matcher.is_error():
        try:
            return GrammarState(matcher, np.frombuffer(matcher.compute_bitmask(), np.uint8))
        except ValueError:
            pass
    reason = matcher.get_error().partition("\n")[0]
    raise UsageError(f"too much for the limits of llguidance: {reason}; make it simpler")


class Matching:
    """A grammar and a vocabulary.

    Args:
        grammar: in llguidance's form of Lark.
        vocabulary: the vocabulary of a context.

    Raises:
        UsageError: the vocabulary has no texts.
    """

    def __init__(self, grammar, vocabulary):
        self._grammar, self._vocabulary = grammar, vocabulary
        self._read = reader_of(vocabulary)
        self._silent = {vocabulary.padding, *vocabulary.ends}

    def allowed(self, tokens, prompt_length):
        """Return the tokens that may follow a list of ids: (vocabulary,), True if allowed.

        Raises:
            UsageError: no token is allowed, or the grammar is too large.
        """
        reading = self._reading(tokens, prompt_length)
        if reading is None:
            return np.ones(len(self._vocabulary), dtype=bool)
        state, allowed = reading
        if self._read.has_dead_ends:
            self._leave_out_dead_ends(allowed, tokens, prompt_length)
        if not allowed.any():
            text = self._read(tokens, prompt_length).drawn.decode(errors="replace")
            raise UsageError(_dead_end(text, state))
        return allowed

    def _reading(self, tokens, prompt_length):
        """Return the state after the text, and the allowed tokens; None if the text can't match."""
        if not self._silent.isdisjoint(tokens[prompt_length:]):
            return None
        reading = self._read(tokens, prompt_length)
        state = _states(reading.texts, self._grammar).after(reading.drawn)
        if state is NOWHERE:
            return None
        bits = np.unpackbits(state.mask, bitorder="little").view(bool)
        allowed = bits[reading.columns]
        allowed[list(self._vocabulary.ends)] = bits[reading.texts.end]
        return state, allowed

    def _leave_out_dead_ends(self, allowed, tokens, prompt_length):
        """Remove tokens that no token can follow, if few are allowed.

        In a vocabulary of words, `t` begins `title`, but the next word would bring a space.
        """
        candidates = np.flatnonzero(allowed)
        # A trial costs a state, and among many tokens one can surely continue.
        if len(candidates) > MOST_TRIED:
            return
        for token in candidates.tolist():
            reading = self._reading([*tokens, token], prompt_length)
            if reading is not None and not reading[1].any():
                allowed[token] = False


def _states(texts, grammar):
    states = texts.states.get(grammar)
    if states is None:
        if len(texts.states) >= REMEMBERED_GRAMMARS:
            texts.states.clear()
        states = texts.states[grammar] = States(texts, grammar)
    return states


def _dead_end(text, state):
    if state.matcher.is_accepting():
        return (
            f"the text {text[-40:]!r} is complete, and this model has no token that ends it; draw "
            "fewer tokens, or let the text go on"
        )
    return f"no token of this vocabulary continues the text {text[-40:]!r} towards a match"
