"""A GGUF file as a language model of corelm."""

import glob
import os
import re
import weakref
from copy import copy
from functools import partial
from pathlib import Path

import numpy as np

from corelm.bundles import SlidingWindow
from corelm.errors import ModelFileError, UsageError
from corelm.interop import DisplayableModel, DrawsAhead, check_session
from corelm_llama_cpp.context import Context, can_draw_ahead
from corelm_llama_cpp.gguf_file import load
from corelm_llama_cpp.library import free, llama
from corelm_llama_cpp.sequences import Row, Sequences
from corelm_llama_cpp.vocabulary import LlamaCppVocabulary

CALL = 5e-3
"""The most seconds of a call that draws tokens ahead. Others wait for it, and it is in vain if one
of them joins: a pass that takes longer is made when its logits are asked for."""
PART = re.compile(r"-\d{5}-of-")
"""In the name of a file that llama.cpp reads with its other parts."""
TRIED = 8
"""Rows of the trial of a model's sessions."""


class LlamaCppModel(DisplayableModel):
    """A GGUF file as a `corelm.LanguageModel`.

    llama.cpp runs it on the `cores` of `corelm.runs.machine.facts()`, or on one if that is faster.
    All sessions share one context, which is freed with the model.

    Args:
        path: a GGUF file.
        device: `cpu`, or `gpu` for all layers; None leaves the choice to llama.cpp.

    Attributes:
        vocabulary: its tokenizer, a `LlamaCppVocabulary`.
        context_length: the largest number of tokens that it attends to.
        sequences: the sequences of its sessions' rows.
        pointer: the `llama_model`, for the functions of llama-cpp-python.

    Raises:
        ModelFileError: no GGUF file, a damaged one, or one that llama.cpp cannot run.
        CorelmError: a trial on a few tokens shows that sessions lose a part of the model's state.
        UsageError: a device that llama.cpp was not built for.
    """

    def __init__(self, path, *, device=None):
        self.pointer = pointer = load(path, device)
        file = Path(path).absolute()
        self.files = sorted(file.parent.glob(PART.sub("-*-of-", glob.escape(file.name))))
        self.vocabulary = LlamaCppVocabulary(pointer)
        # Not freed with this object: the vocabulary, which reads from the model, may outlive it.
        weakref.finalize(self.vocabulary, free, llama.llama_model_free, pointer)
        if not llama.llama_model_has_decoder(pointer):
            raise ModelFileError(f"{os.fspath(path)} is not a model that continues texts")
        self.context_length = llama.llama_model_n_ctx_train(pointer)
        width = llama.llama_model_n_embd_out(pointer)
        create = partial(Context, pointer, self.vocabulary, width)
        # A recurrent state can't drop the last tokens, such as those drawn ahead and not wanted.
        keeps_state = llama.llama_model_is_recurrent(pointer) or llama.llama_model_is_hybrid(
            pointer
        )
        self._may_draw = can_draw_ahead() and not keeps_state
        # With room for all rows, or they would be processed again instead of copied.
        self.sequences = Sequences(create, self.context_length)
        self.sequences.reserve(TRIED)
        check_session(self.start, len(self.vocabulary), os.path.basename(path))
        self.sequences = Sequences(create, self.context_length)

    def start(self, tokens):
        """Return a session that starts with (batch, time) ids, or a list of ids for each row."""
        window = SlidingWindow(tokens, self.vocabulary, self.context_length)
        return LlamaCppSession(self.sequences, window, len(self.vocabulary), self._may_draw)


class LlamaCppSession(DrawsAhead):
    """A decoding session on llama.cpp's key/value cache, with one pass for rows of all lengths.

    Tokens are processed only when a result depends on them, so it costs nothing to extend, rewind,
    reduce or join sessions.

    Args:
        sequences: those of the model.
        window: the texts.
        vocabulary: the number of tokens.
        may_draw: several tokens may be drawn in one call.
    """

    def __init__(self, sequences, window, vocabulary, may_draw):
        self._sequences, self._window = sequences, window
        self._vocabulary, self._may_draw = vocabulary, may_draw
        self._rows = [Row() for _ in window.texts]
        self._outputs = ()  # at the last tokens; empty if not computed, or handed over
        self._is_handed_over = False  # the last logits were, to the caller
        self._hidden = False

    def next_logits(self):
        """Return (batch, vocabulary): the logits of the next token of each row.

        The array is handed over, not copied; a second call computes it again.
        """
        logits = np.ascontiguousarray(self._last_outputs(1)[0][:, -1])
        self._outputs, self._is_handed_over = (), True
        return logits

    def last_logits(self, count):
        """Return (batch, count, vocabulary): the logits after each of the last tokens."""
        return self._last_outputs(count)[0].copy()

    def hidden_states(self, count):
        """Return (batch, count, width): the last hidden states at the last `count` tokens."""
        if not self._hidden:
            self._hidden, self._outputs = True, ()  # they lack hidden states
        return self._last_outputs(count)[1].copy()

    def _append(self, tokens, following):
        before = self._window.length
        self._window.extend(tokens)
        if self._window.length > before:  # no tokens, no change: the outputs stay valid
            self._outputs, self._is_handed_over = (), False
        window = self._window
        if (
            window.length == before + 1
            and not self._hidden
            and (window.is_equal or window.is_whole)
        ):
            time = window.length - window.start(window.length)
            times = None if window.is_equal else window.lengths
            self._blocks = self._new_blocks(following, self._tokens_of_call(), time, times)

    def _end_block(self, blocks, more):
        if not more:
            return 0
        return self._sequences.draw_ahead(self._rows, blocks, blocks.texts, blocks.lengths)

    def _tokens_of_call(self):
        """Return how many tokens of each text may be drawn in one call.

        One pays too if another thread makes the calls: it goes on while the caller takes the token.
        """
        seconds = self._sequences.pass_seconds(len(self._rows))
        return int(CALL / seconds) if self._may_draw and seconds else 0

    def rewind(self, count):
        """Drop the last `count` tokens of each row."""
        self._stop_ahead()
        self._window.rewind(count)
        if count:
            left = [output[:, :-count] for output in self._outputs]
            self._outputs = tuple(left) if left and left[0].shape[1] else ()
            self._is_handed_over = False

    def select(self, rows):
        """Keep these rows in this order; a row named twice is forked."""
        batch = len(self._rows)
        selected = np.arange(batch)[np.asarray(rows, dtype=np.int64)]
        if np.array_equal(selected, np.arange(batch)):
            return
        self._stop_ahead()
        if len(selected) > batch and not self._is_handed_over:
            # Before the fork, so that the forks share the outputs of their row.
            self._sequences.reserve(len(selected))
            self._last_outputs(1)
        self._rows = self._sequences.select(self._rows, selected.tolist())
        self._window.select(selected)
        self._outputs = tuple(output[selected] for output in self._outputs)

    def join(self, other):
        """Append the rows of another session of the same model.

        Raises:
            UsageError: a session of another model, or this session itself.
        """
        mine = getattr(other, "_sequences", None) is self._sequences
        if other is self or not mine:
            raise UsageError("join takes another session of the same model")
        self._stop_ahead()
        other._stop_ahead()
        self._rows += other._rows
        self._window.join(other._window)
        self._hidden |= other._hidden
        parts = [*zip(self._outputs, other._outputs, strict=False)]
        self._outputs = tuple(np.concatenate([a[:, -1:], b[:, -1:]]) for a, b in parts)
        if len(parts) < 1 + self._hidden:
            self._outputs = ()
        self._is_handed_over |= other._is_handed_over

    def fork(self):
        """Return a copy of the session; a change to one of the two leaves the other as it is.

        The copy reads its texts from the sequences of this session, as long as they hold them.
        """
        self._last_outputs(1)
        other = copy(self)
        other._window = self._window.fork()
        other._rows = [Row(int(length)) for length in self._window.lengths]
        other._outputs = tuple(output.copy() for output in self._outputs)
        return other

    def _last_outputs(self, count):
        """Return the outputs at each of the last tokens; they belong to the session.

        Raises:
            UsageError: fewer tokens than one, or more than a text has.
        """
        self._stop_ahead()
        window = self._window
        if not self._outputs or not 1 <= count <= self._outputs[0].shape[1]:
            spans = [[*window.spans(count, rows)] for rows in window.runs]
            if all(len(of_rows) == 1 for of_rows in spans):
                self._outputs = self._process(count)
            else:  # the tokens belong to several windows
                runs = zip(window.runs, spans, strict=True)
                parts = [self._over_windows(rows, of_rows) for rows, of_rows in runs]
                self._outputs = tuple(map(np.concatenate, zip(*parts, strict=True)))
        return tuple(output[:, -count:] for output in self._outputs)

    def _process(self, count):
        starts = self._window.starts(self._window.length)
        texts, lengths = self._window.windows(starts), self._window.lengths - starts
        return self._sequences.process(self._rows, texts, lengths, count, self._hidden)

    def _over_windows(self, rows, spans):
        """Process rows of one length window by window; return each window's last outputs."""
        windows = []
        for start, stop, count in spans:
            texts = self._window.texts[rows, start:stop]
            lengths = np.full(len(texts), stop - start)
            windows.append(
                self._sequences.process(self._rows[rows], texts, lengths, count, self._hidden)
            )
        return tuple(np.concatenate(outputs, axis=1) for outputs in zip(*windows, strict=True))
