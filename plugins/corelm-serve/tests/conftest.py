"""A server in this process, clients of it, and its live page in a browser."""

import contextlib
import json
from urllib.parse import quote

import pytest

pytest.importorskip("corelm_serve", reason="pip install ./plugins/corelm-serve")
pytest.importorskip("httpx2", reason="pip install httpx2")

from browsers import PATIENCE
from serve_client import ToyModel, opened_client, served

TOKEN = "a-token"


@pytest.fixture
def open_client():
    """Return a function that opens a client of a server; arguments as for `opened_client`."""
    with contextlib.ExitStack() as stack:
        yield lambda *models, **options: stack.enter_context(opened_client(*models, **options))


@pytest.fixture
def client(open_client):
    return open_client()


@pytest.fixture(scope="module")
def address():
    """Yield the address of a server with two models, which runs in a thread."""
    measured = ToyModel(end=False)
    measured.manifest = {
        "figures": {"human": {"surprisal": 1.2, "ci95": {"surprisal": [1.1, 1.3]}}}
    }
    measured.vocabulary.unit = "token"
    with served({"toy": ToyModel(), "cats": measured}, TOKEN, stall=300) as url:
        yield url


@pytest.fixture
def opened(browser, address):
    """Yield a function that opens the page; fail on console errors and requests to other hosts."""
    complaints, requests, addresses = [], [], ["data:"]
    with contextlib.ExitStack() as stack:

        def opened(state=None, address=address, **options):
            context = stack.enter_context(browser.new_context(**options))
            context.set_default_timeout(PATIENCE)
            page = context.new_page()
            page.on("console", lambda message: complaints.append(message.text))
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("request", lambda request: requests.append(request.url))
            fragment = quote(
                json.dumps({"prompt": "the", "sampler": "top_k(k=4)", **(state or {})})
            )
            addresses.append(address)
            page.goto(f"{address}/play?token={TOKEN}#{fragment}")
            page.wait_for_selector("#next[aria-busy=false] tbody tr", state="attached")
            return page

        yield opened
    if complaints or not all(url.startswith(tuple(addresses)) for url in requests):
        pytest.fail(f"{complaints} {requests}", pytrace=False)  # a traceback fails with greenlets
