"""Strangers: hosts, origins, tokens, and expressions that would open something."""

from importlib.metadata import version

import pytest
from serve_client import URL, ToyModel, opened_client

TOKEN = "the-token"


@pytest.fixture
def guarded(open_client):
    return open_client(token=TOKEN)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": f"Basic {TOKEN}"}, 401),
        ({"Authorization": TOKEN}, 401),
        ({"Authorization": f"Bearer {TOKEN}"}, 200),
        ({"Authorization": f"bearer {TOKEN}"}, 200),
        ({"Cookie": "corelm_8000=wrong"}, 401),
        ({"Cookie": "corelm_8000=the-token"}, 200),
        ({"Cookie": "corelm_8001=the-token"}, 401),
        ({"Cookie": "\x7f=;;;="}, 401),
    ],
)
def test_a_request_needs_the_token(guarded, headers, status):
    response = guarded.get("/v1/models", headers=headers)
    assert response.status_code == status
    if status == 401:
        assert response.json()["error"]["code"] == "invalid_api_key"
        assert response.headers["www-authenticate"] == "Bearer"


def test_each_of_several_tokens_is_a_client_with_a_share_of_its_own(open_client, monkeypatch):
    client, clients = open_client(token="one two"), []
    scheduler = client.service.schedulers["toy"]
    submit = scheduler.submit
    monkeypatch.setattr(scheduler, "submit", lambda jobs: clients.append(jobs[0]) or submit(jobs))
    for token in ("one", "two", "one two", "one"):
        headers = {"Authorization": f"Bearer {token}", "X-Forwarded-For": "203.0.113.9"}
        asked = {"model": "toy", "prompt": "the", "max_tokens": 2}
        response = client.post("/v1/completions", json=asked, headers=headers)
        assert response.status_code == (401 if token == "one two" else 200)
    assert [job.client for job in clients] == ["one", "two", "one"]


def test_the_cookie_of_a_page_behind_tls_is_sent_over_tls_alone(open_client):
    for scheme in ("http", "https"):
        client = open_client(token=TOKEN)
        url = f"{scheme}://127.0.0.1:8000/?token={TOKEN}"
        cookie = client.get(url, follow_redirects=False).headers["set-cookie"]
        assert ("Secure" in cookie) == (scheme == "https")


def test_the_health_of_a_server_is_no_secret(guarded):
    assert guarded.get("/health").json() == {"status": "ok"}


def test_the_token_in_the_url_is_exchanged_for_a_cookie(guarded):
    response = guarded.get("/", params={"token": TOKEN}, follow_redirects=False)
    assert response.status_code == 303
    assert response.headers["location"] == "/"
    cookie = response.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    wrong = guarded.get("/", params={"token": "wrong"}, follow_redirects=False)
    assert "set-cookie" not in wrong.headers
    assert guarded.get("/", params={"token": TOKEN}).json()["openapi"] == "/openapi.json"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8000", 200),
        ("localhost:8000", 200),
        ("LOCALHOST:8000", 200),
        ("[::1]:8000", 200),
        ("127.0.0.1", 421),
        ("127.0.0.1:8001", 421),
        ("127.0.0.1:80000", 421),
        ("127.0.0.1.evil.com:8000", 421),
        ("localhost.evil.com:8000", 421),
        ("evil.com:8000", 421),
        ("127.0.0.2:8000", 421),
        ("localhost:8000@evil.com", 421),
        ("", 421),
    ],
)
def test_the_host_is_compared_whole(client, host, status):
    assert client.get("/v1/models", headers={"Host": host}).status_code == status


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (URL, 200),
        ("http://localhost:8000", 403),  # another origin than the one asked
        ("https://127.0.0.1:8000", 403),
        ("http://127.0.0.1:8001", 403),
        ("http://evil.com", 403),
        ("null", 403),
        ("", 403),
    ],
)
def test_pages_of_other_origins_are_refused(client, origin, status):
    response = client.get("/health", headers={"Origin": origin})
    assert response.status_code == status
    assert not [name for name in response.headers if name.startswith("access-control")]


def test_no_preflight_is_answered(client):
    headers = {"Origin": "http://evil.com", "Access-Control-Request-Method": "POST"}
    assert client.options("/v1/completions", headers=headers).status_code == 403


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("api.example.org", None, 200),
        ("api.example.org:443", None, 200),
        ("api.example.org", "https://api.example.org", 200),
        ("api.example.org:443", "https://api.example.org", 200),
        ("api.example.org:80", "http://api.example.org", 200),
        ("api.example.org", "https://evil.com", 403),
        ("api.example.org:8443", None, 421),
        ("evil.com", None, 421),
    ],
)
def test_a_proxy_passes_on_its_own_name(host, origin, status):
    with opened_client(names=["api.example.org"]) as client:
        headers = {"Host": host} | ({} if origin is None else {"Origin": origin})
        assert client.get("/v1/models", headers=headers).status_code == status


def test_a_request_has_a_name_in_its_answer_and_in_the_log(guarded, caplog):
    with caplog.at_level("INFO"):
        asked = guarded.get("/health", headers={"x-request-id": "mine-7"})
        fresh = guarded.get("/health").headers["x-request-id"]
    assert asked.headers["x-request-id"] == "mine-7"
    assert len(fresh) == 32
    assert "ms, mine-7" in caplog.text
    assert f"ms, {fresh}" in caplog.text
    bad = guarded.get("/v1/models", headers={"x-request-id": "a b" * 99})
    assert (bad.status_code, len(bad.headers["x-request-id"])) == (401, 32)


def test_the_version_is_corelms(client):
    assert client.get("/version").json()["version"] == version("corelm")


def test_every_response_has_the_headers_of_safety(guarded):
    for path in ("/health", "/v1/models", "/nowhere"):
        headers = guarded.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("10.0.0.7:8000", 200),
        ("[fe80::1]:8000", 200),
        ("box:8000", 200),
        ("localhost:8000", 200),
        ("evil.com:8000", 421),
        ("10.0.0.7:8001", 421),
        ("10.0.0.7", 421),
        ("0x7f.1:8000", 421),
    ],
)
def test_access_to_all_addresses_takes_any_address_but_no_name(host, status):
    with opened_client(host="0.0.0.0", names=["box"]) as client:
        assert client.get("/health", headers={"Host": host}).status_code == status


@pytest.mark.parametrize(
    "sampler",
    [
        "opens(path='{file}')",
        "opens('{file}')",
        "phase(start=1, inside=opens(path='{file}'))",
        "phase(start=1, inside=\"opens(path='{file}')\")",
        "schedule(first=opens('{file}'))",
    ],
)
def test_no_expression_opens_a_file(client, tmp_path, sampler):
    file = tmp_path / "secret.txt"
    status, error = client.refused(sampler=sampler.format(file=file))  # it doesn't even exist
    assert status == 400
    assert "path names something of the machine" in error["message"]


@pytest.mark.parametrize(
    ("package", "field", "expression"),
    [
        ("corelm_best_of", "decoder", "best_of(scorer='os:getcwd')"),
        ("corelm_best_of", "sampler", "best_of(scorer='antigravity:fly')"),
        ("corelm_best_of", "decoder", "mbr(metric='os:getcwd')"),
        ("corelm_guidance", "decoder", "guidance(method='contrastive', amateur='/etc')"),
        ("corelm_guidance", "decoder", "guidance(method='experts', expert='imdb')"),
        ("corelm_speculative", "decoder", "speculative(draft='transformers:gpt2')"),
        ("corelm_watermark", "sampler", "green_list(key='env:PATH')"),
        ("corelm_watermark", "sampler", "synthid(keys='env:PATH')"),
    ],
)
def test_no_expression_imports_loads_or_reads_the_environment(client, package, field, expression):
    pytest.importorskip(package)
    status, error = client.refused(**{field: expression})
    assert status == 400
    assert "names something of the machine" in error["message"]


@pytest.mark.parametrize(
    ("package", "decoder"),
    [
        ("corelm_beam", "beam(width=1000000)"),
        ("corelm_best_of", "best_of(candidates=65)"),
        ("corelm_power", "power(moves=1000000)"),
    ],
)
def test_a_decoder_does_a_bounded_amount_of_work(client, package, decoder):
    pytest.importorskip(package)
    status, error = client.refused(decoder=decoder)
    assert status == 400
    assert "must be at most 64 here" in error["message"]
    assert client.refused(decoder=decoder.partition("(")[0], n=9)[1]["param"] == "n"


def test_a_failing_request_says_nothing_of_the_machine(open_client):
    class Broken(ToyModel):
        def start(self, tokens):
            raise OSError("/home/somebody/secret")

    client = open_client({"toy": Broken()})
    status, error = client.refused()
    assert status == 500
    assert "secret" not in error["message"]


def test_texts_are_not_logged(client, open_client, caplog):
    with caplog.at_level("INFO", logger="corelm.serve"):
        client.complete(prompt="the cat")
        client.get("/v1/models/private-name")
    assert "cat" not in caplog.text
    assert "private" not in caplog.text
    assert "POST /v1/completions 200" in caplog.text
    with caplog.at_level("INFO", logger="corelm.serve"):
        open_client(log_texts=True).complete(prompt="the cat")
    assert "the cat" in caplog.text
