"""The verdict of a report: two or three short sentences for a reader who has twenty seconds.

The module `evidence` has the figures behind each statement, and their intervals.
"""

from __future__ import annotations

from corelm.runs import printable
from corelm_pages.evidence import looping, named, not_told, repeating, straying
from corelm_report.document.content import Document, SamplerEntry
from corelm_report.document.header import Header
from corelm_report.document.lookup import runs
from corelm_report.document.wording import listed
from corelm_stats.estimates import STATED


def verdict(document: Document) -> str:
    """Name the samplers that are closest to human text, too random, or repeat themselves.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> report = corelm.compare(ToyModel(), ["greedy"], prompts="the", n=2, length=4)
        >>> report.summary
        'No sampler stands out. After the prompt "the" alone; nothing is compared with human text.'
    """
    samplers = [entry for entry in document.samplers if not entry.error]
    if not samplers:
        return "Every sampler failed." if document.samplers else "No sampler was measured."
    said = list(filter(None, (_closest(document, samplers), _failings(document, samplers))))
    failed = [entry.sampler for entry in document.samplers if entry.error]
    said += [f"{listed(failed)} failed."] if failed else []
    return " ".join([*(said or ["No sampler stands out."]), _scope(document)])


def _closest(document: Document, samplers: list[SamplerEntry]) -> str:
    """Name the samplers that are closest to human text, or say what is missing to tell."""
    chosen = [entry for entry in samplers if entry.sampler in document.closest]
    if len(samplers) < 2 or not chosen:
        return not_told(document, samplers)
    if min(entry.generated_texts.units or 0 for entry in chosen if entry.generated_texts) < STATED:
        return f"It takes {STATED} texts to tell which sampler is closest to human text."
    names = named([run.name for run in runs(samplers, chosen)])
    if len(chosen) == 1:
        return f"{names} is closest to human text."
    return f"{names} are closest to human text, and cannot be told apart."


def _failings(document: Document, samplers: list[SamplerEntry]) -> str:
    """Name the samplers that are too random, and those that repeat themselves."""
    repeated = {*(repeating(document) or ()), *(looping(document) or ())}
    clauses = []
    for chosen, one, several in (
        (straying(document), "is too random", "are too random"),
        (repeated, "repeats itself", "repeat themselves"),
    ):
        if chosen:
            some = runs(samplers, [entry for entry in samplers if entry.sampler in chosen])
            clauses.append(
                f"{named([run.name for run in some])} {one if len(chosen) == 1 else several}"
            )
    return f"{', '.join(clauses)}." if clauses else ""


def _scope(document: Document) -> str:
    """Name the texts that the verdict is about, and the human text they were compared with."""
    human = document.human
    if human is None:
        people = "; nothing is compared with human text"
    elif human.same_places:
        people = ", compared with human text at the same places"
    elif human.compared:
        people = ", compared with human text that begins otherwise"
    else:
        people = "; human text begins otherwise, so only the contexts are compared with it"
    return f"{_population(document.header)}{people}."


def _population(header: Header) -> str:
    count = len(header.prompts)
    prompt = "message" if (header.settings or {}).get("chat") else "prompt"
    if header.beginnings:
        return f"For {printable.counted(count, 'beginning')} {header.beginnings}"
    if count == 1:
        return f'After the {prompt} "{printable.one_line(header.prompts[0])}" alone'
    return f"After {printable.counted(count, prompt)}"
