"""The methods of a report as BibTeX: corelm, the samplers, and the figures.

The entries come from the sources that docstrings name, which the document of a report holds:

    Source: AUTHORS YEAR, TITLE, arXiv ID; AUTHORS YEAR, TITLE, doi ID.

Remarks after the identifier, and parts without a year or a title, don't become entries.
Docstrings are abbreviated: full names, venues and types of published works are in `works.toml`.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import metadata
from importlib.resources import files
from typing import Any

from corelm.runs import printable
from corelm_report.document.content import Document
from corelm_report.document.lookup import plugin_metrics

_WORK = re.compile(r"(?:.*: )?(?P<authors>[^:]+?) (?P<year>(?:1[89]|20)\d\d)(?:, (?P<rest>.+))?")
_IDENTIFIER = re.compile(
    r",? *\b(?:arXiv:? *(?P<arxiv>[\w.-]+/\d{7}|\d{4}\.\d{4,5})|doi:? *(?P<doi>10\.\d{4,9}/\S*\w))",
    re.IGNORECASE,
)
_NO_WORDS = {"a", "an", "the", "on", "of", "in", "is", "for", "and", "to", "as"}
"""Words of a title that a key leaves out."""
_ESCAPED = {"{": "(", "}": ")", "\\": "/", "~": "-", "^": ""} | {c: f"\\{c}" for c in "&%$#_"}


@dataclass(frozen=True)
class Work:
    """One cited work, as an entry of BibTeX.

    Attributes:
        key: the key by which a text cites it.
        fields: the content of each field by name, not yet escaped.
        uses: the samplers and figures that it is cited for.
        type: the type of the entry.
    """

    key: str
    fields: Mapping[str, str]
    uses: tuple[str, ...] = ()
    type: str = "misc"

    def __str__(self) -> str:
        uses = ", ".join(self.uses).replace("@", "")  # an @ would start an entry
        lines = [f"  {name} = {{{_value(name, text)}}}" for name, text in self.fields.items()]
        return f"% {uses}\n@{self.type}{{{self.key},\n" + ",\n".join(lines) + "\n}\n"


def to_bibtex(document: Document) -> str:
    """Return an entry for corelm and for each source of the samplers and figures of a report."""
    entries: dict[str, Work] = {}
    for name, source in _sources(document):
        for entry in entries_of(source, name):
            same = _identity(entry)
            known = entries.get(same, entry)
            entries[same] = replace(known, uses=tuple(dict.fromkeys((*known.uses, name))))
    keys: set[str] = set()
    written = [str(_corelm(document))]
    for entry in entries.values():
        key = next(k for k in _keys(entry.key) if k not in keys)
        keys.add(key)
        written.append(str(replace(entry, key=key)))
    return "\n".join(written)


def entries_of(source: str, name: str) -> list[Work]:
    """Return a source's entries, or one for the whole source if it has no work with a year.

    Example:
        >>> [entry] = entries_of("Fan, Lewis, Dauphin 2018, Stories, arXiv 1805.04833.", "top_k")
        >>> entry.key, entry.fields["author"], entry.fields["eprint"]
        ('fan2018stories', 'Fan, Angela and Lewis, Mike and Dauphin, Yann', '1805.04833')
    """
    parts = [part.strip() for part in printable.one_line(source).split(";")]
    found = [entry for part in parts if (entry := _entry(part))]
    whole = {
        "title": re.split(r"\.(?: |$)", printable.one_line(source))[0],
        "note": f"Source of {name}",
    }
    return found or [Work(_ascii(name) or "source", whole)]


def _entry(part: str) -> Work | None:
    """Return the entry of a work with authors, a year and a title; None for a remark."""
    work = _WORK.fullmatch(part.rstrip("."))
    if work is None:
        return None
    rest = work["rest"] or ""
    identifier = _IDENTIFIER.search(rest)
    title = rest[: identifier.start()] if identifier else re.split(r"\. ", rest)[0]
    if not (title := title.strip(" .")):
        return None
    fields = {"author": _authors(work["authors"]), "title": title, "year": work["year"]}
    if identifier and identifier["arxiv"]:
        fields |= {"eprint": identifier["arxiv"], "archiveprefix": "arXiv"}
    elif identifier:
        fields["doi"] = identifier["doi"]
    words = re.split(r"[\s-]+", fields["title"])
    telling = [_ascii(word) for word in words if word.lower() not in _NO_WORDS]
    first = _ascii(fields["author"].split(" and ")[0].split()[-1])
    key = f"{first}{work['year']}{next(filter(None, telling), '')}"
    return _published(Work(key, fields))


def _published(work: Work) -> Work:
    """Complete the entry of a published work; return any other work unchanged."""
    fields = work.fields
    names = (fields.get("eprint", ""), fields.get("doi", ""), fields["title"].lower())
    known = next((_works()[name] for name in names if name in _works()), None)
    if known is None:
        return work
    own = {name: text for name, text in known.items() if name not in ("type", "author")}
    return replace(
        work,
        fields={**fields, "author": " and ".join(known["author"]), **own},
        type=known["type"],
    )


@cache
def _works() -> Mapping[str, Mapping[str, Any]]:
    """Return the published works by arXiv id, doi or title."""
    text = files("corelm_report.render").joinpath("works.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def _authors(text: str) -> str:
    """Join authors as BibTeX requires."""
    several = text.removesuffix(" et al.")
    names = re.split(r", and |, | and ", several)
    return " and ".join(names if several == text else [*names, "others"])


def _sources(document: Document) -> Iterator[tuple[str, str]]:
    """Yield the name and source of each sampler and figure that has a source."""
    for entry in document.samplers:
        for stage in entry.stages:
            yield from ((stage.name, source) for source in stage.sources)
    short = plugin_metrics(document)
    for metric in document.header.metrics:
        if metric.source:
            yield short[metric.name], metric.source
    for citation in document.header.sources:
        yield ", ".join(citation.of), citation.source


def _corelm(document: Document) -> Work:
    """Return the entry of corelm, from the same metadata as its CITATION.cff."""
    package, header = metadata("corelm"), document.header
    fields = {
        "author": f"{{{package['Author']}}}",
        "title": f"corelm: {package['Summary']}",
        "year": header.created[:4],
        "note": f"Version {header.corelm}",
    }
    return Work("corelm", fields, ("corelm",))


def _identity(entry: Work) -> str:
    """Return the identifier of a work, by which duplicates are found."""
    fields = entry.fields
    return fields.get("eprint") or fields.get("doi") or entry.key + fields.get("title", "")


def _keys(key: str) -> Iterator[str]:
    yield key
    yield from (f"{key}{letter}" for letter in "abcdefghijklmnopqrstuvwxyz")
    yield from (f"{key}{number}" for number in range(1, 10**6))


def _ascii(text: str) -> str:
    """Convert a word to the characters that a key may have."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "", plain)


def _value(name: str, text: str) -> str:
    """Escape a field's text for TeX; protect the capitals of titles."""
    if name == "author" and text.startswith("{"):  # braces keep the name together
        return f"{{{_value('', text[1:-1])}}}"
    escaped = "".join(
        _ESCAPED.get(letter, letter) for letter in printable.one_line(text).replace("`", "")
    )
    return f"{{{escaped}}}" if name == "title" else escaped
