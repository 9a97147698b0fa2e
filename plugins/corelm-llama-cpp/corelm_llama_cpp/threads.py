"""Choose the number of threads of llama.cpp's passes by their time."""

AGAIN = 256
"""Passes from one trial to the next: other programs come and go."""
TRIES = 4
"""Passes of a trial with each number."""


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
        # By the size of a pass: the passes so far, the times of a trial, its result.
        self._passes, self._trials, self._chosen = {}, {}, {}

    def of(self, tokens):
        """Return the number of threads for a pass with this many tokens."""
        size = tokens.bit_length()
        place = self._passes.get(size, 0) % AGAIN
        if place < TRIES * len(self._numbers):
            return self._numbers[place // TRIES]
        return self._chosen[size]

    def seconds(self, tokens):
        """Return the time of a pass with this many tokens; None before the first one."""
        trial = self._trials.get(tokens.bit_length())
        return trial and tokens * min(map(_typical, trial.values()))

    def note(self, tokens, number, seconds):
        """Record the time of a pass."""
        size = tokens.bit_length()
        place = self._passes.get(size, 0) % AGAIN
        self._passes[size] = self._passes.get(size, 0) + 1
        if place >= TRIES * len(self._numbers):
            return
        trial = {} if place == 0 else self._trials[size]
        trial.setdefault(number, []).append(seconds / tokens)
        self._trials[size] = trial
        self._chosen[size] = min(trial, key=lambda each: _typical(trial[each]))


def _typical(times):
    """Return the second least of some times: an interruption makes a pass ten times as long."""
    return sorted(times)[:2][-1]
