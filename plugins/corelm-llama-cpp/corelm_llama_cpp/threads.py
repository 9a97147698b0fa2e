"""Choose the number of threads of llama.cpp's passes by their time."""

AGAIN = 128
"""Passes after which the slower number is tried again: other programs come and go."""


class ThreadChoice:
    """The faster of two numbers of threads, for passes of each size.

    llama.cpp's threads wait for each other after every operation of the network. For a small pass,
    or next to other programs, that takes longer than the work of a single thread. The number
    changes no result: each element of a product is computed by one thread.

    Args:
        most: the number of threads to compare with one.

    Example:
        >>> choice = ThreadChoice(8)
        >>> for seconds in (3.0, 1.0):
        ...     choice.note(1, choice.of(1), seconds)
        >>> choice.of(1)
        1
    """

    def __init__(self, most):
        self._numbers = (most, 1) if most > 1 else (1,)
        self._seconds, self._passes = {}, {}

    def of(self, tokens):
        """Return the number of threads for a pass with this many tokens."""
        size = tokens.bit_length()
        untried = [number for number in self._numbers if (size, number) not in self._seconds]
        if untried:
            return untried[0]
        ordered = sorted(self._numbers, key=lambda number: self._seconds[size, number])
        return ordered[-1 if self._passes[size] % AGAIN == 0 else 0]

    def note(self, tokens, number, seconds):
        """Record the time of a pass."""
        size = tokens.bit_length()
        self._passes[size] = self._passes.get(size, 0) + 1
        self._seconds[size, number] = seconds / tokens
