"""`corelm play` as a command: the URL that it prints, the page behind it, and its end."""

import json
import os
import signal
import subprocess
import sys
from urllib.parse import unquote, urlsplit

import pytest
from serve_process import SOON

from corelm.cli.app import main

httpx = pytest.importorskip("httpx2", reason="pip install httpx2")
pytestmark = pytest.mark.slow


def start(*words):
    command = [sys.executable, "-m", "corelm", "play", "--no-browser", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
def test_the_url_opens_the_page_with_its_prompt_and_chain():
    with start("the cat's", "--sampler", "top_k(k=3)", "--seed", "5") as process:
        url = urlsplit(process.stdout.readline().strip())
        state = json.loads(unquote(url.fragment))
        assert state == {"prompt": "the cat's", "sampler": "top_k(k=3)", "seed": 5}
        base = f"{url.scheme}://{url.netloc}"
        with httpx.Client(base_url=base, timeout=SOON) as client:
            assert client.get("/play").status_code == 401
            moved = client.get(f"/play?{url.query}")
            assert (moved.status_code, moved.headers["location"]) == (303, "/play")
            assert "<title>corelm play</title>" in client.get("/play").text  # the cookie is set
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=SOON)
    assert process.returncode in (0, 130)
    assert "Traceback" not in errors


def test_a_lesson_is_opened():
    with start("--lesson", "4") as process:
        url = urlsplit(process.stdout.readline().strip())
        assert json.loads(unquote(url.fragment)) == {"lesson": 3, "seed": 1}
        process.terminate()
        process.communicate(timeout=SOON)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lesson", "6"], "'--lesson'"),
        (["--sampler", "temperatur"], "did you mean 'temperature'"),
    ],
)
def test_a_mistake_is_told_before_anything_opens(arguments, message, capsys):
    assert main(["play", "--no-browser", *arguments]) == 2
    written = capsys.readouterr()
    assert message in written.err
    assert written.out == ""
