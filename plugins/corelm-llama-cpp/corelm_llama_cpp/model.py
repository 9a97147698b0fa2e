"""A GGUF file as a language model of corelm."""

import os
import weakref

from corelm import softmax
from corelm.errors import ModelFileError
from corelm.interop import DisplayableModel, PaddedSession, check_session
from corelm_llama_cpp.cache import LlamaCppCache
from corelm_llama_cpp.gguf_file import load
from corelm_llama_cpp.library import free, llama
from corelm_llama_cpp.vocabulary import LlamaCppVocabulary

JOINED = 128
"""The most tokens of a text that joins others: they are processed once more then, and for a longer
text that may cost more than the common passes for all later tokens save."""


class LlamaCppModel(DisplayableModel):
    """A GGUF file as a `corelm.LanguageModel`.

    llama.cpp runs it, with as many threads as `corelm.runs.machine.cpu_limit` allows.

    Args:
        path: a GGUF file.
        device: `cpu`, or `gpu` for all layers; None leaves the choice to llama.cpp.

    Attributes:
        vocabulary: its tokenizer, a `LlamaCppVocabulary`.
        context_length: the largest number of tokens that it attends to.
        width: the length of a hidden state.

    Raises:
        ModelFileError: no GGUF file, a damaged one, or one that llama.cpp cannot run.
        CorelmError: a trial on a few tokens shows that sessions lose a part of the model's state.
        UsageError: a device that llama.cpp was not built for.
    """

    def __init__(self, path, *, device=None):
        self.pointer = load(path, device)
        self.vocabulary = LlamaCppVocabulary(self.pointer)
        # Not freed with this object: the vocabulary, which reads from the model, may outlive it.
        self._free = weakref.finalize(self.vocabulary, free, llama.llama_model_free, self.pointer)
        if not llama.llama_model_has_decoder(self.pointer):
            raise ModelFileError(f"{os.fspath(path)} is not a model that continues texts")
        self.context_length = llama.llama_model_n_ctx_train(self.pointer)
        self.width = llama.llama_model_n_embd_out(self.pointer)
        check_session(self.start, len(self.vocabulary), os.path.basename(path))

    def start(self, tokens):
        """Return a session that starts with (batch, time) ids, or a list of ids for each row."""
        cache = LlamaCppCache(self)
        return LlamaCppSession(cache, tokens, self.vocabulary, self.context_length, self)

    def next_token_distribution(self, tokens):
        """Return (batch, vocabulary) probabilities after (batch, time) ids."""
        return softmax(self.start(tokens).next_logits())


class LlamaCppSession(PaddedSession):
    """A decoding session on llama.cpp's key/value cache, with one pass for rows of all lengths."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        if self._window.length > JOINED:
            self.join = None

    def hidden_states(self, count):
        """Return (batch, count, width): the last hidden states at the last `count` tokens."""
        if not self._cache.hidden:
            self._cache.hidden = True
            self._outputs = ()  # they lack hidden states
        return self.last_outputs(count)[1]
