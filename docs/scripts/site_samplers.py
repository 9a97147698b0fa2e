"""Make a page for each of corelm's samplers when the site is built: a hook of MkDocs.

The page is made from the class: its definition, its effect on one distribution of the shipped
model and on one of SmolLM2, its parameters, its names in the settings of engines, and its source.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from corelm_presets.engine_settings.convert import ENGINES
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

import corelm
from corelm.cli.output import describe
from corelm.cli.output.words import visible
from corelm.registry.loading import OWN
from corelm.registry.offers import Offer
from corelm.registry.registry import registry

LIST = "reference/samplers.md"
ROW = re.compile(r"^\| `((?:[^`|]|\\\|)*?(\w+)(?:\([^`|]*\))?)` \|", re.MULTILINE)
"""A row of the table: the last sampler of an expression has the name."""
PROMPTS = {
    "imdb": "The movie is good. The movie is",
    "smollm2": "The weather is good. The weather is",
}
FOUND_FIRST = "---\nsearch:\n  boost: 10\n---\n"


def on_files(files: Files, *, config: MkDocsConfig) -> None:
    """Add the pages to a site that has the list of samplers."""
    if files.get_file_from_path(LIST) is None:
        return
    models = {name: corelm.load(name) for name in PROMPTS}
    for offer in registry().offers("corelm_samplers"):
        if offer.source.distribution == OWN:
            content = FOUND_FIRST + "\n".join(page_of(offer, models)) + "\n"
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


def page_of(offer: Offer, models: Mapping[str, corelm.LanguageModel]) -> Iterator[str]:
    """Yield the parts of the page of a sampler."""
    about = describe.as_json(offer.name, offer, whole=True)
    title = offer.name.replace("_", " ").capitalize()
    yield f"# {title}: `{offer.name}`\n\n{about['definition']}\n"
    sampler = describe.example(offer.value, offer.name)
    yield "\n## What it does"
    for name, model in models.items():
        yield f"\n`{sampler}` on the next token of the model `{name}`, after *{PROMPTS[name]}*:\n"
        yield from _effect(corelm.explain(model, PROMPTS[name], sampler))
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


def _effect(explanation: corelm.Explanation) -> Iterator[str]:
    """Yield the likeliest tokens of one place in a text, before and after the sampler."""
    yield "| token | model | sampler | |\n|---|---:|---:|---|"
    for token in explanation.likeliest(5):
        before, after = token.probabilities[0], token.probabilities[-1]
        bar = "█" * round(40 * after)
        yield _row(f"`{visible(token.text)}`", f"{before:.1%}", f"{after:.1%}", bar)
    first, *_, last = explanation.stages
    yield _row("entropy, nats", f"{first.entropy:.2f}", f"{last.entropy:.2f}", "")


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
