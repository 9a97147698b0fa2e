"""The threads that own the models, the limits of a server, and how requests share rows.

jobs       one prompt of a request: what to write, its texts, and where its events go
scheduler  the lanes of a model, the queue before them, and the end
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from corelm_serve.scheduling.jobs import Job

PORTIONS, SMALLEST = 8, 4
"""The portions in which rows are given out, and the least rows of one. Each reads the prompt."""
MOST = 4
"""The most rows that are written, as a multiple of the limit."""


@dataclass(frozen=True)
class Limits:
    """Bounds that keep one client from using up the machine.

    Attributes:
        body: bytes of a request.
        prompt: tokens of a prompt.
        length: tokens drawn for a text.
        prompts: prompts in a request.
        total: tokens of all prompts of a request, and tokens drawn for all of its texts.
        entries: log-probabilities in an answer.
        rows: texts that a model writes at once, and texts of one prompt. Requests that would wait
            for larger ones are written too, up to four times as many texts in all.
        waiting: requests that wait for a model; more are refused with 429.
        seconds: the time of a request, from its arrival to its last token.
        stall: seconds that one step of one request may take before it is given up, and again that
            many for every 256 tokens of prompts that it reads.
        piece: tokens of a prompt that are read between two steps.
        prefixes: tokens of prompts that each model keeps, to read equal beginnings once.
        grace: seconds that running requests get to end when the server stops.
    """

    body: int = 2**20
    prompt: int = 32_768
    length: int = 4_096
    prompts: int = 128
    total: int = 2**18
    entries: int = 2**20
    rows: int = 64
    waiting: int = 256
    seconds: float = 600.0
    stall: float = 30.0
    piece: int = 512
    prefixes: int = 8_192
    grace: float = 10.0


class Shares:
    """The rows of a batch, as its clients and their requests share them.

    The next rows go to the client with the fewest, and of his requests to the one with the fewest.
    A request that came alone may have all rows; while others wait it counts as if it had no more
    than an equal share, so that they begin at once. Nothing depends on a clock.

    Args:
        rows: to share.
        running: the jobs that have some.
        waiting: the jobs that wait for some, in order of arrival.
    """

    def __init__(self, rows: int, running: Sequence[Job], waiting: Sequence[Job]) -> None:
        self._rows, self._waiting = rows, waiting
        self._portion = max(rows // PORTIONS, SMALLEST)
        self._of: dict[str, Counter[int]] = defaultdict(Counter)
        for job in waiting:
            self._of[job.client][job.request] += 0
        for job in running:
            self._of[job.client][job.request] += job.begun - job.ended

    def next(self) -> Job:
        """Return the job whose turn it is."""

        def rows_of(job: Job) -> tuple[int, int]:
            return self._of[job.client].total(), self._of[job.client][job.request]

        return min((job for job in self._waiting if job.begun < job.rows), key=rows_of)

    def give(self, job: Job) -> int:
        """Give a job its next rows; return their number, 0 if there is no room."""
        requests = self._of[job.client]
        count = min(job.rows - job.begun, self._portion)
        rows = sum(each.total() for each in self._of.values())
        is_above = requests[job.request] + count > self._share(len(requests))
        is_full = rows + count > self._rows * MOST or self._counted() + count > self._rows
        if rows + count > self._rows and (is_above or is_full):
            return 0
        requests[job.request] += count
        return count

    def _counted(self) -> int:
        """Return the rows, those above a share left out."""
        of_client = self._share(len(self._of))
        return sum(
            min(sum(min(rows, self._share(len(each))) for rows in each.values()), of_client)
            for each in self._of.values()
        )

    def _share(self, parties: int) -> int:
        return max(self._rows // parties, self._portion)
