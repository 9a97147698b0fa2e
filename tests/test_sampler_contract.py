"""Five plugins that were written from docs/reference/sampler-contract.md alone, and its own."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import numpy as np

from corelm import Coin, Mask, Sampler, Switch, entropy, filters, mask_logits, param, softmax
from corelm.errors import ParameterError
from corelm.testing import LAWS, ToyModel, obeys_the_laws

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "sampler-contract.md"


class ShareOfEntropy(Sampler):
    """Keep the tokens whose surprisal is at most some times the entropy of the row."""

    kind = "filter"
    reads = frozenset()
    is_argmax_invariant = True
    times: float = param(4.0, "times the entropy", ge=1, lt=np.inf)

    def __call__(self, logits, context):
        p = softmax(logits)
        stays = p >= np.exp(-self.times * entropy(p)[:, None])
        return mask_logits(logits, stays | (p == p.max(axis=-1, keepdims=True)))


class Fatigue(Sampler):
    """Lower each token by its share of the last tokens."""

    kind = "penalty"
    neutral = {"nats": 0.0}
    reads = frozenset({"tokens"})
    nats: float = param(0.0, "nats for a token that is all of the past", ge=0)
    last: int = param(16, "tokens that count", ge=1)

    def __post_init__(self):
        super().__post_init__()
        if self.nats > 100 * self.last:
            raise ParameterError(f"nats is {self.nats}, more than 100 for each of `last` tokens")

    def __call__(self, logits, context):
        past = context.past(last=self.last)
        rows, ids, counts = filters.token_counts(past, logits.shape[-1])
        share = self.nats * counts / max(past.shape[1], 1)
        return filters.change_logits(logits, rows, ids, subtract=share)


class NoEcho(Mask):
    """Rule out the last token of the text."""

    reads = frozenset({"tokens"})

    def allowed(self, context):
        if not context.tokens.shape[1]:
            return None
        possible = np.ones((context.batch, context.vocabulary_size), dtype=bool)
        possible[np.arange(context.batch), context.tokens[:, -1]] = False
        return possible


class Surprise(Coin):
    """With a probability, leave the likeliest tokens out."""

    reads = frozenset()
    share: float = param(0.0, "how often", ge=0, le=1)

    def toss(self, logits, context):
        p = softmax(logits)
        stays = (p > 0) & (p < p.max(axis=-1, keepdims=True))
        unlikely = mask_logits(logits, stays | ~stays.any(axis=-1, keepdims=True))
        return np.full(len(logits), self.share), unlikely, logits


class Alternate(Switch):
    """Let one sampler act at even positions, and another at odd ones."""

    reads = frozenset({"position"})
    even: Sampler = param(ShareOfEntropy(), "acts at positions 0, 2, ...")
    odd: Sampler = param(ShareOfEntropy(times=1.0), "acts at positions 1, 3, ...")

    def choose(self, context):
        return [self.odd if context.position % 2 else self.even] * context.batch


FIVE = (
    *(ShareOfEntropy(), ShareOfEntropy(times=1.0), Fatigue(), Fatigue(nats=3.0, last=4)),
    *(NoEcho(), Surprise(), Surprise(share=0.5), Alternate()),
)


@obeys_the_laws(*FIVE, vocabulary=ToyModel().vocabulary)
def test_five_plugins_obey_the_laws(sampler, law):
    law(sampler)


def test_the_plugin_on_the_page_obeys_them_too() -> None:
    [program] = re.findall(r"```python [^\n]*\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    names: dict[str, Any] = {"__name__": __name__}
    exec(program, names)
    [spread] = names["corelm_samplers"]().values()
    for law in LAWS["sampler"]:
        for width in (np.inf, 2.0, 0.0):
            law(spread(width=width))


def test_the_page_has_every_name_that_they_use() -> None:
    page, tree = PAGE.read_text("utf-8"), ast.parse(Path(__file__).read_text("utf-8"))
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    names = {
        a.name for node in imports if node.module in ("corelm", "corelm.errors") for a in node.names
    }
    classes = "\n".join(ast.unparse(node) for node in tree.body if isinstance(node, ast.ClassDef))
    names.update(re.findall(r"(?:context|filters)\.(\w+)", classes))
    assert len(names) > 10
    assert sorted(name for name in names if name not in page) == []
