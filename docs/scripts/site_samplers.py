"""Make a page for each of corelm's samplers when the site is built: a hook of MkDocs.

The page is made from the class: its definition, its effect on one distribution of the shipped
model, its parameters, its names in the settings of engines, and its source.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from corelm_presets.engine_settings.convert import ENGINES
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

import corelm
from corelm.cli.output import describe
from corelm.registry.loading import OWN
from corelm.registry.offers import Offer
from corelm.registry.registry import registry

LIST = "reference/samplers.md"
ROW = re.compile(r"^\| `((?:[^`|]|\\\|)*?(\w+)(?:\([^`|]*\))?)` \|", re.MULTILINE)
"""A row of the table: the last sampler of an expression has the name."""
PROMPT = "The movie is good. The movie is"
FOUND_FIRST = "---\nsearch:\n  boost: 10\n---\n"


def on_files(files: Files, *, config: MkDocsConfig) -> None:
    """Add the pages to a site that has the list of samplers."""
    if files.get_file_from_path(LIST) is None:
        return
    model = corelm.load("imdb")
    tokens = model.vocabulary.encode(PROMPT)
    logits = model.start([tokens]).next_logits()[0]
    for offer in registry().offers("corelm_samplers"):
        if offer.source.distribution == OWN:
            content = FOUND_FIRST + "\n".join(page_of(offer, model, logits, tokens)) + "\n"
            name, place = page_uri(offer.name), InclusionLevel.NOT_IN_NAV
            files.append(File.generated(config, name, content=content, inclusion=place))


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let the names in the list lead to the pages."""
    if page.file.src_uri != LIST:
        return markdown
    return ROW.sub(r"| [`\1`](samplers/\2.md) |", markdown)


def page_uri(name: str) -> str:
    """Return the source of a sampler's page."""
    return f"reference/samplers/{name}.md"


def page_of(
    offer: Offer, model: corelm.LanguageModel, logits: Any, tokens: list[int]
) -> Iterator[str]:
    """Yield the parts of the page of a sampler."""
    about = describe.as_json(offer.name, offer, whole=True)
    title = offer.name.replace("_", " ").capitalize()
    yield f"# {title}: `{offer.name}`\n\n{about['definition']}\n"
    yield from _effect(offer, model, logits, tokens)
    if about["parameters"]:
        yield "\n## Parameters\n\n| parameter | default | allowed | meaning |\n|---|---|---|---|"
    for each in about["parameters"]:
        names = ", ".join(f"`{name}`" for name in (each["name"], *each["aliases"]))
        yield _row(names, f"`{each['default']}`", each["rule"], each["help"])
    yield from _engines(offer.name)
    yield f"\n## Source\n\n{about['source'] or 'None.'}\n"
    related = ", ".join(f"[`{name}`]({name}.md)" for name in describe.related(offer.value))
    if related:
        yield f"Related: {related}.\n"
    module = about["plugin"]["module"].rpartition(".")[2]
    yield f"In the code: [`samplers/{module}.py`](../../../samplers/{module}.py).\n"


def _effect(
    offer: Offer, model: corelm.LanguageModel, logits: Any, tokens: list[int]
) -> Iterator[str]:
    """Yield the likeliest words of one place in a text, before and after the sampler."""
    sampler = describe.example(offer.value, offer.name)
    context = corelm.Context.of(tokens, vocabulary=model.vocabulary)
    before, after = corelm.softmax(np.stack([logits, sampler(logits[None], context)[0]]))
    yield f"\n## What it does\n\n`{sampler}` on the next word of the model `imdb`,"
    yield f"after *{PROMPT}*:\n"
    yield "| word | model | sampler | |\n|---|---:|---:|---|"
    for i in np.argsort(-np.maximum(before, after), kind="stable")[:8]:
        word = model.vocabulary.decode([int(i)])
        bar = "█" * round(40 * float(after[i]))
        yield _row(f"`{word.strip()}`", f"{before[i]:.1%}", f"{after[i]:.1%}", bar)
    entropies = (f"{corelm.entropy(p):.2f}" for p in (before, after))
    yield _row("entropy, nats", *entropies, "")


def _engines(name: str) -> Iterator[str]:
    """Yield the keys of the sampler in the settings of engines."""
    rows = []
    for engine in ENGINES.values():
        keys = [key for each in engine.settings if each.sampler == name for key in each.keys]
        if keys:
            joined = ", ".join(f"`{key}`" for key in dict.fromkeys(keys))
            rows.append(_row(engine.name, joined))
    if rows:
        yield "\n## In other engines\n\n| engine | settings |\n|---|---|"
        yield from rows
        yield "\nSome engines [differ in details](../../how-to/where-engines-differ.md).\n"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
