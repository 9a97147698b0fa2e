"""The documentation is true: examples run, links resolve, every public name has an entry."""

from __future__ import annotations

import ast
import codeop
import inspect
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from pkgutil import resolve_name
from types import ModuleType
from typing import Any

import pytest
from programs import load_program, python
from public_names import names_in

import corelm
import corelm.interop
import corelm.runs
from corelm import errors
from corelm.cli.app import main
from corelm.contracts import hookspecs
from corelm.registry import registry
from corelm.testing import LAWS

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
LINK = re.compile(r"\[[^\]\[]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+?)(?: *\{[^}]*\})?$", re.MULTILINE)
FENCED = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)


LEFT_OUT = re.compile(
    r"^ *```.*?^ *```|`[^`\n]*`|<!--.*?-->",
    re.MULTILINE | re.DOTALL,
)
"""Code and comments: not prose of the pages."""

GLOSSARY = (
    *(r"luck\w*", "errand", "desk", "giver", "the parties", "the peers'"),
    *("sharpens", "strange", "proper", "drafts", "findings?", "seat"),
)
"""Words that the project has another word for; see the style in docs/contributing.md."""

DIALECT = (
    *("anew", "besides?", "whoever", "whatever", "of which", "so many", "by the way"),
    *("goes? on (from|with)", "going on", "goes with it", "stands? (there|for|in)", "stood"),
    *("is told", "are told", "is looked", "are looked", "is said", "what is (given|not)"),
    *("(?<!there )is no", "(?<!there )are no", "one's own", "of one's", "most likeliest"),
    *("does without", "do without", "does not lie", "sees? to it", "set aside", "strangers?"),
    *("nearest to", "likelier", "the like", "be had", "is to be", "are to be", "company"),
    *("that of", "those (of|that|which)", "likewise", "when left out"),
)
"""Turns of phrase that a native technical writer would not use."""


def script(name: str) -> ModuleType:
    """Import a module of docs/scripts, which is not a package."""
    return load_program(DOCS / "scripts" / f"{name}.py")


sys.path.append(str(DOCS / "scripts"))  # where the examples find their session
examples = script("examples")
PAGES: list[Path] = examples.pages()


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def read(page: str) -> str:
    return (DOCS / page).read_text("utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_examples_print_what_the_page_says(page: Path) -> None:
    if shutil.which("bash") is None:
        pytest.skip("the examples are for bash")
    if absent := examples.missing(page):
        pytest.skip(f"not installed: {', '.join(absent)}")
    lines = examples.differences(page)
    assert not lines, "\n".join(["", *lines])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of Keras's files
@pytest.mark.parametrize(
    "plugin",
    [
        pytest.param("corelm-keras-hub", marks=pytest.mark.engines("keras_hub")),
        pytest.param("corelm-llama-cpp", marks=pytest.mark.engines("llama_cpp", "gguf")),
        pytest.param("corelm-transformers", marks=pytest.mark.engines("torch", "transformers")),
    ],
)
def test_the_commands_of_an_engines_page_print_what_it_says(
    plugin: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In this process, where the engine is imported: alone a command takes ten seconds."""
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "plugins" / plugin / "README.md").read_text("utf-8")
    shown = re.findall(r"^\$ corelm (.*)\n(.*\n)", page, re.MULTILINE)
    assert len(shown) == 2
    for words, output in shown:
        assert main(shlex.split(words)) == 0
        assert capsys.readouterr().out == output


def test_an_example_that_lies_is_found(tmp_path: Path) -> None:
    """Wrong pages differ from their examples, a right one does not."""
    right = (
        "```python\nprint(6 * 7)\n```\n\n```text\n42\n```\n\n```console\n$ echo a b\na ...\n```\n\n"
        "```bash\necho c\n```\n\n```text\nc\n```\n"
    )
    page = tmp_path / "page.md"
    page.write_text(right)
    assert examples.differences(page) == []
    for before, after in (
        ("42\n", "43\n"),
        ("\na ...", "\nb ..."),
        ("\na ...", ""),
        ("\nc\n", "\nd\n"),
    ):
        page.write_text(right.replace(before, after))
        assert examples.differences(page) != []


def test_an_example_that_fails_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    failing = ("```python\n1 / 0\n```\n", "```console\n$ exit 3\n```\n", "```bash\nexit 3\n```\n")
    for block in failing:
        page.write_text(block)
        with pytest.raises(AssertionError, match=r"ZeroDivisionError|ended with 3"):
            examples.differences(page)


def test_a_block_that_is_not_run_says_why(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- not run: needs an afternoon -->\n```console\n$ exit 3\n```\n")
    assert examples.differences(page) == []
    page.write_text("<!-- not run: -->\n```console\n$ exit 3\n```\n")
    with pytest.raises(AssertionError):
        examples.differences(page)


def test_a_page_says_what_its_examples_need(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# Page\n\n<!-- needs: json os.path no_such_engine no.such $python $no_such_command -->\n"
    )
    assert examples.missing(page) == ["no_such_engine", "no.such", "$no_such_command"]


def test_a_block_may_need_more_than_its_page(tmp_path: Path) -> None:
    """Left out with its output where that is missing, and never in a fresh shell."""
    page = tmp_path / "page.md"
    block = "<!-- needs: {} -->\n```bash\necho a\n```\n\n```text\nb\n```\n"
    page.write_text(block.format("no_such_engine"))
    assert examples.missing(page) == []
    assert examples.differences(page) == []
    page.write_text(block.format("json"))
    assert examples.differences(page) != []
    assert examples.script(page) == "set -eu\n"


def test_a_block_takes_its_output_from_another_page(tmp_path: Path) -> None:
    """It is not run, and a difference is found, except in the files written."""
    there, page = tmp_path / "there.md", tmp_path / "page.md"
    there.write_text("```bash\necho a --to x\n```\n\n```text\na\nb\nwritten to x\n```\n")
    form = "```bash\nfalse\n```\n\n```text\n{}\n```\n"
    comment = f"<!-- output: {there}: echo a --to x -->\n"
    page.write_text(comment + form.format("a\nb\nwritten to y"))
    assert examples.differences(page) == []
    assert examples.script(page) == "set -eu\n"
    page.write_text(comment + form.format("a\nc\nwritten to y"))
    assert "-c" in examples.differences(page)
    assert "+b" in examples.differences(page)
    page.write_text(comment.replace("echo a", "echo b") + form.format("a"))
    with pytest.raises(AssertionError, match="does not show 'echo b --to x'"):
        examples.differences(page)


def test_the_shell_keeps_its_folder(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```bash\nmkdir a && cd a\n```\n\n```console\n$ cd .. && ls\na\n```\n\n"
        '```text title="a/b"\nc\n```\n\n```console\n$ cat a/b\nc\n```\n'
    )
    assert examples.differences(page) == []


@pytest.mark.packages
def test_a_source_that_changed_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    source = "<!-- source: corelm/contracts/decoder.py {} -->\n```python\n{}\n```\n"
    page.write_text(source.format("Decoder", inspect.getsource(corelm.Decoder).rstrip("\n")))
    assert examples.differences(page) == []
    page.write_text(source.format("Decoder", "class Decoder: ..."))
    assert examples.differences(page) != []


@pytest.mark.parametrize("page", ["index.md", "tutorial.md"])
def test_python_blocks_survive_a_prompt(page: str) -> None:
    """Pasted line by line at Python's prompt, where an empty line ends a class or function."""
    for block in examples.blocks(read(page).split("\n")):
        if block.language == "python" and not block.title:
            typed: list[str] = []
            for line in [*block.lines, ""]:
                typed.append(line)
                if codeop.compile_command("\n".join(typed), symbol="single") is not None:
                    typed.clear()
            assert not any(typed), f"not complete at the end of the block: {typed}"


def test_pages_read_well_unbuilt() -> None:
    for page in PAGES:
        marks = re.findall(r"^ *(?:--8<--|:::)", page.read_text("utf-8"), re.MULTILINE)
        assert not marks, name_of(page)


def test_pages_speak_plain_english() -> None:
    """No word of the glossary's left column, and no turn of phrase that readers trip over."""
    words = re.compile(rf"\b(?:{'|'.join((*GLOSSARY, *DIALECT))})\b", re.IGNORECASE)
    faults = [
        f"{name_of(page)}: {match[0]!r} in: {line}"
        for page in PAGES
        for line in LEFT_OUT.sub("", page.read_text("utf-8")).splitlines()
        for match in words.finditer(line)
    ]
    assert not faults, "\n".join(["", *faults])


def test_links_resolve() -> None:
    faults = [
        f"{name_of(page)}: {link} {fault}"
        for page in [*PAGES, ROOT / "CHANGELOG.md"]
        for link in LINK.findall(FENCED.sub("", page.read_text("utf-8")))
        if (fault := fault_of_link(page, link))
    ]
    assert not faults, "\n".join(["", *faults])


def fault_of_link(page: Path, link: str) -> str:
    """Return the fault of a link to a page; "" for a good one and for one to the web."""
    if re.match(r"https?:", link):
        return ""
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    if not target.exists():
        return "leads nowhere"
    return "has no such heading" if anchor and anchor not in anchors(target) else ""


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings of a page."""
    headings = HEADING.findall(FENCED.sub("", page.read_text("utf-8")))
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", h).strip().lower()) for h in headings}


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / ".ci" / "mkdocs.yml").read_text("utf-8").partition("\nnav:\n")[2]
    listed = re.findall(r"(\S+\.md)$", navigation, re.MULTILINE)
    files = (*DOCS.rglob("*.md"), *DOCS.rglob("*.ipynb"))
    pages = (str(file.relative_to(DOCS).with_suffix(".md")) for file in files)
    assert sorted(listed) == sorted([*pages, "repository/CHANGELOG.md"])


def test_every_hook_is_documented_with_its_arguments() -> None:
    hooks = {
        f"{name}({', '.join(inspect.signature(hook).parameters)})"
        for name, hook in vars(hookspecs).items()
        if hasattr(hook, "corelm_spec")
    }
    assert {hook.partition("(")[0] for hook in hooks} == set(registry.HOOKS)
    documented = re.findall(r"^## `(corelm_.+)`$", read("reference/hooks.md"), re.MULTILINE)
    assert set(documented) == hooks


@pytest.mark.slow
def test_every_environment_variable_is_documented() -> None:
    documented = re.findall(r"^## `(CORELM_\w+)`$", read("reference/environment.md"), re.MULTILINE)
    sources = [p for folder in ("corelm", "samplers") for p in (ROOT / folder).rglob("*.py")]
    names = {name for path in sources for name in environment_variables(path)}
    assert names == set(documented)


def environment_variables(path: Path) -> set[str]:
    """Return the strings in a source that name a variable of corelm."""
    tree = ast.parse(path.read_text("utf-8"))
    strings = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)}
    named = {s for s in strings if isinstance(s, str) and re.fullmatch(r"CORELM_[A-Z_]+", s)}
    return named - {"CORELM_API_VERSION"}  # an attribute of a plugin


def test_every_error_is_documented_in_its_place() -> None:
    """The tree on the page has the same names at the same depths as the classes."""
    tree = re.search(r"^CorelmError\n(?:[│├└].*\n)+", read("reference/errors.md"), re.MULTILINE)
    assert tree is not None
    documented = {
        re.split(r"[│├└─ ]+", line, maxsplit=1)[-1].split()[0]: len(re.match(r"[│├└─ ]*", line)[0])
        for line in tree[0].splitlines()
    }
    assert {name: depth / 4 for name, depth in documented.items()} == {
        name: depth(error) for name, error in vars(errors).items() if inspect.isclass(error)
    }


def depth(error: Any) -> int:
    """Return the number of corelm's errors above one."""
    return sum(issubclass(base, corelm.CorelmError) for base in error.__mro__) - 1


UNNAMED = {
    *("KeyValueCache", "PaddedCache", "ExplainedStage", "ExplainedToken"),
    *("SessionAbilities", "VocabularyAbilities"),
}
"""Protocols of plugins' classes and parts of results: documented, and imported by no program."""


def names(module: ModuleType) -> Iterator[str]:
    """Yield the public names of a module; in place of a module among them, the names in it."""
    for name in module.__all__:
        value = getattr(module, name)
        yield from names(value) if isinstance(value, ModuleType) else [name]


def listed_names(page: str) -> list[str]:
    """Return the public names that a page has a line for."""
    return re.findall(r"^- `(corelm\.[\w.]+)`: ", read(page), re.MULTILINE)


def test_every_public_name_is_documented() -> None:
    documented = [name.rpartition(".")[2] for name in listed_names("reference/contract.md")]
    public = {name for module in (corelm, corelm.interop, corelm.filters) for name in names(module)}
    public |= {each for each in names_in(corelm) if not inspect.ismodule(getattr(corelm, each))}
    assert len(documented) == len(set(documented))
    # Of the second ring, the names that plugins use have an entry too.
    second = {*names(corelm.runs), *names(corelm.abilities)}
    assert public <= set(documented) <= public | second | UNNAMED


@pytest.mark.packages
@pytest.mark.parametrize("page", ["reference/contract.md", "reference/laws.md"])
def test_every_documented_function_has_a_docstring(page: str) -> None:
    """The site shows it in the place of the line, so it has more than the line."""
    for name in listed_names(page):
        thing = resolve_name(name)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            assert inspect.getdoc(thing), name


def test_every_law_is_documented() -> None:
    table = re.findall(r"^\| `(\w+)` \|", read("reference/laws.md"), re.MULTILINE)
    assert table == [law.__name__ for laws in LAWS.values() for law in laws]


@pytest.mark.packages
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("entropy_table", marks=pytest.mark.slow),
        pytest.param("pictures", marks=pytest.mark.slow),
    ],
)
def test_generated_parts_are_up_to_date(name: str) -> None:
    if name == "pictures" and sys.platform == "win32":
        pytest.skip("pictures are drawn on POSIX systems")
    done = python(DOCS / "scripts" / f"{name}.py", "--check", encoding="utf-8")
    assert done.returncode == 0, done.stdout + done.stderr
