"""Print the share of private names in the tests' imports: tests/private_imports.py [PATH...]

A name is public if a module of `PUBLIC` has it, if it is imported from the top of a package, as in
`from corelm_beam import Beam`, or if it is a sampler's class from the sampler's own file.
`import corelm` alone counts as no name.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator

PUBLIC = {
    *("corelm", "corelm.abilities", "corelm.bundles", "corelm.commands", "corelm.errors"),
    *("corelm.filters", "corelm.interop", "corelm.interop.testing", "corelm.runs"),
    "corelm.testing",
}


def test_files(paths: list[str]) -> list[str]:
    """Return the Python files of tests that git knows, below the paths."""
    listed = subprocess.run(["git", "ls-files", *paths], capture_output=True, text=True, check=True)
    return [file for file in listed.stdout.splitlines() if file.endswith(".py") and is_test(file)]


def is_test(file: str) -> bool:
    parts = file.split("/")
    return "tests" in parts or parts[-1].startswith("test_")


def imported(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield the module and the name of each import of a part of corelm."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and is_ours(node.module or ""):
            yield from ((node.module or "", alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                module, _, name = alias.name.rpartition(".")
                if module and is_ours(module):
                    yield module, name


def is_ours(module: str) -> bool:
    return module.split(".")[0].startswith(("corelm", "llm_corelm"))


def is_public(module: str, name: str) -> bool:
    package, _, rest = module.partition(".")
    if f"{module}.{name}" in PUBLIC:
        return True
    if package == "corelm":
        return module in PUBLIC and not is_module(module, name)
    return not name.startswith("_") and (package == "corelm_samplers" or not rest)


def is_module(package: str, name: str) -> bool:
    """Return True if `from package import name` imports a module."""
    path = f"{package}.{name}".replace(".", "/")
    listed = subprocess.run(
        ["git", "ls-files", f"{path}.py", f"{path}/__init__.py"],
        capture_output=True,
        text=True,
        check=True,
    )
    return bool(listed.stdout)


def main() -> None:
    rooms: dict[str, Counter[bool]] = {}
    for file in test_files(sys.argv[1:]):
        room = "/".join(file.split("/")[:2]) if file.startswith("plugins/") else "tests"
        with open(file, encoding="utf-8") as text:
            tree = ast.parse(text.read())
        rooms.setdefault(room, Counter()).update(is_public(*name) for name in imported(tree))
    for room, counts in sorted(rooms.items(), key=lambda item: -item[1][False]):
        print_share(room, counts)
    print_share("all", sum(rooms.values(), Counter()))


def print_share(room: str, counts: Counter[bool]) -> None:
    private, total = counts[False], counts.total()
    print(f"{room:28} {private:5} of {total:5} {private / max(total, 1):6.1%}")


if __name__ == "__main__":
    main()
