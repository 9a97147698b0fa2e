"""Write the table of samplers, with their entropy on the shipped model, into reference/samplers.md.

python docs/scripts/entropy_table.py            write the table
python docs/scripts/entropy_table.py --check    fail if the table has changed
"""

from __future__ import annotations

import os
import re
import runpy
import sys
from pathlib import Path

os.environ["CORELM_PLUGINS"] = ""  # corelm's own samplers alone

import numpy as np

import corelm
from corelm.registry.loading import OWN
from corelm.registry.registry import registry

ROOT = Path(__file__).resolve().parents[2]
PAGE, TESTS = ROOT / "docs" / "reference" / "samplers.md", ROOT / "tests" / "samplers"
TABLE = re.compile(r"(<!-- entropy table: [^\n]* -->\n).*(<!-- end of the entropy table -->)", re.S)
NUMBER = re.compile(r"\d+\.\d+")

CHOSEN = (
    "greedy",
    "temperature(t=0.2)",
    "temperature(t=0.5)",
    "temperature(t=0.7)",
    "stochastic",
    "temperature(t=1.5)",
    "uniform",
    "top_k(k=40)",
    "top_p(p=0.9)",
    "min_p(p=0.05)",
    "typical(p=0.9)",
    "epsilon(epsilon=0.001)",
    "eta(epsilon=0.001)",
    "top_n_sigma(n=1.0)",
    "top_h(h=0.4)",
    "top_a(a=0.2)",
    "tail_free(z=0.95)",
    "xtc(probability=0.5)",
    "dynamic_temperature(t_min=0.5, t_max=1.0)",
    "edt(t=1.0, theta=0.5)",
    "quadratic(factor=0.3)",
    "mirostat(tau=5.0)",
    "min_p(p=0.05) | adaptive_p(target=0.3)",  # after a filter, as its author uses it
    "repetition_penalty(penalty=1.2)",
    "presence_penalty(penalty=0.5)",
    "frequency_penalty(penalty=0.5)",
    "dry(multiplier=0.8)",
    "no_repeat_ngram(n=3)",
    "logit_bias(bias={'movie': 2.0})",
    "ban(words=('movie', 'film'))",
    "min_length(n=20)",
    "length_bias(weight=0.1)",
    "force(words=('of', 'course'), at=5)",
    "phase(start='(', end=')', inside=greedy)",
    "schedule(first=temperature(t=0.3), last=temperature(t=1.2), over=50)",
)
PROMPT, TEXTS, LENGTH, SEED = "This movie", 16, 50, 1
TOLERANCE = 0.05
"""Nats. Another build may round differently, and then a word differs now and then."""


def missing() -> set[str]:
    """Return the names of corelm's samplers that `CHOSEN` leaves out."""
    chosen = {stage.name for expression in CHOSEN for stage in corelm.sampler(expression).stages}
    return {
        o.name for o in registry().offers("corelm_samplers") if o.source.distribution == OWN
    } - chosen


def example(name: str) -> str:
    """Return the example of a sampler in the tests; by default, its name alone."""
    return runpy.run_path(str(TESTS / "sampler_examples.py"))["EXAMPLES"].get(name, name)


def measured(model: corelm.LanguageModel, sampler: str) -> tuple[float, float]:
    """Return the mean entropy and the mean surprisal of the tokens of a sampler's texts."""
    texts = corelm.generate(model, PROMPT, sampler=sampler, length=LENGTH, n=TEXTS, seed=SEED)
    drawn = [step for text in texts for step in text.steps]
    entropies = [step.entropy for step in drawn]
    return float(np.mean(entropies)), float(np.mean([step.model_surprisal for step in drawn]))


def table() -> str:
    """Return the table in Markdown."""
    model = corelm.load("imdb")
    rows = [
        "| sampler | what it does | entropy | surprisal |",
        "|---|---|---:|---:|",
    ]
    for expression in (*CHOSEN, *map(example, sorted(missing()))):
        does = corelm.sampler(expression).stages[-1].description()
        entropy, surprisal = measured(model, expression)
        cell = expression.replace("|", "\\|")
        rows.append(f"| `{cell}` | {does} | {entropy:.2f} | {surprisal:.2f} |")
    how = (
        "Entropy of the distribution drawn from and surprisal under the model, in nats: means over "
        f"the tokens of {TEXTS} texts of at most {LENGTH} tokens by the model `imdb`, "
        f'prompt "{PROMPT}", seed {SEED}.'
    )
    return "\n".join(["", *rows, "", how, "", ""])


def agree(page: str, now: str) -> bool:
    """Return True if two tables are equal within the tolerance."""
    pairs = zip(NUMBER.findall(page), NUMBER.findall(now), strict=False)
    near = all(abs(float(a) - float(b)) <= TOLERANCE for a, b in pairs)
    return near and NUMBER.sub("", page) == NUMBER.sub("", now)


def main() -> int:
    """Run the command line."""
    before = PAGE.read_text("utf-8")
    after = TABLE.sub(lambda match: match[1] + table() + match[2], before)
    if "--check" not in sys.argv:
        PAGE.write_text(after, "utf-8")
        return 0
    if agree(before, after):
        return 0
    print("the table in reference/samplers.md is out of date; write it with this script")
    return 1


if __name__ == "__main__":
    sys.exit(main())
