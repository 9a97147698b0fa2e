"""The table of a paper: whole, harmless, and accepted by TeX."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from documents import BACKWARDS, EVIL, TEXTS, compare, report_of

import corelm
from corelm.testing import ToyModel

MINIMAL = r"""\documentclass[twocolumn]{article}
\usepackage[T1]{fontenc}
\usepackage{booktabs}
\begin{document}
%s
\end{document}
"""
COMMANDS = {
    "begin", "end", "centering", "caption", "label", "toprule", "midrule", "bottomrule", "texttt",
    "multicolumn", "dagger", "textbackslash", "textasciitilde", "textasciicircum", "textbar",
    "textless", "textgreater", "textquotedbl", "textasciigrave", "textquotesingle", "infty",
    "times", "dots", "pm", "usepackage", "footnotesize", "setlength", "tabcolsep",
}  # fmt: skip
"""Every command that a table may have."""
LETTERS = "".join(map(chr, range(32, 127))) + "éßŁ−∞–—×±…中\u202e😀"  # noqa: RUF001


@pytest.fixture(scope="module")
def report():
    """With human text, several seeds, a chain, and a sampler that no one can tell from another."""
    return compare(
        ["greedy", "top_k(k=3) | temperature(t=0.9)", "temperature(t=0.95)"],
        n=6, seeds=[1, 2], reference=[f"{a} {b}" for a in TEXTS for b in TEXTS],
    )  # fmt: skip


def rows(table: str) -> list[str]:
    body = table.split(r"\toprule")[1].split(r"\bottomrule")[0]
    return [line for line in body.splitlines() if line.endswith(r"\\")]


def check(table: str) -> None:
    """Check that rows have equally many cells, brackets close, and no other command is there."""
    columns = len(re.search(r"\\begin\{tabular\}\{(l r*|lr*)\}", table)[1])
    for row in rows(table):
        wide = re.search(r"\\multicolumn\{(\d+)\}", row)
        cells = len(re.findall(r"(?<!\\)&", row)) + 1
        assert cells + (int(wide[1]) - 1 if wide else 0) == columns
    assert set(re.findall(r"\\([a-zA-Z]+)", table)) <= COMMANDS
    plain = re.sub(r"\\[&%$#_{}\\]", "", table)
    assert plain.count("{") == plain.count("}")
    assert plain.count("$") % 2 == 0
    assert not re.search(r"(?<!\\)#", table)


def test_a_table_has_every_entry_with_its_intervals(report):
    table = report_of(report).to_latex()
    check(table)
    assert len(rows(table)) == 1 + 1 + 3
    assert rows(table)[1].startswith("human & ")
    assert rows(table)[2].startswith(r"\texttt{greedy}")
    low, high = report["samplers"][2]["generated_texts"]["ci95"]["surprisal"]
    assert f"{low:.1f}" in rows(table)[4]
    assert f"{high:.1f}" in rows(table)[4]


def of_many_texts(report):
    """The same report, as if it were over 32 texts, which statements need."""
    many = {"units": 32, "n": 32}
    for row in (report["reference"], *report["samplers"]):
        row["generated_texts"] = row["generated_texts"] and row["generated_texts"] | many
    return report_of(report)


def test_the_caption_is_one_sentence(report):
    assert "dagger" not in report_of(report).to_latex()
    table = of_many_texts(report).to_latex()
    caption = re.search(r"\\caption\{(.*)\}$", table, re.MULTILINE)[1]
    assert caption == (
        r"Samplers on ToyModel, from 12 texts of at most 8 tokens each, with 95\% intervals; "
        r"$^{\dagger}$ cannot be told from the closest to human text at 99\%."
    )
    # What it meant in several sentences is above the table, for the text of the paper.
    assert "% entropy: how random the next token is" in table


def test_labels_are_unique_and_can_be_chosen(report):
    other = compare(["greedy"])
    labels = {
        re.search(r"\\label\{(.*)\}", report_of(each).to_latex())[1] for each in (report, other)
    }
    assert len(labels) == 2
    assert all(label.startswith("tab:ToyModel-") for label in labels)
    assert r"\label{tab:mine}" in report_of(other).to_latex("tab:mine")
    assert r"\label{a-input}" in report_of(other).to_latex(r"a}\input{")


def test_the_confidence_set_is_marked(report):
    marked = [row for row in rows(of_many_texts(report).to_latex()) if r"$^{\dagger}$" in row]
    assert [any(name in row.replace("\\_", "_") for row in marked) for name in report["closest"]]
    assert len(marked) == len([name for name in report["closest"] if name != "human"]) > 0


def test_a_sampler_that_failed_has_its_reason():
    document = compare(["greedy", "uniform"])
    message = '50 % of {it} & #1, "a" and ("b") a_b^2 ~ 中'
    document["samplers"][1] |= {"error": {"type": "E", "message": message},
                                "teacher_forced": None, "generated_texts": None}  # fmt: skip
    table = report_of(document).to_latex()
    check(table)
    assert (
        r"{failed: 50 \% of \{it\} \& \#1, {``}a{''} and ({``}b{''}) "
        r"a\_b\textasciicircum{}2 \textasciitilde{} [U+4E2D]}"
    ) in table


@pytest.mark.parametrize("name", [EVIL, BACKWARDS, LETTERS, r"\input{/etc/passwd}", "^^41"])
def test_no_name_is_a_command(name):
    document = compare(["greedy"])
    document["samplers"][0]["sampler"] = name
    check(report_of(document).to_latex())


def test_it_is_as_wide_as_a_page():
    """With decoders, targets and differences there are 11 columns; the most important ones stay."""
    pytest.importorskip("corelm_beam", reason="pip install ./plugins/corelm-beam")
    document = compare(
        ["top_p(p=0.9)", "typical", "beam(width=2)"], match="entropy=0.5", against="top_p(p=0.9)",
        n=8, seeds=[1, 2], reference=[f"{a} {b}" for a in TEXTS for b in TEXTS],
    )  # fmt: skip
    table = report_of(document).to_latex()
    check(table)
    cells = [re.split(r" (?<!\\)& ", row.removesuffix(r" \\")) for row in rows(table)]
    plain = [[re.sub(r"\\texttt|\$\^.*?\$|[{}\\]", "", each) for each in row] for row in cells]
    widths = [
        max(len(each.replace("--", "-").replace("$pm$", "+")) for each in column)
        for column in zip(*plain, strict=True)
    ]
    assert sum(widths) + 2 * (len(widths) - 1) <= 95
    assert cells[0][:3] == ["sampler", "entropy", "surprisal"]
    assert "seeds" not in "".join(rows(table))


@pytest.mark.parametrize("engine", ["pdflatex", "tectonic", "lualatex", "xelatex"])
def test_tex_accepts_it(engine: str, report, tmp_path: Path):
    if not shutil.which(engine):
        pytest.skip(f"{engine} is not installed")
    hostile = compare(["greedy"])
    hostile["samplers"][0]["sampler"] = LETTERS
    tables = [report_of(each).to_latex() for each in (report, hostile)]
    (tmp_path / "paper.tex").write_text(MINIMAL % "\n".join(tables), encoding="utf-8")
    options = [] if engine == "tectonic" else ["-halt-on-error", "-interaction=nonstopmode"]
    done = subprocess.run([engine, *options, "paper.tex"], cwd=tmp_path, capture_output=True)
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]
    assert (tmp_path / "paper.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.slow
def test_a_table_compiles_in_a_paper(tmp_path):
    """With pdfTeX, the label chosen and referred to, and the methods cited with BibTeX."""
    if shutil.which("pdflatex") is None or shutil.which("bibtex") is None:
        pytest.skip("pdflatex and bibtex are not installed")
    report = corelm.compare(ToyModel(), ["greedy", "top_p(p=0.9)"], prompts="the", n=16, length=8)
    (tmp_path / "table.tex").write_text(report.to_latex(label="tab:mine"))
    (tmp_path / "refs.bib").write_text(report.bibtex)
    (tmp_path / "paper.tex").write_text(PAPER)
    for command in (LATEX, ("bibtex", "paper"), LATEX, LATEX):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout[-2000:]
    assert "undefined" not in done.stdout
    assert (tmp_path / "paper.pdf").read_bytes().startswith(b"%PDF")


LATEX = ("pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex")
PAPER = r"""
\documentclass[twocolumn]{article}
\usepackage{booktabs}
\usepackage[T1]{fontenc}
\begin{document}
Table~\ref{tab:mine} compares samplers. \nocite{*}
\input{table.tex}
\bibliographystyle{plain}
\bibliography{refs}
\end{document}
"""
