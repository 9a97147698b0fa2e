"""Make pages of the notebooks, and of the files outside docs/ that pages link to: a hook of MkDocs.

In the repository a link leads to the file; on the site it leads to the page that this module makes
of the file, from the same commit. A link to a file that doesn't exist has no page, and MkDocs
reports it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from posixpath import dirname, join, normpath, relpath

from corelm_serve.play.one_file import one_file
from jinja2 import DictLoader
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page
from nbconvert import MarkdownExporter

import corelm
from corelm.errors import UsageError

ROOT = Path(__file__).resolve().parents[1]
FOLDER = "repository"
"""The folder of the site for files from outside docs/."""

LINK = re.compile(r"^ *(?P<fence>`{3,}).*?^ *(?P=fence)|`[^`\n]*`|\]\(([^)\s#]+)", re.M | re.S)
"""A block or a piece of code, which has no links, or the beginning of a link with its path."""

LIVE_PAGE = "play.html"
FOUND_LATER = "---\nsearch:\n  boost: 0.2\n---\n"
"""Search lists the pages of docs/ first."""

NOTEBOOK = """{% extends "markdown/index.md.j2" %}
{% macro block(text) %}
```text
{{ text | strip_ansi | trim }}
```
{% endmacro %}
{% block stream %}{{ block(output.text) }}{% endblock stream %}
{% block data_text scoped %}{{ block(output.data["text/plain"]) }}{% endblock data_text %}
{% block data_png %}
![The figure that this cell draws]({{ output.metadata.filenames["image/png"] }})
{% endblock data_png %}
"""
"""nbconvert's template, with outputs as the other pages have them."""


def on_files(files: Files, *, config: MkDocsConfig) -> None:
    """Add a page for each notebook, and for each file outside docs/ that a page links to.

    The live page, as one file, is added where its kernels are compiled.
    """
    with suppress(UsageError):
        page = one_file("gpt2", corelm.load("gpt2"), {})
        files.append(File.generated(config, LIVE_PAGE, content=page))
    for file in list(files):
        if file.src_uri.endswith(".ipynb"):
            add_notebook(files, file, config)
    unread = [file for file in files if file.is_documentation_page()]
    while unread:
        page = unread.pop()
        here = repository_path(page)
        for target in links(page.content_string, here):
            if files.get_file_from_path(page_of(target)) is None and (ROOT / target).exists():
                made = File.generated(
                    config,
                    page_of(target),
                    content=content_of(target),
                    inclusion=InclusionLevel.NOT_IN_NAV,
                )
                files.append(made)
                unread.append(made)


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let each link to a file of the repository lead to its page."""
    if files.get_file_from_path(LIVE_PAGE) is not None:
        link = f"[**Try it in your browser**]({LIVE_PAGE})"
        markdown = markdown.replace("<!-- the live page -->", link)
    here = repository_path(page.file)
    there = dirname(page.file.src_uri)
    return rewrite(markdown, here, lambda target: relpath(page_of(target), there or "."))


def add_notebook(files: Files, file: File, config: MkDocsConfig) -> None:
    """Add the page of a notebook and its pictures; the notebook itself can be downloaded."""
    exporter = MarkdownExporter(
        extra_loaders=[DictLoader({"site.md.j2": NOTEBOOK})], template_file="site.md.j2"
    )
    body, resources = exporter.from_filename(file.abs_src_path)
    title, _, rest = body.lstrip().partition("\n")
    body = f'{title}\n\n<a href="{file.name}.ipynb" download>Download this notebook</a>\n{rest}'
    files.append(File.generated(config, page_of(f"docs/{file.src_uri}"), content=body))
    for name, picture in resources["outputs"].items():
        files.append(File.generated(config, join(dirname(file.src_uri), name), content=picture))


def page_of(path: str) -> str:
    """Return the source of the page that shows a file of the repository."""
    if path == "README.md":
        return "index.md"
    if path.startswith("docs/"):
        return re.sub(r"\.ipynb$", ".md", path.removeprefix("docs/"))
    if (ROOT / path).is_dir():
        path += "/README.md"
    return f"{FOLDER}/{path}" if path.endswith(".md") else f"{FOLDER}/{path}.md"


def repository_path(file: File) -> str:
    """Return the path in the repository of what a page of the site shows."""
    if file.src_uri.startswith(f"{FOLDER}/"):
        return file.src_uri.removeprefix(f"{FOLDER}/")
    return f"docs/{file.src_uri}"


def content_of(path: str) -> str:
    """Return the Markdown of a file outside docs/, or of the README of a folder."""
    file = ROOT / path
    text = (file / "README.md" if file.is_dir() else file).read_text("utf-8")
    if file.is_dir() or file.suffix == ".md":
        return FOUND_LATER + text
    kind = "python" if file.suffix == ".py" else "text"
    return f"{FOUND_LATER}# {path}\n\n``````{kind}\n{text}\n``````\n"


def links(markdown: str, here: str) -> list[str]:
    """Return the files outside docs/ that a file of the repository links to."""
    targets: list[str] = []

    def note(target: str) -> str:
        targets.append(target)
        return target

    rewrite(markdown, here, note)
    return [target for target in targets if not target.startswith("docs/")]


def rewrite(markdown: str, here: str, new: Callable[[str], str]) -> str:
    """Return Markdown with new links, each made of the path in the repository that it led to."""

    def replace(match: re.Match[str]) -> str:
        link = match[2]
        if link is None or re.match(r"[a-z]+:|/", link):
            return match[0]
        target = normpath(join(dirname(here), link))
        return f"]({new(target)}"

    return LINK.sub(replace, markdown)
