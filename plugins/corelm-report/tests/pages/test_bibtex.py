"""What to cite for a report: the samplers, the figures, corelm itself."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from documents import hostile, typed

import corelm
from corelm.registry.offers import citation_of
from corelm.registry.registry import registry
from corelm.testing import ToyModel
from corelm_pages.bibtex import entries_of, to_bibtex

ROOT = Path(__file__).parents[4]


def parsed(text: str) -> dict[str, dict[str, str]]:
    """Parse BibTeX: the fields of each entry by its key. Anything that is not BibTeX raises."""
    found: dict[str, dict[str, str]] = {}
    at = 0
    while (start := text.find("@", at)) >= 0:
        assert all(line.startswith("%") for line in text[at:start].split("\n") if line)
        key = re.compile(r"@[a-z]+\{([a-z0-9]+),\n").match(text, start)[1]
        at = text.index("\n", start) + 1
        fields: dict[str, str] = {}
        while text[at] != "}":
            name = re.compile(r"  ([a-z]+) = \{").match(text, at)
            end, depth = name.end(), 1
            while depth:
                depth += {"{": 1, "}": -1}.get(text[end], 0)
                end += 1
            fields[name[1]] = text[name.end() : end - 1]
            at = end + len(",\n") if text[end] == "," else end + 1
        at += 1
        assert key not in found
        assert fields
        found[key] = fields
    assert not text[at:].strip()
    return found


@pytest.fixture(scope="module")
def report() -> corelm.Report:
    pytest.importorskip("corelm_min_k", reason="pip install ./plugins/corelm-min-k")
    samplers = ["top_p(p=0.9) | temperature(t=0.7)", "min_p(p=0.1)", "xtc", "min_k",
                "schedule(first=typical(p=0.5), last=greedy, over=5)", "greedy"]  # fmt: skip
    people = ["the cat sat on the mat", "a dog ran"]
    return corelm.compare(
        ToyModel(), samplers, prompts="the", n=3, length=8, reference=people, metrics=["mattr"]
    )


def test_every_method_of_the_report_has_its_entry_once(report):
    found = parsed(report.bibtex)
    assert list(found)[:2] == ["corelm", "holtzman2019curious"]
    assert found["holtzman2019curious"] == {
        "author": "Holtzman, Ari and Buys, Jan and Du, Li and Forbes, Maxwell and Choi, Yejin",
        "title": "{The Curious Case of Neural Text Degeneration}",
        "booktitle": "International Conference on Learning Representations",
        "year": "2020",
        "eprint": "1904.09751",
        "archiveprefix": "arXiv",
    }
    assert "nguyen2024turning" in found
    assert found["pew2024exclude"]["author"] == "p-e-w"
    assert found["ding2026min"]["eprint"] == "2604.11012"  # a plugin's
    assert found["meister2022locally"]["author"] == (
        "Meister, Clara and Pimentel, Tiago and Wiher, Gian and Cotterell, Ryan"
    )
    assert "@article{meister2022locally," in report.bibtex
    assert "@misc{ding2026min," in report.bibtex  # not in works.bib
    assert found["covington2010cutting"]["doi"] == "10.1080/09296171003643098"
    for key in ("shannon1948mathematical", "li2016diversity", "zhu2018texygen",
                "lin1991divergence", "kullback1951information", "hall1992removal",
                "meister2023efficacy"):  # fmt: skip
        assert key in found
    assert sum("Holtzman" in fields.get("author", "") for fields in found.values()) == 1


def test_an_entry_says_what_it_is_cited_for(report):
    before, _, _ = report.bibtex.partition("@inproceedings{holtzman2019curious")
    assert before.splitlines()[-1] == "% top_p, loops, zipf"


def test_figures_that_were_not_measured_are_not_cited():
    report = corelm.compare(ToyModel(), ["greedy"], prompts="the", n=1, length=4)
    assert "meister2023efficacy" not in parsed(report.bibtex)
    assert "zhu2018texygen" not in parsed(report.bibtex)  # of one text there is no self-BLEU


def test_an_earlier_report_cites_what_it_can(report):
    document = report.to_dict()
    del document["header"]["sources"]
    first, *others = document["samplers"]
    for stage in first["stages"]:
        del stage["sources"]
    for row in others:
        del row["stages"]
    assert list(parsed(to_bibtex(typed(document)))) == ["corelm", "covington2010cutting"]


def test_works_that_are_named_twice_and_sources_without_a_work(report):
    document = report.to_dict()
    document["samplers"][2]["stages"][0]["sources"] = [
        "A 2025, One, arXiv 2501.00000.", "A and B 2025, One, arXiv 2501.00000.", "Here.", "There.",
    ]  # fmt: skip
    found = parsed(to_bibtex(typed(document)))
    assert [each["author"] for each in found.values() if each.get("title") == "{One}"] == ["A"]
    assert found["xtc"] == {"title": "{Here}", "note": "Source of xtc"}
    assert found["xtca"] == {"title": "{There}", "note": "Source of xtc"}


@pytest.mark.parametrize(
    ("source", "entries"),
    [
        ("OpenAI, API reference, `frequency_penalty` (from -2 to 2).", [("", "")]),
        ("Basu et al. 2020, Mirostat, arXiv 2007.14966; version 2.", [("2021", "2007.14966")]),
        ("with a power: Wu et al. 2016, A system, arXiv 1609.08144, there other.",
         [("2016", "1609.08144")]),
        ("A and B 1999, One. With remarks; C 2001, Two, doi 10.1000/182.", [("1999", ""),
         ("2001", "")]),
        ("A 2025, One, arXiv 2501.00000; B et al. 1953; C 1970.", [("2025", "2501.00000")]),
    ],
)  # fmt: skip
def test_sources_become_entries(source, entries):
    fields = list(parsed("\n".join(entries_of(source, "x"))).values())
    assert [(each.get("year", ""), each.get("eprint", "")) for each in fields] == entries
    assert all(each["title"] for each in fields)


def test_every_strategy_that_names_a_source_gets_a_valid_entry():
    offers = [*registry().offers("corelm_samplers"), *registry().offers("corelm_decoders")]
    named = {o.name: source for o in offers if (source := citation_of(o.value))}
    assert len(named) > 20
    for name, source in named.items():
        for entry in entries_of(source, name):
            [(key, fields)] = parsed(entry).items()
            assert key
            assert len(fields) >= 2, name


REQUIRED = {
    "article": {"author", "title", "journal", "year"},
    "book": {"author", "title", "publisher", "year"},
    "inproceedings": {"author", "title", "booktitle", "year"},
    "misc": {"author", "title", "year"},
}


@pytest.mark.packages
def test_published_works_have_what_their_type_needs_and_are_cited():
    package = ROOT / "plugins" / "corelm-report" / "corelm_pages"
    text = (package / "works.bib").read_text(encoding="utf-8")
    places = [*ROOT.glob("samplers/*.py"), *ROOT.glob("plugins/**/*.py"),
              *ROOT.glob("corelm/**/*.py")]  # fmt: skip
    cited = " ".join(" ".join(file.read_text(encoding="utf-8").split()) for file in places).lower()
    for key, work in parsed(text).items():
        kind = re.search(rf"@(\w+){{{key},", text)[1]
        assert REQUIRED[kind] <= work.keys(), key
        # Student is the whole name.
        assert all(", " in each or each == "Student" for each in work["author"].split(" and ")), key
        names = (work.get("eprint"), work.get("doi"), work["title"].strip("{}"))
        assert any(name and name.replace("\\", "").lower() in cited for name in names), key


def test_malicious_sources_stay_text(made):
    evil: dict[str, Any] = hostile(made)
    found = parsed(to_bibtex(typed(evil)))
    assert len(found) > 1
    for fields in found.values():
        for text in fields.values():
            assert not re.search(r"(?<!\\)[&%$#_]|\\[a-z]|[\x00-\x1f]", text)


def test_citation_cff_and_the_package_say_the_same():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "docs" / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert citation["message"]
    assert citation["abstract"] == project["description"]
    assert citation["authors"] == project["authors"]
    for key, name in (("title", "name"), ("version", "version"), ("license", "license"),
                      ("keywords", "keywords")):  # fmt: skip
        assert citation[key] == project[name]
