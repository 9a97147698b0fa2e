"""The generated texts word by word, as the page shows them side by side."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from corelm.reports.document.content import Document, TokenDetails
from corelm.reports.document.numbers import number, share, visible

LEVELS = (2, 4, 6, 8, 10)
"""Nats of surprisal at which a word gets the next deeper colour and the next thicker line."""

EXPLAINED = 40
"""The number of texts on a page, at most, whose words have their figures.

They take 14 kB a text of 50 tokens: a page with all texts of 20 samplers would have almost 2 MB.
"""

SPACES = str.maketrans({"\n": "⏎", "\r": "⏎", "\t": "⇥", " ": "␣"})


@dataclass(frozen=True)
class Word:
    """One token of a text.

    Attributes:
        space: the white space before it.
        text: the token itself; a token of white space alone is shown as a sign.
        level: how surprising it was, from 0 to the number of `LEVELS`.
        about: its figures, on two lines.
        likely: the likeliest tokens in its place, one a line, with a tab before the share.
    """

    space: str
    text: str
    level: int
    about: str
    likely: str


@dataclass(frozen=True)
class ShownText:
    """One text of one sampler; it has no words if the sampler failed."""

    sampler: str
    words: Sequence[Word]
    error: bool = False


@dataclass(frozen=True)
class Group:
    """The texts that all samplers wrote after one prompt with the same random numbers.

    Attributes:
        prompt: the prompt.
        sample: the index of the texts.
        texts: one text of each sampler.
        explained: the words of these texts have their figures.
    """

    prompt: str
    sample: int
    texts: Sequence[ShownText]
    explained: bool


def groups(document: Document) -> list[Group]:
    """Return the texts by prompt and sample, the samplers in the order of the report.

    The first samples of each prompt have the figures of their words: as many as fit, at least one.
    """
    found: dict[tuple[str, int], dict[int, ShownText]] = {}
    for place, entry in enumerate(document.samplers):
        for text in entry.texts:
            if not text.tokens:
                continue  # one of the texts that the report keeps without details
            written = ShownText(entry.sampler, _words(text.tokens))
            found.setdefault((text.prompt, text.sample), {})[place] = written
    failed = {
        place: ShownText(entry.sampler, (), error=True)
        for place, entry in enumerate(document.samplers)
        if entry.error
    }
    prompts = {prompt for prompt, _ in found}
    most = max(1, EXPLAINED // max(1, len(prompts) * len(document.samplers)))
    earlier: Counter[str] = Counter()
    made = []
    for (prompt, sample), texts in found.items():
        every = [text for _, text in sorted((failed | texts).items())]
        made.append(Group(prompt, sample, every, explained=earlier[prompt] < most))
        earlier[prompt] += 1
    return made


def _words(tokens: Sequence[TokenDetails]) -> list[Word]:
    """Return the words of a text, without the white space before the first one."""
    first, rest = [word(token) for token in tokens[:1]], [word(token) for token in tokens[1:]]
    return [*(replace(each, space="") for each in first), *rest]


def word(token: TokenDetails) -> Word:
    """Turn a token of the document into a word of the page.

    Example:
        >>> film = {"token": " film", "rank": 2, "p": 0.25, "q": 0.5, "entropy": 1.0}
        >>> word(film | {"alternatives": [[" movie", 0.5], [" film", 0.25]]})
        Word(space=' ', text='film', level=0, about='surprisal 1.39, rank 2\\np 25.0%, q 50.0%, \
entropy 1.00', likely='movie\\t50.0%\\nfilm\\t25.0%')
    """
    whole = visible(token["token"])
    text = whole.lstrip()
    surprisal = -math.log(token["p"]) if token["p"] > 0 else math.inf
    rank = token["rank"] or "unknown"
    about = (
        f"surprisal {number(surprisal)}, rank {rank}\n"
        f"p {share(token['p'])}, q {share(token['q'])}, entropy {number(token['entropy'])}"
    )
    likely = "\n".join(f"{shown(word)}\t{share(p)}" for word, p in token["alternatives"])
    level = bisect_right(LEVELS, surprisal)
    return Word(whole[: len(whole) - len(text)], text or shown(whole), level, about, likely)


def shown(token: str) -> str:
    """Write a token on one line, without the space before it unless that is all of it.

    Example:
        >>> shown(" film"), shown(" "), shown("a\\nb")
        ('film', '␣', 'a⏎b')
    """
    token = visible(token)
    return (token.strip(" ") or token).translate(SPACES)


def legend() -> Iterator[tuple[int, str]]:
    """Yield each level of surprisal with its range.

    Example:
        >>> list(legend())[1]
        (1, '2 to 4')
    """
    yield 0, f"below {LEVELS[0]}"
    for level, (low, high) in enumerate(pairwise(LEVELS), 1):
        yield level, f"{low} to {high}"
    yield len(LEVELS), f"{LEVELS[-1]} or more"
