"""The verdict of a report: two or three short sentences for a reader who has twenty seconds.

The module `evidence` has the figures behind each statement, and their intervals.
"""

from __future__ import annotations

from textwrap import wrap

from corelm.runs import printable
from corelm_pages.evidence import NAMED, closest, compared_human, named, named_runs, often, straying
from corelm_report.document.content import Document, SamplerEntry
from corelm_report.document.figure import GENERATED, SURPRISAL
from corelm_report.document.header import Header
from corelm_report.document.lookup import estimate, runs
from corelm_stats.estimates import FEWEST, MANY, STATED

LINES, WIDTH = 3, 80
"""The most lines of a verdict in a terminal of this width."""
QUOTED = 60
"""The longest prompt that is quoted in full, in characters."""


def verdict(document: Document) -> str:
    """Name the samplers that are closest to human text, too random, or repeat themselves.

    It names as many of them as fit in three lines, and leaves the comparison out where even one is
    too long.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> report = corelm.compare(ToyModel(), ["greedy"], prompts="the", n=2, length=4)
        >>> report.summary.removeprefix("No sampler stands out. ")
        'Measured after the prompt "the" alone; nothing is compared with human text.'
    """
    samplers = [entry for entry in document.samplers if not entry.error]
    if not samplers:
        return "Every sampler failed." if document.samplers else "No sampler was measured."
    most = range(NAMED, 0, -1)
    texts = [
        f"{_naming(n, document, samplers)} {scope}." for scope in _scopes(document) for n in most
    ]
    lines = (len(wrap(text, WIDTH, break_on_hyphens=False)) for text in texts)
    return next((text for text, n in zip(texts, lines, strict=True) if n <= LINES), texts[-1])


def _naming(most: int, document: Document, samplers: list[SamplerEntry]) -> str:
    """Return the statements; each statement names up to `most` samplers or runs, or one more."""
    failed = [entry.sampler for entry in document.samplers if entry.error]
    chosen = closest(document)
    said = (
        _closest(most, samplers, chosen),
        _failings(most, document, samplers),
        f"{named(failed, most)} failed." if failed else "",
        "" if chosen else _missing(document, samplers),
        _empty(samplers),
    )
    return " ".join(filter(None, said)) or "No sampler stands out."


def _missing(document: Document, samplers: list[SamplerEntry]) -> str:
    """Name the number of texts that it takes to tell which samplers are closest to human text."""
    human = compared_human(document)
    texts = [e.generated_texts for e in samplers if estimate(e, SURPRISAL, GENERATED)]
    if human is None or len(samplers) < 2 or not texts:
        return ""
    if human.interval is None:
        return f"It takes {FEWEST} human texts to tell which sampler is closest."
    header = document.header
    # From 8 prompts on these are the independent units, not their texts.
    many = MANY <= len({*(header.clusters or header.prompts)}) < header.drawn
    units = ("clusters" if header.clusters else "prompts") if many else "texts"
    return f"It takes {STATED} {units} to tell which sampler is closest to human text."


def _closest(most: int, samplers: list[SamplerEntry], chosen: list[SamplerEntry]) -> str:
    """Name the samplers that are closest to human text."""
    if len(samplers) < 2 or not chosen:
        return ""
    names = named_runs(runs(samplers, chosen), most)
    if len(chosen) == 1:
        return f"{names} is closest to human text."
    return f"{names} are closest to human text, and cannot be told apart."


def _failings(most: int, document: Document, samplers: list[SamplerEntry]) -> str:
    """Name the samplers that are too random, and those that repeat themselves."""
    repeated = {e.sampler for each in ("rep_4", "loops") for e in often(document, each)}
    clauses = []
    for chosen, one, several in (
        (straying(document), "is too random", "are too random"),
        (repeated, "repeats itself", "repeat themselves"),
    ):
        if chosen:
            some = runs(samplers, [entry for entry in samplers if entry.sampler in chosen])
            names = named_runs(some, most)
            clauses.append(f"{names} {one if len(chosen) == 1 else several}")
    return f"{'; '.join(clauses)}." if clauses else ""


def _empty(samplers: list[SamplerEntry]) -> str:
    """Count the texts without a token, which have no figures."""
    texts = [entry.generated_texts for entry in samplers if entry.generated_texts]
    every = sum(each.n or 0 for each in texts)
    empty = every - sum(each.texts_used.get(SURPRISAL, each.n or 0) for each in texts)
    verb = "is" if empty == 1 else "are"
    return f"{empty:,} of {printable.counted(every, 'text')} {verb} empty." if empty else ""


def _scopes(document: Document) -> tuple[str, str]:
    """Name the texts that the verdict is about, with and without the human text compared with."""
    human = document.human
    if human is None:
        people = "; nothing is compared with human text"
    elif human.same_places:
        people = ", compared with human text at the same positions"
    elif human.compared:
        people = ", compared with human text that begins differently"
    else:
        people = "; texts are not compared with human text, which begins differently"
    population = _population(document.header)
    return f"{population}{people}", population


def _population(header: Header) -> str:
    count = len(header.prompts)
    prompt = "message" if (header.settings or {}).get("chat") else "prompt"
    if header.beginnings:
        return f"Measured on {printable.counted(count, 'beginning')} {header.beginnings}"
    if count != 1:
        return f"Measured after {printable.counted(count, prompt)}"
    text = printable.one_line(header.prompts[0])
    text = text if len(text) <= QUOTED else f"{text[: QUOTED - 3]}..."
    return f'Measured after the {prompt} "{text}" alone'
