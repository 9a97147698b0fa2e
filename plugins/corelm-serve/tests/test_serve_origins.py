"""`--allow-origin`: pages of named origins may ask, in headers and in a real browser."""

import contextlib
import http.server
import threading

import pytest
from browsers import PATIENCE
from serve_client import URL, ToyModel, opened_client, sample, served

from corelm.errors import UsageError

LITE, TOKEN = "https://lite.koboldai.net", "the-token"
PREFLIGHT = {
    "Origin": LITE,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type",
    "Access-Control-Request-Private-Network": "true",
}
ALLOWED = "access-control-allow-origin"


@pytest.fixture
def shared():
    """Yield a client of a server with a token, which pages of one other origin may use."""
    with opened_client(token=TOKEN, origins=[LITE]) as client:
        yield client


def test_a_preflight_of_the_origin_is_answered_without_the_token(shared):
    response = shared.options("/v1/completions", headers=PREFLIGHT)
    assert response.status_code == 200
    headers = response.headers
    assert headers[ALLOWED] == LITE
    assert headers["access-control-allow-methods"] == "GET, POST"
    assert "Authorization" in headers["access-control-allow-headers"]
    assert headers["access-control-allow-private-network"] == "true"
    assert "access-control-allow-credentials" not in headers
    assert "Origin" in headers["vary"]


def test_the_headers_of_openais_client_in_a_browser_are_allowed(shared):
    names = "authorization,content-type,x-stainless-arch,x-stainless-lang,x-stainless-os,"
    names += "x-stainless-package-version,x-stainless-retry-count,x-stainless-runtime,"
    names += "x-stainless-runtime-version,x-stainless-timeout,x-request-id"
    asked = PREFLIGHT | {"Access-Control-Request-Headers": names}
    assert shared.options("/v1/completions", headers=asked).status_code == 200


@pytest.mark.parametrize(
    "changed",
    [{"Access-Control-Request-Method": "DELETE"}, {"Access-Control-Request-Headers": "x-other"}],
)
def test_a_preflight_for_more_is_refused(shared, changed):
    assert shared.options("/v1/completions", headers=PREFLIGHT | changed).status_code == 400


@pytest.mark.parametrize(
    "origin",
    ["http://lite.koboldai.net", "https://lite.koboldai.net:8443", "https://koboldai.net",
     "https://lite.koboldai.net.evil.com", "https://evil.com", "null", "*", ""],
)  # fmt: skip
def test_other_origins_are_refused(shared, origin):
    for response in (
        shared.options("/v1/completions", headers=PREFLIGHT | {"Origin": origin}),
        shared.get("/health", headers={"Origin": origin}),
    ):
        assert response.status_code == 403
        assert ALLOWED not in response.headers
        assert "see --allow-origin" in response.json()["error"]["message"]


def test_the_page_reads_answers_and_errors_but_needs_the_token(shared):
    headers = {"Origin": LITE, "Authorization": f"Bearer {TOKEN}"}
    listed = shared.get("/v1/models", headers=headers)
    assert (listed.status_code, listed.headers[ALLOWED]) == (200, LITE)
    for more in ({}, {"Cookie": "corelm_8000=wrong"}):
        refused = shared.get("/v1/models", headers={"Origin": LITE, **more})
        assert (refused.status_code, refused.headers[ALLOWED]) == (401, LITE)
    wrong = shared.post("/v1/completions", json={"model": "x", "prompt": "the"}, headers=headers)
    assert (wrong.status_code, wrong.headers[ALLOWED]) == (404, LITE)
    own = shared.get("/v1/models", headers=headers | {"Origin": URL})
    assert own.status_code == 200
    assert ALLOWED not in own.headers


def test_the_host_is_checked_for_allowed_origins_too(shared):
    response = shared.options("/v1/completions", headers=PREFLIGHT | {"Host": "evil.com:8000"})
    assert response.status_code == 421


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://lite.koboldai.net", "https://lite.koboldai.net"),
        ("HTTPS://Lite.KoboldAI.net/", "https://lite.koboldai.net"),
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
        ("https://a.example:443", "https://a.example"),
        ("http://[::1]:80", "http://[::1]"),
    ],
)
def test_origins_are_read_as_browsers_write_them(open_client, text, origin):
    client = open_client(origins=[text])
    assert client.get("/health", headers={"Origin": origin}).headers[ALLOWED] == origin


@pytest.mark.parametrize(
    "text",
    ["*", "null", "", "lite.koboldai.net", "https://*.koboldai.net", "https://a.example/page",
     "file:///home", "https://a b", "https://a.example,https://b.example"],
)  # fmt: skip
def test_more_than_an_origin_is_refused(open_client, text):
    with pytest.raises(UsageError, match="--allow-origin"):
        open_client(origins=[text])


# ---- in a browser ----

ASK = """async ([url, token, stream]) => {
    const answer = await fetch(url + "/v1/completions", {
        method: "POST",
        headers: {"Content-Type": "application/json", "Authorization": "Bearer " + token},
        body: JSON.stringify({model: "toy", prompt: "the", seed: 1, max_tokens: 8, stream}),
    });
    return [answer.status, await answer.text()];
}"""


class Page(http.server.BaseHTTPRequestHandler):
    """An empty page."""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<title>a page</title>")

    def log_message(self, *arguments):
        """Log nothing."""


@contextlib.contextmanager
def pages():
    """Yield the origin of a page."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_browser_lets_the_named_page_ask_and_no_other(browser):
    from playwright.sync_api import Error

    [expected] = sample(ToyModel(), "the", sampler="stochastic", seed=1, length=8)
    with (
        pages() as named,
        pages() as other,
        served(token=TOKEN, origins=[named]) as address,
    ):
        page = browser.new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(named)
        status, text = page.evaluate(ASK, [address, TOKEN, False])
        assert status == 200
        assert expected.strip() in text
        status, text = page.evaluate(ASK, [address, TOKEN, True])
        assert status == 200
        assert text.endswith("data: [DONE]\n\n")
        assert page.evaluate(ASK, [address, "wrong", False])[0] == 401
        page.goto(other)
        with pytest.raises(Error, match="Failed to fetch"):
            page.evaluate(ASK, [address, TOKEN, False])
        page.close()
