"""The tokens in the header of a GGUF file, read before llama.cpp sees the file."""

import struct

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
