"""Load a GGUF file into llama.cpp, unless it is damaged."""

import ctypes
import math
import os
import struct

from corelm.errors import ModelFileError, UsageError
from corelm_llama_cpp.library import free, llama, logged

DEVICES = ("cpu", "gpu")
MOST_BLOCKS = 512
"""The most layers of a network; llama.cpp ends the process for one with more."""


def load(path, device=None):
    """Return the `llama_model` of a GGUF file.

    llama.cpp itself rejects files that are truncated, foreign, or claim larger arrays than they
    have. But for some values it ends the process. So the tokens in the file's header are read, then
    the file without the weights, and these values are checked.

    Args:
        path: the file.
        device: `cpu` or `gpu`; None leaves the choice to llama.cpp.

    Raises:
        ModelFileError: no GGUF file, a damaged one, or one that llama.cpp cannot run.
        UsageError: no such device, or something other than a path.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise UsageError(
            f"a model is the path of a GGUF file, not {type(path).__name__}; "
            "as_logits_processor has corelm's samplers for a model that is loaded"
        )
    if device is not None and device not in DEVICES:
        raise UsageError(f"llama.cpp's device is {' or '.join(DEVICES)}, not {device!r}")
    if device == "gpu" and not llama.llama_supports_gpu_offload():
        raise UsageError("this llama.cpp was built for the CPU alone; leave the device out")
    if not os.path.isfile(path):
        raise ModelFileError(f"there is no file {os.fspath(path)}")
    repeated = repeated_token(path)
    if repeated is not None:
        token = repeated[:40].decode("utf-8", "replace")
        raise ModelFileError(
            f"llama.cpp cannot load {os.fspath(path)}: its vocabulary has the token {token!r} twice"
        )
    described = _load(path, vocab_only=True, device="cpu")
    try:
        fault = _fault(described)
    finally:
        free(llama.llama_model_free, described)
    if fault:
        raise ModelFileError(f"llama.cpp cannot load {os.fspath(path)}: {fault}")
    return _load(path, vocab_only=False, device=device)


def _load(path, vocab_only, device):
    parameters = llama.llama_model_default_params()
    parameters.vocab_only = vocab_only
    if device == "cpu":
        parameters.n_gpu_layers = 0
    with logged() as errors:
        model = llama.llama_model_load_from_file(os.fsencode(path), parameters)
    if not model:
        reason = errors[0] if errors else "it gives no reason"
        raise ModelFileError(f"llama.cpp cannot load {os.fspath(path)}: {reason}")
    return model


def _fault(model):
    """Return the first value of a file at which llama.cpp would crash; None if there is none."""
    architecture = _value(model, "general.architecture")
    if architecture is None or architecture == "clip":
        return "it is not a language model"
    vocabulary = llama.llama_model_get_vocab(model)
    if llama.llama_vocab_type(vocabulary) == llama.LLAMA_VOCAB_TYPE_NONE:
        return "it has no tokenizer"
    blocks = _number(model, f"{architecture}.block_count")
    if not 1 <= blocks <= MOST_BLOCKS:
        return f"it claims {blocks:.0f} blocks; 1 to {MOST_BLOCKS} are possible"
    length = _number(model, f"{architecture}.context_length")
    if not 1 <= length < 2**31:
        return f"it claims a context of {length:.0f} tokens"
    for name in ("layer_norm_rms_epsilon", "layer_norm_epsilon"):
        epsilon = _number(model, f"{architecture}.attention.{name}", default=0)
        if not 0 <= epsilon < math.inf:
            return f"its {name} is {epsilon}"
    return None


def _number(model, key, default=math.nan):
    text = _value(model, key)
    try:
        return default if text is None else float(text)
    except ValueError:
        return math.nan


def _value(model, key):
    """Return a value of the file's metadata as text; None if it has none."""
    buffer = ctypes.create_string_buffer(256)  # for numbers and names; a longer value is cut off
    size = llama.llama_model_meta_val_str(model, key.encode(), buffer, len(buffer))
    return None if size < 0 else buffer.value.decode("utf-8", "replace")


SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""The size in bytes of each type of fixed size."""
STRING, ARRAY = 8, 9
TOKENS = b"tokenizer.ggml.tokens"
MOST, LONGEST, LARGEST = 2**24, 2**20, 2**28
"""The most values, the longest token and the most bytes that are read: a forged header could take
hours and all memory."""


def repeated_token(path):
    """Return a token that a file lists twice, as bytes; None if there is none.

    llama.cpp ends the process for such a file. It also returns None for a damaged header, which
    llama.cpp itself refuses.
    """
    seen = set()
    for i, token in enumerate(_tokens(path)):
        word = token.partition(b"\0")[0] or b"[EMPTY_%d]" % i  # as llama.cpp reads it
        if word in seen:
            return word
        seen.add(word)
    return None


def _tokens(path):
    """Return the tokens of a file; an empty list without any, or for a damaged header."""
    with open(path, "rb") as file:
        reader = _Reader(file)
        try:
            _, _, _, count = reader.numbers("<4sIQQ")
            for _ in range(min(count, MOST)):
                key = reader.string()
                [kind] = reader.numbers("<I")
                if key == TOKENS and kind == ARRAY:
                    return reader.strings()
                reader.skip(kind)
        except (EOFError, KeyError):  # llama.cpp will report the damage
            pass
    return []


class _Reader:
    """A reader of the values of a header, one after the other.

    Raises:
        EOFError: a value is longer than the rest of the file, or a number beyond its bound.
        KeyError: a type that GGUF lacks.
    """

    def __init__(self, file):
        self._file, self._left = file, LARGEST
        self._size = file.seek(0, 2)
        file.seek(0)

    def numbers(self, form):
        return struct.unpack(form, self._bytes(struct.calcsize(form)))

    def string(self):
        [length] = self.numbers("<Q")
        if length > LONGEST:
            raise EOFError
        return self._bytes(length)

    def strings(self):
        kind, count = self.numbers("<IQ")
        return [self.string() for _ in self._range(count)] if kind == STRING else []

    def skip(self, kind):
        """Skip a value of a type."""
        if kind == STRING:
            self._jump(self.numbers("<Q")[0])
        elif kind == ARRAY:
            part, count = self.numbers("<IQ")
            if part == STRING:
                for _ in self._range(count):
                    self.skip(STRING)
            else:  # GGUF has no arrays of arrays
                self._jump(count * SIZES[part])
        else:
            self._jump(SIZES[kind])

    def _range(self, count):
        if count > MOST:
            raise EOFError
        return range(count)

    def _bytes(self, count):
        self._check(count)
        self._left -= count
        if self._left < 0:
            raise EOFError
        return self._file.read(count)

    def _jump(self, count):
        self._check(count)
        self._file.seek(count, 1)

    def _check(self, count):
        if count > self._size - self._file.tell():
            raise EOFError
