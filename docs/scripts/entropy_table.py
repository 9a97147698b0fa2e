"""Write the table of samplers, with their entropy on the shipped model, into README.md.

python docs/scripts/entropy_table.py            write the table
python docs/scripts/entropy_table.py --check    fail when it says something else
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

os.environ["CORELM_PLUGINS"] = ""  # corelm's own samplers alone

import numpy as np

import corelm
from corelm.cli.describe import example_expression
from corelm.plugins import OWN, registry

README = Path(__file__).resolve().parents[2] / "README.md"
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
)
PROMPT, TEXTS, LENGTH, SEED = "This movie", 16, 50, 1
TOLERANCE = 0.05
"""Nats: another processor rounds otherwise, and then now and then a word is another one."""


def expressions() -> list[str]:
    """What the table has: those chosen above, and the example of every other sampler."""
    shown = {corelm.sampler(expression).name for expression in CHOSEN}
    others = [o for o in registry().samplers() if o.source.distribution == OWN]
    return [
        *CHOSEN,
        *(example_expression(o.value, o.name) for o in others if o.name not in shown),
    ]


def measured(model: corelm.LanguageModel, sampler: str) -> tuple[float, float]:
    """Mean entropy drawn from, and mean surprisal to the model, of the tokens of its texts."""
    texts = corelm.generate(model, PROMPT, sampler=sampler, length=LENGTH, n=TEXTS, seed=SEED)
    drawn = [step for text in texts for step in text.steps]
    entropies = [step.entropy for step in drawn]
    return float(np.mean(entropies)), float(np.mean([step.model_surprisal for step in drawn]))


def table() -> str:
    """The table in Markdown."""
    model = corelm.load("imdb")
    rows = [
        "| sampler | what it does | entropy drawn from | surprisal of its texts to the model |",
        "|---|---|---:|---:|",
    ]
    for expression in expressions():
        does = corelm.sampler(expression).description()
        entropy, surprisal = measured(model, expression)
        rows.append(f"| `{expression}` | {does} | {entropy:.2f} | {surprisal:.2f} |")
    how = (
        f"Nats, means over the tokens of {TEXTS} texts of at most {LENGTH} tokens by the shipped "
        f'model, prompt "{PROMPT}", seed {SEED}.'
    )
    return "\n".join(["", *rows, "", how, "", ""])


def agree(said: str, now: str) -> bool:
    """Whether two tables say the same, to the tolerance."""
    pairs = zip(NUMBER.findall(said), NUMBER.findall(now), strict=False)
    near = all(abs(float(a) - float(b)) <= TOLERANCE for a, b in pairs)
    return near and NUMBER.sub("", said) == NUMBER.sub("", now)


def main() -> int:
    """The command line."""
    before = README.read_text("utf-8")
    after = TABLE.sub(lambda match: match[1] + table() + match[2], before)
    if "--check" not in sys.argv:
        README.write_text(after, "utf-8")
        return 0
    if agree(before, after):
        return 0
    print("the table in README.md says something else; write it with this script")
    return 1


if __name__ == "__main__":
    sys.exit(main())
