"""What came of one network, and the table of all of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from statistics import median

from timing import head, line, place

from peers.process import PeerSpec

OURS = "corelm"
BATCHES = (1, 8, 64)
PARTS = {
    "limit": "bare matrix products / a step of corelm",
    "BLAS": "the same by np.matmul / a step of corelm",
    "sampler": "the sampler / a step of corelm",
    "draw": "the draw / a step of corelm",
}


@dataclass
class Results:
    """What was measured with one network.

    Attributes:
        peers: who wrote.
        tokens: how many, of each text.
        differences: the largest of each peer's logits from corelm's.
        ways: how each peer wrote a batch.
        seconds: of the rounds, by peer and batch.
        shares: of a step of corelm in the rounds, by part and batch.
    """

    peers: list[PeerSpec]
    tokens: int
    differences: dict[str, float] = field(default_factory=dict)
    ways: dict[tuple[str, int], str] = field(default_factory=dict)
    seconds: dict[tuple[str, int], list[float]] = field(default_factory=lambda: defaultdict(list))
    shares: dict[tuple[str, int], list[float]] = field(default_factory=lambda: defaultdict(list))

    def rows(self) -> Iterator[list[str]]:
        """A name and its cells for each peer, and for the parts of corelm's step."""
        for one in self.peers:
            yield [one.name, *(self._cell(one, batch) for batch in BATCHES)]
        for part, name in PARTS.items():
            yield [name, *(f"{median(self.shares[part, batch]):.0%}" for batch in BATCHES)]

    def notes(self) -> Iterator[str]:
        """How far the logits were apart, and which ways were the fastest."""
        for name, difference in self.differences.items():
            yield f"{name}: logits at most {difference:.1g} away from corelm's."
        for (name, batch), way in self.ways.items():
            if way:
                yield f"{name}, batch {batch}: {way}."

    def _cell(self, one: PeerSpec, batch: int) -> str:
        if not one.writes(batch):
            return ""
        speed = self._speed(one.name, batch)
        if one.name == OURS:
            return f"**{speed:,.0f}**"
        return f"{speed:,.0f} ({self._speed(OURS, batch) / speed:.3g})"

    def _speed(self, name: str, batch: int) -> float:
        """Tokens per second."""
        return batch * self.tokens / median(self.seconds[name, batch])


def table(results: Mapping[str, Results]) -> Iterator[str]:
    """Tokens per second in Markdown, and how many times as many corelm has."""
    yield head(["tokens per second (corelm's / theirs)", *(f"batch {n}" for n in BATCHES)])
    for network, of in results.items():
        for name, *cells in of.rows():
            yield line([f"{network}: {name}", *cells])


def notes(results: Mapping[str, Results]) -> Iterator[str]:
    """What it was measured on, with what, and how."""
    packages = dict.fromkeys(name for of in results.values() for one in of.peers
                             for _, name in one.packages)  # fmt: skip
    yield f"{place(*packages)}."
    for network, of in results.items():
        yield f"\n{network}: {of.tokens} tokens, median of {len(of.seconds[OURS, 1])}.\n"
        yield from (f"- {note}" for note in of.notes())
