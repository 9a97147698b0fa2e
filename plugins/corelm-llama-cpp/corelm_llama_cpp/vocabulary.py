"""The tokenizer of a GGUF file as a vocabulary."""

import ctypes
from functools import cached_property

from corelm.errors import UsageError
from corelm.interop import ChatTemplate
from corelm_llama_cpp.library import llama

TEMPLATE = b"tokenizer.chat_template"
"""The key of the chat template in the metadata of a file."""


class LlamaCppVocabulary:
    """The tokenizer of a model: text to ids, and ids to bytes.

    As in llama.cpp, special tokens may be written in a text, such as `<|im_start|>`.

    Args:
        model: a `llama_cpp.Llama`, or the `llama_model` of one.
    """

    def __init__(self, model):
        self._model = model  # keep the model alive, as the vocabulary is a part of it
        pointer = model.model if isinstance(model, llama.Llama) else model
        self._pointer = pointer
        self._vocabulary = llama.llama_model_get_vocab(pointer)
        self._size = llama.llama_vocab_n_tokens(self._vocabulary)

    @cached_property
    def start(self):
        """The token that llama.cpp puts before every text; None if it puts none."""
        if not llama.llama_vocab_get_add_bos(self._vocabulary):
            return None
        token = llama.llama_vocab_bos(self._vocabulary)
        return None if token == llama.LLAMA_TOKEN_NULL else token

    @cached_property
    def ends(self):
        """The tokens that end a text, at the end of a text or of a turn."""
        is_end = llama.llama_vocab_is_eog
        return frozenset(i for i in range(self._size) if is_end(self._vocabulary, i))

    @cached_property
    def padding(self):
        """The token that pads short rows; None if there is none, or if it ends or begins a text."""
        token = llama.llama_vocab_pad(self._vocabulary)
        return None if token == llama.LLAMA_TOKEN_NULL or self._is_possible(token) else token

    @cached_property
    def unknown(self):
        """The token of unknown words; None as for `padding`."""
        unknown = self._with(llama.LLAMA_TOKEN_ATTR_UNKNOWN)
        return next((token for token in unknown if not self._is_possible(token)), None)

    @cached_property
    def unused(self):
        """The ids without a token, with which files pad the tokenizer to the model's size."""
        unused = self._with(llama.LLAMA_TOKEN_ATTR_UNUSED)
        # The attribute isn't enough: fine-tuned models use tokens such as <unused0>.
        return tuple(token for token in unused if self.token_name(token) == f"[PAD{token}]")

    def _with(self, attribute):
        """Return the ids of the tokens with an attribute."""
        return [token for token, bits in enumerate(self._attributes) if bits & attribute]

    @cached_property
    def _attributes(self):
        attributes = llama.llama_vocab_get_attr
        return [attributes(self._vocabulary, token) for token in range(self._size)]

    def _is_possible(self, token):
        return token in self.ends or token == llama.llama_vocab_bos(self._vocabulary)

    def __len__(self):
        return self._size

    def encode(self, text):
        """Return the ids of a text, without the start token.

        A text may begin with the name of the start token, as a rendered chat template does.
        """
        data = text.encode("utf-8", "surrogateescape")
        # Each token has at least a byte, except for a space that is put before the text.
        count = len(data) + 8
        ids = (llama.llama_token * count)()
        size = llama.llama_tokenize(self._vocabulary, data, len(data), ids, count, False, True)
        # The model puts the start token before a text. Alone it is a word, such as one to ban.
        return ids[1:size] if size > 1 and ids[0] == self.start else ids[:size]

    @cached_property
    def chat_template(self):
        """The chat template of the file; None if it has none."""
        # Not with llama_model_chat_template, which ends the process for a file without a template.
        size = llama.llama_model_meta_val_str(self._pointer, TEMPLATE, None, 0)
        if size < 0:
            return None
        buffer = ctypes.create_string_buffer(size + 1)
        llama.llama_model_meta_val_str(self._pointer, TEMPLATE, buffer, size + 1)
        return buffer.value.decode("utf-8", "replace")

    @cached_property
    def _template(self):
        tokens = {
            "bos_token": llama.llama_vocab_bos(self._vocabulary),
            "eos_token": llama.llama_vocab_eos(self._vocabulary),
        }
        return ChatTemplate(
            self.chat_template,
            {name: self.token_name(token) for name, token in tokens.items() if token >= 0},
        )

    def token_name(self, token):
        """Return the name of a token; for a special token, the text that stands for it."""
        return llama.llama_vocab_get_text(self._vocabulary, token).decode("utf-8", "replace")

    def render_chat(self, messages, tools=()):
        """Return the text of messages, up to where the answer begins.

        Raises:
            UsageError: a file without a chat template, or messages that it can't write.
        """
        if self.chat_template is None:
            raise UsageError(ChatTemplate.MISSING)
        return self._template.render(messages, tools)

    def decode(self, ids):
        """Return the text of ids, without special tokens."""
        return b"".join(map(self.token_bytes, ids)).decode("utf-8", "replace")

    def token_bytes(self, token):
        """Return the bytes that a token adds to a text; none for special tokens."""
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            count = llama.llama_token_to_piece(self._vocabulary, int(token), buffer, size, 0, False)
            if count >= 0:
                return buffer.raw[:count]
            size = -count
