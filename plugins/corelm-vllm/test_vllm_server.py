"""The real vLLM's server with corelm's samplers, asked by the client of OpenAI."""

import concurrent.futures
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.engines("vllm"),
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),
]
sys.path.insert(0, str(Path(__file__).parent))
from vllm_on_cpu import CHECKED, MODEL, expected, export  # noqa: E402

PATIENCE = 300
"""Seconds for the server to start."""
CHAIN = "min_p(p=0.05) | temperature(t=0.8)"


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """Return a client of a server in a process of its own."""
    openai = pytest.importorskip("openai")
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1"]
    options = {
        "--port": port,
        "--model": export(folder / "gpt2"),
        "--served-model-name": "gpt2",
        "--dtype": "float32",
        "--max-model-len": 128,
        "--logits-processors": CHECKED[0],
        "--generation-config": "vllm",
    }
    words = [str(word) for option in options.items() for word in option]
    with (
        (folder / "log.txt").open("w") as log,
        subprocess.Popen([*command, "--enforce-eager", *words], stdout=log, stderr=log) as server,
    ):
        try:
            _wait(f"http://127.0.0.1:{port}/health", server, folder / "log.txt")
            yield openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none")
        finally:
            server.terminate()


def _wait(url, server, log):
    for _ in range(PATIENCE):
        try:
            urllib.request.urlopen(url, timeout=2).close()
        except OSError:
            assert server.poll() is None, log.read_text()[-3000:]
            time.sleep(1)
        else:
            return
    raise AssertionError(log.read_text()[-3000:])


def ask(client, sampler, seed=None, prompt="This movie", **fields):
    extra = {"corelm": sampler} | ({} if seed is None else {"corelm_seed": seed})
    return client.completions.create(
        model="gpt2",
        prompt=prompt,
        extra_body={"vllm_xargs": extra},
        **{"max_tokens": 24, "temperature": 1} | fields,
    )


def text(sampler, seed, prompt="This movie"):
    return MODEL.vocabulary.decode(expected(sampler, prompt, seed))


def test_a_stream_is_the_same_text(client):
    parts = [chunk.choices[0].text for chunk in ask(client, CHAIN, 7, stream=True)]
    assert len(parts) > 1
    assert "".join(parts) == text(CHAIN, 7)


@pytest.mark.parametrize(
    ("sampler", "fields", "message"),
    [
        ("temprature", {}, "there is no sampler 'temprature'; did you mean 'temperature'?"),
        (CHAIN, {"seed": -3}, "the seed must be a whole number of at least 0, not -3"),
        (CHAIN, {"temperature": 0.5}, "temperature=0.5 would change corelm's distribution"),
        (CHAIN, {"top_p": 0.5}, "top_p=0.5 would change"),
        (CHAIN, {"seed": 1, "frequency_penalty": 1.0}, "frequency_penalty=1.0 may act after"),
    ],
)
def test_a_wrong_request_is_refused_in_corelms_words(client, sampler, fields, message):
    import openai

    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, sampler, **fields)
    assert caught.value.status_code == 400
    assert message in str(caught.value)


def test_clients_at_once_have_their_own_samplers_and_refusals(client):
    import openai

    samplers = [CHAIN, "mirostat(tau=3.0)", "temprature", "dry(multiplier=1.0)"] * 6

    def answer(i):
        try:
            return ask(client, samplers[i], i).choices[0].text
        except openai.BadRequestError:
            return None

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = list(pool.map(answer, range(len(samplers))))
    assert found == [
        None if sampler == "temprature" else text(sampler, i) for i, sampler in enumerate(samplers)
    ]
