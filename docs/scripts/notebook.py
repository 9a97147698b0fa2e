"""Run the notebooks of the documentation, and compare what their cells show with what they have.

    python docs/scripts/notebook.py            write the outputs into the notebooks
    python docs/scripts/notebook.py --check    fail where a notebook shows something else

The cells run in IPython, which shows objects as Jupyter does. Pictures depend on the version of
matplotlib, so the check asks only that a cell still shows one.
"""

from __future__ import annotations

import argparse
import base64
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import chdir
from difflib import unified_diff
from pathlib import Path
from typing import Any

import nbformat
from IPython.core.displayhook import DisplayHook
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

ROOT = Path(__file__).resolve().parents[2]
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},  # which the site highlights
}
PICTURES = ("image/png",)


class ValueHook(DisplayHook):
    """Keep the values of cells as they are shown, instead of printing them."""

    def __init__(self, **how: Any) -> None:
        super().__init__(**how)
        self.values: list[dict[str, Any]] = []

    def write_output_prompt(self) -> None:
        """Print nothing."""

    def write_format_data(self, format_dict: dict[str, Any], md_dict: Any = None) -> None:
        """Keep a value."""
        self.values.append(format_dict)

    def finish_displayhook(self) -> None:
        """Print nothing."""


def run(notebook: Any) -> Any:
    """Return a notebook with the outputs of its cells, which run from top to bottom.

    Raises:
        RuntimeError: a cell raised.
    """
    made = nbformat.v4.new_notebook(metadata=METADATA)
    shell = InteractiveShell.instance(displayhook_class=ValueHook)
    for number, cell in enumerate(notebook.cells, 1):
        new = nbformat.from_dict(cell | {"id": f"cell-{number}"})
        if cell.cell_type == "code":
            new.execution_count = shell.execution_count
            new.outputs = list(outputs(shell, cell.source))
        made.cells.append(new)
    nbformat.validate(made)
    return made


def outputs(shell: InteractiveShell, source: str) -> Iterator[Any]:
    """Run a cell, and yield what it prints, what it displays and its value."""
    count = shell.execution_count
    shell.displayhook.values.clear()
    with capture_output() as captured:
        done = shell.run_cell(source, store_history=True)
    if not done.success:
        raise RuntimeError(
            f"this cell raised {done.error_in_exec or done.error_before_exec!r}:\n{source}"
        )
    if captured.stdout:
        yield nbformat.v4.new_output("stream", name="stdout", text=captured.stdout)
    for output in captured.outputs:
        yield nbformat.v4.new_output("display_data", data=encoded(output.data))
    for value in shell.displayhook.values:
        yield nbformat.v4.new_output("execute_result", data=encoded(value), execution_count=count)


def encoded(data: dict[str, Any]) -> dict[str, str]:
    """Return what a cell shows, in text: pictures in base64, as notebooks have them."""
    return {
        kind: base64.b64encode(value).decode() if isinstance(value, bytes) else value
        for kind, value in data.items()
    }


def differences(notebook: Any, made: Any) -> list[str]:
    """Return the lines in which two notebooks differ, pictures aside."""
    one, other = map(without_pictures, (notebook, made))
    return [*unified_diff(one, other, "the notebook", "what its cells show", lineterm="")]


def without_pictures(notebook: Any) -> list[str]:
    """Return the lines of a notebook's file, with nothing in place of its pictures."""
    copy = nbformat.from_dict(notebook)
    for cell in copy.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            data.update({kind: "" for kind in PICTURES if kind in data})
    return nbformat.writes(copy).splitlines()


def main() -> None:
    """Run all notebooks of the documentation."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    os.environ["IPYTHONDIR"] = tempfile.mkdtemp()
    failed = False
    for path in sorted((ROOT / "docs").glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        with tempfile.TemporaryDirectory() as folder, chdir(folder):
            made = run(notebook)
        if not check:
            nbformat.write(made, path)
        elif lines := differences(notebook, made):
            failed = True
            print(f"{path.name} has to be run again:", *lines, sep="\n")
    sys.exit(failed)


if __name__ == "__main__":
    main()
