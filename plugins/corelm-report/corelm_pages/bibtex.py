"""The methods of a report as BibTeX: corelm, the samplers, and the figures.

The entries come from the sources that docstrings name, which the document of a report holds:

    Source: AUTHORS YEAR, TITLE, arXiv ID; AUTHORS YEAR, TITLE, doi ID.

Remarks after the identifier, and parts without a year or a title, don't become entries.
Docstrings are abbreviated: `works.bib` has the whole entries of published works.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import metadata
from importlib.resources import files
from itertools import chain, count
from string import ascii_lowercase

from corelm.runs import printable
from corelm_report.document.content import Document
from corelm_report.document.lookup import plugin_metrics

_WORK = re.compile(r"(?:.*: )?(?P<authors>[^:]+?) (?P<year>(?:1[89]|20)\d\d)(?:, (?P<rest>.+))?")
_IDENTIFIER = re.compile(
    r",? *\b(?:arXiv:? *(?P<arxiv>[\w.-]+/\d{7}|\d{4}\.\d{4,5})|doi:? *(?P<doi>10\.\d{4,9}/\S*\w))",
    re.IGNORECASE,
)
_ENTRY = re.compile(r"^@\w+\{(\w+),\n.*?^\}\n", re.MULTILINE | re.DOTALL)
_NAMED = re.compile(r"^  (?:eprint|doi|title) = \{+(.+?)\}+,?$", re.MULTILINE)
_NO_WORDS = {"a", "an", "the", "on", "of", "in", "is", "for", "and", "to", "as"}
"""Words of a title that a key leaves out."""
_ESCAPED = {"{": "(", "}": ")", "\\": "/", "~": "-", "^": ""} | {c: f"\\{c}" for c in "&%$#_"}


def to_bibtex(document: Document) -> str:
    """Return an entry for corelm and for each source of the samplers and figures of a report."""
    entries: dict[str, str] = {}
    uses: dict[str, list[str]] = {}
    for name, source in _sources(document):
        for entry in entries_of(source, name):
            # The identifier of a work, by which duplicates are recognised.
            identifier = re.search(r"^  (?:eprint|doi) = \{(.+)\}", entry, re.MULTILINE)
            same = identifier[1] if identifier else entry
            entries.setdefault(same, entry)
            uses.setdefault(same, []).append(name)
    keys: set[str] = set()
    written = [f"% corelm\n{_corelm(document)}"]
    for same, entry in entries.items():
        key = entry.partition("{")[2].partition(",")[0]
        ends = chain(("",), ascii_lowercase, count(1))
        unique = next(key + str(end) for end in ends if key + str(end) not in keys)
        keys.add(unique)
        names = ", ".join(dict.fromkeys(uses[same])).replace("@", "")  # an @ would start an entry
        written.append(f"% {names}\n{entry.replace(key, unique, 1)}")
    return "\n".join(written)


def entries_of(source: str, name: str) -> list[str]:
    """Return a source's entries, or one for the whole source if it has no work with a year.

    Example:
        >>> [entry] = entries_of("Pew 2024, Exclude, arXiv 2401.00001.", "xtc")
        >>> print(entry)
        @misc{pew2024exclude,
          author = {Pew},
          title = {{Exclude}},
          year = {2024},
          eprint = {2401.00001},
          archiveprefix = {arXiv}
        }
        <BLANKLINE>
    """
    line = printable.one_line(source)
    parts = [entry for part in line.split(";") if (entry := _entry(part.strip()))]
    title = re.split(r"\.(?: |$)", line)[0]
    whole = {"title": title, "note": f"Source of {name}"}
    return parts or [_written(_ascii(name) or "source", whole)]


def _entry(part: str) -> str | None:
    """Return the entry of a work with authors, a year and a title; None for a remark."""
    work = _WORK.fullmatch(part.rstrip("."))
    if work is None:
        return None
    rest = work["rest"] or ""
    identifier = _IDENTIFIER.search(rest)
    title = rest[: identifier.start()] if identifier else re.split(r"\. ", rest)[0]
    if not (title := title.strip(" .")):
        return None
    arxiv, doi = identifier.group("arxiv", "doi") if identifier else (None, None)
    for name in filter(None, (arxiv, doi, title)):
        if name.lower() in _published():
            return _published()[name.lower()]
    several = work["authors"].removesuffix(" et al.")
    names = re.split(r", and |, | and ", several)
    authors = " and ".join(names if several == work["authors"] else [*names, "others"])
    fields = {"author": authors, "title": title, "year": work["year"]}
    if arxiv:
        fields |= {"eprint": arxiv, "archiveprefix": "arXiv"}
    elif doi:
        fields["doi"] = doi
    words = [_ascii(word) for word in re.split(r"[\s-]+", title) if word.lower() not in _NO_WORDS]
    first = _ascii(fields["author"].split(" and ")[0].split()[-1])
    return _written(f"{first}{work['year']}{next(filter(None, words), '')}", fields)


@cache
def _published() -> Mapping[str, str]:
    """Return the entries of published works by arXiv id, doi and title, in lower case."""
    text = files("corelm_pages").joinpath("works.bib").read_text(encoding="utf-8")
    return {
        name.replace("\\", "").lower(): entry[0]
        for entry in _ENTRY.finditer(text)
        for name in _NAMED.findall(entry[0])
    }


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


def _corelm(document: Document) -> str:
    """Return the entry of corelm, from the same metadata as its CITATION.cff."""
    package, header = metadata("corelm"), document.header
    fields = {
        "author": f"{{{package['Author']}}}",
        "title": f"corelm: {package['Summary']}",
        "year": header.created[:4],
        "note": f"Version {header.corelm}",
    }
    return _written("corelm", fields)


def _ascii(text: str) -> str:
    """Convert a word to the characters that a key may have."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "", plain)


def _written(key: str, fields: Mapping[str, str]) -> str:
    lines = [f"  {name} = {{{_value(name, text)}}}" for name, text in fields.items()]
    return f"@misc{{{key},\n" + ",\n".join(lines) + "\n}\n"


def _value(name: str, text: str) -> str:
    """Escape a field's text for TeX; protect the capitals of titles."""
    if name == "author" and text.startswith("{"):  # braces keep the name together
        return f"{{{_value('', text[1:-1])}}}"
    line = printable.one_line(text).replace("`", "")
    escaped = "".join(_ESCAPED.get(letter, letter) for letter in line)
    return f"{{{escaped}}}" if name == "title" else escaped
