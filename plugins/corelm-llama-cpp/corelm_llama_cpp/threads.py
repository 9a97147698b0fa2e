"""Choose the number of threads of llama.cpp's passes by their time."""

AGAIN = 512
"""Passes after which the slower number is tried again: other programs come and go."""
TRIES = 4
"""Passes of a trial."""
STEP = 1.3
"""The largest factor by which one pass changes an estimate: a pass that another program interrupts
may take ten times as long."""


class ThreadChoice:
    """The faster of two numbers of threads, for passes of each size.

    llama.cpp's threads wait for each other after every operation of the network. For a small pass,
    or next to other programs, that takes longer than the work of a single thread. The number
    changes no result: each element of a product is computed by one thread.

    Args:
        most: the number of threads to compare with one.

    Example:
        >>> choice = ThreadChoice(8)
        >>> for _ in range(2 * TRIES):
        ...     number = choice.of(1)
        ...     choice.note(1, number, seconds=3.0 if number == 8 else 1.0)
        >>> choice.of(1)
        1
    """

    def __init__(self, most):
        self._numbers = (most, 1) if most > 1 else (1,)
        self._seconds, self._passes = {}, {}

    def of(self, tokens):
        """Return the number of threads for a pass with this many tokens."""
        size = tokens.bit_length()
        passes = self._passes.get(size, 0)
        if passes < TRIES * len(self._numbers):
            return self._numbers[passes // TRIES]
        ordered = sorted(self._numbers, key=lambda number: self._seconds[size, number])
        return ordered[-1 if passes % AGAIN < TRIES else 0]

    def seconds(self, tokens):
        """Return the time of a pass with this many tokens; None before the first one."""
        size = tokens.bit_length()
        found = [self._seconds.get((size, number)) for number in self._numbers]
        return min((tokens * each for each in found if each is not None), default=None)

    def note(self, tokens, number, seconds):
        """Record the time of a pass."""
        size = tokens.bit_length()
        self._passes[size] = self._passes.get(size, 0) + 1
        found = seconds / tokens
        before = self._seconds.get((size, number), found)
        self._seconds[size, number] = min(max(found, before / STEP), before * STEP)
