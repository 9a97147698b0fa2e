"""Write `llms.txt` and `llms-full.txt` with the site, for programs that read it: a hook of MkDocs.

The first lists the pages with their first sentences, the second has the pages in Markdown.
See https://llmstxt.org.
"""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.nav import Navigation

SENTENCE = re.compile(r"^(?=[A-Z`*\[])(.+?[.?])(?:\s|$)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_pages: list = []


def on_nav(nav: Navigation, *, config: MkDocsConfig, files: Files) -> None:
    """Take the pages in the order of the navigation, then the samplers' own."""
    own = [file.page for file in files if file.src_uri.startswith("reference/samplers/")]
    _pages[:] = [*nav.pages, *own]


def on_post_build(*, config: MkDocsConfig) -> None:
    """Write the two files."""
    lines, texts = [], []
    for page in _pages:
        text = page.markdown or ""
        first = SENTENCE.search(text.partition("\n")[2])
        about = LINK.sub(r"\1", " ".join(first[1].split())) if first else page.title
        lines.append(f"- [{page.title}]({page.url}): {about}\n")
        texts.append(f"{text.strip()}\n")
    head = f"# {config.site_name}\n\n> {config.site_description}\n\n"
    folder = Path(config.site_dir)
    (folder / "llms.txt").write_text(f"{head}## Pages\n\n{''.join(lines)}", "utf-8")
    (folder / "llms-full.txt").write_text(head + "\n".join(texts), "utf-8")
