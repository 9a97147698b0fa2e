"""Ask a server with other projects' clients, and write the table of the reference.

    python docs/scripts/clients_table.py [--environments FOLDER]

Each client gets an environment of its own, with its newest version of the day, and makes the
requests of its program in `clients/`. The table compares the answers with those to the same
requests by hand. It needs corelm-serve, corelm-llama-cpp and corelm-grammar, gguf, npm, and the
package registries.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAMS = Path(__file__).parent / "clients"
PAGE = Path(__file__).resolve().parents[1] / "reference" / "server.md"
BEGIN, END = "<!-- clients: begin -->\n", "<!-- clients: end -->\n"
TASKS = ("completion", "chat", "stream", "tools", "response_format", "sampler")
NPM = ["openai", "ai", "@ai-sdk/openai-compatible", "zod"]
PYTHON = {
    "openai-python": ("openai_python", "openai"),
    "LangChain": ("langchain_openai_", "langchain-openai"),
    "LlamaIndex": ("llama_index_", "llama-index-llms-openai-like"),
    "litellm": ("litellm_", "litellm"),
    "Pydantic AI": ("pydantic_ai_", "pydantic-ai-slim[openai]"),
    "Instructor": ("instructor_", "instructor"),
    "Inspect": ("inspect_ai_", "inspect-ai openai"),
    "lm-evaluation-harness": ("lm_eval_", "lm_eval[api]"),
}
"""The program and the packages of each client."""
JAVASCRIPT = {"openai (JavaScript)": ("openai_js", "openai"), "Vercel AI SDK": ("vercel_ai", "ai")}
TEMPLATE = (
    "{% for m in messages %}{{ m.content }} {% endfor %}"
    "{% for t in tools %}{{ t.function.name }} {% endfor %}{# calls in <tool_call> tags #}"
)
KEY = "secret"


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve the shipped gpt2 with a chat template; yield the URL of its API."""
    plain, chat = str(folder / "plain.gguf"), str(folder / "chat.gguf")
    export = ["corelm", "models", "export", "gpt2", "--to", "gguf", plain]
    with_template = ["gguf-new-metadata", "--force", "--chat-template", TEMPLATE, plain, chat]
    for command in (export, with_template):
        subprocess.run(command, check=True, capture_output=True)
    command = ["corelm", "serve", "--port", "0", "--model", f"chat=gguf:{chat}"]
    environment = {**os.environ, "CORELM_SERVE_TOKEN": KEY}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield f"{process.stdout.readline().partition('/?')[0]}/v1"
        finally:
            process.terminate()


def by_hand(url: str) -> dict[str, str]:
    """Return the texts that the clients should get."""
    asked = {"model": "chat", "seed": 1, "max_tokens": 100}
    chat = {"messages": [{"role": "user", "content": "The film was"}]}
    bodies: dict[str, dict[str, Any]] = {
        "completion": {"prompt": "The film was", "temperature": 0.7},
        "chat": {**chat, "temperature": 0.7},
        "sampler": {**chat, "sampler": "min_p(p=0.05) | temperature(t=0.8)"},
    }
    texts = {}
    for task, body in bodies.items():
        path = "chat/completions" if "messages" in body else "completions"
        request = urllib.request.Request(
            f"{url}/{path}", json.dumps(asked | body).encode(),
            {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"},
        )  # fmt: skip
        for _ in range(100):  # until it has loaded its model
            try:
                with urllib.request.urlopen(request) as response:
                    [choice] = json.load(response)["choices"]
                break
            except urllib.error.URLError:
                time.sleep(0.2)
        texts[task] = choice["message"]["content"] if "messages" in body else choice["text"]
    return texts | {"stream": texts["chat"]}


def python_command(name: str, folder: Path) -> tuple[list[str], str]:
    """Return the command of a program in Python, and the version of its client."""
    program, packages = PYTHON[name]
    environment = folder / program
    python = environment / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *packages.split()], check=True)
    distribution = re.split(r"[\[ ]", packages)[0]
    ask = f"from importlib.metadata import version; print(version({distribution!r}))"
    version = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True)
    return [str(python), str(PROGRAMS / f"{program}.py")], version.stdout.strip()


def javascript_command(name: str, folder: Path) -> tuple[list[str], str]:
    """Return the command of a program in JavaScript, and the version of its client."""
    (program, package), home = JAVASCRIPT[name], folder / "js"
    if not home.exists():
        home.mkdir()
        (home / "package.json").write_text('{"type": "module"}')
        subprocess.run(["npm", "install", "--silent", *NPM], cwd=home, check=True)
    for source in PROGRAMS.glob("*.mjs"):  # node looks for packages next to the program
        (home / source.name).write_text(source.read_text("utf-8"), "utf-8")
    about = json.loads((home / "node_modules" / package / "package.json").read_text("utf-8"))
    return ["node", str(home / f"{program}.mjs")], about["version"]


def row(name: str, folder: Path, url: str, expected: dict[str, str]) -> str:
    """Return the row of a client."""
    command, version = (python_command if name in PYTHON else javascript_command)(name, folder)
    environment = {
        **os.environ, "CLIENT_URL": url, "CLIENT_KEY": KEY, "OPENAI_API_KEY": KEY,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }  # fmt: skip
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    found = [json.loads(line) for line in run.stdout.splitlines() if line.startswith('{"task"')]
    for each in found:
        print(name, each, file=sys.stderr)
    cells = {each["task"]: cell(each, expected.get(each["task"])) for each in found}
    return f"| {name} {version} | {' | '.join(cells.get(task, '-') for task in TASKS)} |"


def cell(found: dict[str, Any], expected: str | None) -> str:
    """Return a cell: if the answer is the one that is expected."""
    if "error" in found:
        return f"**{found['error'].partition(':')[0]}**"
    answer = found["answer"]
    if isinstance(answer, dict):
        return "valid" if isinstance(answer.get("stars"), int) else "**invalid**"
    return "same text" if answer == expected else "other text"


def main() -> None:
    """Ask, and write the table into the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--environments", type=Path, metavar="FOLDER", help="kept for next time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as url:
        home, expected = options.environments or Path(folder), by_hand(url)
        rows = [row(name, home, url, expected) for name in (*PYTHON, *JAVASCRIPT)]
    head = [f"| client | {' | '.join(TASKS)} |", f"|{'---|' * (1 + len(TASKS))}"]
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    lines = "\n".join([*head, *rows])
    PAGE.write_text(f"{before}{BEGIN}\n{lines}\n\n{END}{after}", "utf-8")


if __name__ == "__main__":
    main()
