"""A class: students join with a code, use the live page alone, and get what the teacher sends."""

import sys
from types import SimpleNamespace

import httpx2
import pytest
from browsers import PATIENCE
from corelm_serve.play.classroom import Classroom
from pages import pause, settled, until
from serve_client import SOON, URL, Client, opened_client, served
from test_play_command import start

TOKEN = "teacher"
STATE = {"prompt": "the dog", "sampler": "greedy"}


@pytest.fixture
def room():
    return Classroom(URL)


@pytest.fixture
def people(room):
    """Return a function that opens a client without a cookie."""
    with opened_client(token=TOKEN, classroom=room) as first:

        def client():
            other = Client(first.app, first.service)
            other.portal = first.portal  # in which the application has begun
            return other

        yield client


def join(client, code):
    return client.get("/join", params={"code": code}, follow_redirects=False)


def test_a_code_opens_the_live_page_and_nothing_else(people, room):
    student = people()
    assert student.get("/play", follow_redirects=False).headers["location"] == "/join"
    assert "Join the class" in student.get("/join").text
    assert join(student, "WRONG2").status_code == 403
    assert student.get("/api/samplers").status_code == 401
    assert join(student, f" {room.code.lower()} ").headers["location"] == "/play"
    assert "<title>corelm play</title>" in student.get("/play").text
    assert student.get("/play/main.js").status_code == 200
    assert student.get("/api/samplers").json()["role"] == "student"
    body = {"prompt": "the", "sampler": "greedy"}
    for path in ("/api/next", "/api/tree"):
        assert student.post(path, json=body).status_code == 200
    for path in ("/metrics", "/openapi.json", "/tokenizer_info", "/"):
        assert student.get(path).status_code == 403
    for path in ("/v1/completions", "/v1/chat/completions", "/api/class", "/detokenize"):
        assert student.post(path, json={"state": {}}).status_code == 403
    assert room.joined == 1


def test_the_teacher_sends_a_state_to_all(people, room):
    teacher, student = people(), people()
    teacher.headers["Authorization"] = f"Bearer {TOKEN}"
    join(student, room.code)
    assert student.get("/api/class").json() == {"version": 0, "state": None}
    assert teacher.get("/api/samplers").json()["role"] == "teacher"
    about = teacher.get("/api/class").json()
    assert (about["address"], about["code"], about["joined"]) == (f"{URL}/join", room.code, 1)
    assert teacher.post("/api/class", json={"state": STATE}).status_code == 200
    assert student.get("/api/class").json() == {"version": 1, "state": STATE}


def test_wrong_codes_are_limited_by_address(people, room, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(
        "corelm_serve.play.classroom.time", SimpleNamespace(monotonic=lambda: now[0])
    )
    student = people()
    assert [join(student, "WRONG2").status_code for _ in range(11)] == [403] * 10 + [429]
    assert join(student, room.code).status_code == 429
    assert room.join(room.code, "10.0.0.8")  # somebody else's
    now[0] = 60
    assert join(student, room.code).status_code == 303
    assert not {*room.code} & {*"IO01"}


def test_wrong_codes_of_many_addresses_are_forgotten(room):
    for at in range(1_010):
        for _ in range(10 if at == 0 else 1):
            room.join("WRONG2", f"10.0.0.{at}")
    assert room.join(room.code, "10.0.0.0")


def test_the_picture_is_a_qr_code_where_segno_is_installed(room, monkeypatch):
    pytest.importorskip("segno", reason='pip install "corelm-serve[class]"')
    assert room.for_teacher()["picture"].startswith("data:image/svg+xml")
    monkeypatch.setitem(sys.modules, "segno", None)
    assert room.for_teacher()["picture"] is None


def test_without_a_class_there_is_none(client):
    assert client.get("/api/samplers").json()["role"] is None
    assert client.get("/api/class").status_code == 404
    assert client.post("/api/class", json={"state": {}}).status_code == 404
    assert client.get("/join").status_code == 404


@pytest.mark.slow
def test_the_command_opens_a_class():
    with start("--class") as process:
        process.stdout.readline()
        said = process.stderr.readline()
        address, code = said.split()[2], said.split()[-1]
        with httpx2.Client(timeout=SOON) as student:
            assert student.get(address).status_code == 200
            student.get(address, params={"code": code})
            assert student.get(address.replace("/join", "/api/class")).json()["version"] == 0
        process.terminate()
        process.communicate(timeout=SOON)


@pytest.mark.slow
def test_a_page_of_a_student_opens_what_the_teacher_sends(browser, class_address):
    address, code = class_address
    teacher, student = (browser.new_context().new_page() for _ in range(2))
    for page in (teacher, student):
        page.set_default_timeout(PATIENCE)
    teacher.goto(f"{address}/play?token={TOKEN}")
    teacher.wait_for_selector("#columns tbody tr")
    student.goto(f"{address}/play")
    student.fill("input[name=code]", code)
    student.press("input[name=code]", "Enter")
    student.wait_for_selector("#columns tbody tr")
    assert student.is_hidden("#class-open")
    student.fill("#prompt", "the cat")
    pause(student, 600)
    settled(student)
    teacher.fill("#expression", "greedy")
    teacher.wait_for_selector("#cards [data-name=greedy]")
    teacher.click("#class-open")
    until(teacher, "document.getElementById('class-code').textContent")
    assert teacher.inner_text("#class-code") == code
    teacher.click("#class-send")
    until(student, "document.getElementById('expression').value === 'greedy'")
    assert student.input_value("#prompt") == "and"
    student.go_back()
    until(student, "document.getElementById('prompt').value === 'the cat'")
    for page in (teacher, student):
        page.context.close()


@pytest.fixture
def class_address():
    room = Classroom("http://127.0.0.1")
    with served(token=TOKEN, classroom=room) as url:
        yield url, room.code
