"""The page of a study from plan to paper, command by command, with a toy model and tiny sizes."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[4] / "docs/how-to/from-plan-to-paper.md"
TINY = {
    'models = ["imdb", "gpt2"]': 'models = ["toy"]',
    "entropy=2.8": "entropy=1",
    "length = 40": "length = 6",
    "contexts = 32": "contexts = 4",
    "< 0.05": "< 1.5",
}
LATEX = ["-interaction=nonstopmode", "-halt-on-error"]


def commands(text):
    """Yield the commands of the page's consoles."""
    for console in re.findall(r"```console\n(.*?)```", text, re.S):
        for line in console.splitlines():
            if line.startswith("$ "):
                yield shlex.split(line.removeprefix("$ ").partition(" > ")[0])


@pytest.mark.slow
def test_the_page_leads_from_a_plan_to_a_paper(run, tmp_path, monkeypatch):
    monkeypatch.setenv("CORELM_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text("utf-8")
    for name, content in re.findall(r'```\w+ title="(.+?)"\n(.*?)```', text, re.S):
        for before, after in TINY.items():
            assert name != "study.toml" or before in content
            content = content.replace(before, after)
        content = re.sub(r"/(imdb|gpt2)/", "/toy/", content)
        Path(name).write_text(content, "utf-8")
    said = ""
    for program, *arguments in commands(text):
        if program == "corelm":
            done = run(*arguments)
            assert done.code == 0, done.err
            said += done.out + done.err
        elif program == "python":
            subprocess.run([sys.executable, *arguments], check=True)
        elif shutil.which("pdflatex") and shutil.which("bibtex"):
            options = LATEX if program == "pdflatex" else []
            made = subprocess.run([program, *options, *arguments], capture_output=True, text=True)
            assert made.returncode == 0, made.stdout[-2000:]
            assert Path("paper.pdf").read_bytes().startswith(b"%PDF")
    for sentence in (
        "the cheapest design is",
        "Registered in results/registration.json",
        "width(diversity.difference) < 1.5: reached",
        "As registered on",
        "pairs written to pairs.csv",
    ):
        assert sentence in said
    # The model is wrong in every fifth pair.
    agreement = float(re.search(r"agrees with people\s+in\s+([\d.]+)", said)[1])
    assert 60 < agreement < 95


def test_a_condition_is_checked_with_the_file(run, tmp_path):
    file = tmp_path / "study.toml"
    for condition, more, message in (
        ("width(x) < 1", "", "line 2: until must be a condition"),
        ("width(surprisal) < 1", '\n[write]\nforms = ["p_values"]', "leave out until, or p_values"),
    ):
        file.write_text(f'samplers = ["greedy"]\nuntil = "{condition}"{more}')
        done = run("study", "run", str(file))
        assert (done.code, message in done.err) == (2, True)
