"""Company changes no text, nobody waits for long, and a failing request costs one request."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from corelm_serve.errors import ApiError
from corelm_serve.scheduling.jobs import Job
from corelm_serve.scheduling.scheduler import Limits, Scheduler, Shares
from serve_client import (
    SOON,
    Counted,
    CountedSession,
    ToyModel,
    complete,
    events_of,
    sample,
    wait_until,
)

import corelm
from corelm.runs import Endings, Strategy

MODEL = ToyModel(end=False)  # its texts have the length that is asked for
LONG = {"max_tokens": 4000}


def code(future):
    """Return the code of the error that a request ended with."""
    return future.result(SOON).json()["error"]["code"]


@pytest.mark.slow
def test_texts_do_not_depend_on_the_company(open_client):
    client = open_client({"toy": MODEL})
    chains = ["stochastic", "top_p(p=0.9)", "mirostat(tau=2.0)", "temperature(t=0.5) | top_k(k=3)"]
    wanted = [
        {"sampler": chains[i % 4], "seed": i, "max_tokens": 5 + i % 17, "n": 1 + i % 3}
        for i in range(40)
    ]
    with ThreadPoolExecutor(16) as pool:
        answers = [*pool.map(lambda body: client.complete(**body), wanted)]
    for body, answer in zip(wanted, answers, strict=True):
        length = body.pop("max_tokens")
        texts = [choice["text"] for choice in answer["choices"]]
        assert texts == sample(MODEL, "the", length=length, **body)


@pytest.mark.parametrize("chain", ["stochastic", "mirostat", "raises(at=1)"])
def test_a_request_that_has_ended_is_no_longer_counted(open_client, chain):
    client = open_client({"toy": MODEL})
    for _ in range(10):
        client.begin(sampler=chain, max_tokens=3).result(SOON)
        assert client.figure("running_rows") == 0


def test_of_requests_that_share_a_turn_one_fails_alone(open_client):
    client = open_client({"toy": Counted(0.01)}, entries=150)
    asked = {"sampler": "stochastic", "max_tokens": 20, "record": "figures"}
    good = [client.begin(**asked, seed=seed) for seed in range(2)]
    failed = client.begin(**asked | {"record": "sets", "sampler": "top_k(k=9)"})
    assert code(failed) == "too_large"
    for each in good:
        assert each.result(SOON).json()["usage"]["completion_tokens"] == 20


def test_a_short_text_ends_within_a_few_steps_of_sixty_three_long_ones(open_client):
    model = Counted(0.02)
    client = open_client({"toy": model})
    long = [client.begin(**LONG, seed=seed) for seed in range(63)]
    client.wait_for(running_rows=63)
    steps = []
    for seed in range(100, 108):
        before = model.steps
        client.complete(max_tokens=2, seed=seed)
        steps.append(model.steps - before)
    assert sorted(steps)[4] <= 6  # its own and the one in progress, and a few for HTTP
    assert not any(each.done() for each in long)


def test_a_long_prompt_is_scored_in_turn_with_shorter_ones(open_client):
    client = open_client({"toy": Counted()}, prompt=50_000)
    scores = {"sampler": "greedy", "max_tokens": 0, "echo": True, "logprobs": 0}
    asked = client.ask(prompt="the " * 40_000, **scores)  # more than a pass takes
    client.wait_for(running_rows=1)
    client.complete(prompt="the " * 600, **scores)
    assert client.figure("running_rows") == 1
    asked.leave()


@pytest.mark.parametrize("more", [{}, {"echo": True, "logprobs": 0}])
def test_a_long_prompt_is_read_in_pieces_between_steps(open_client, more):
    model = Counted(0.002)
    client = open_client({"toy": model}, piece=10)
    long = client.begin(**LONG)
    client.wait_for(running_rows=1)
    client.complete(prompt="the cat sat " * 40, **more)
    assert max(model.reads) <= 10
    assert not long.done()


def test_scoring_takes_small_blocks_while_a_text_grows(open_client):
    model = Counted()
    client = open_client({"toy": model})
    asked = client.ask(**LONG, stream=True, logprobs=0)  # in the same lane
    client.wait_for(running_rows=1)
    model.reads.clear()
    client.complete(prompt="the " * 600, echo=True, logprobs=0, max_tokens=0)
    assert max(model.reads) <= 512 // 8
    asked.leave()


@pytest.mark.parametrize("length", [5, 41, 90])
@pytest.mark.parametrize("name", ["imdb", "gpt2"])
def test_a_prompt_in_pieces_has_the_same_text(open_client, name, length):
    model = corelm.load(name)
    asked = {"prompt": [5 + i % 50 for i in range(length)], "sampler": "top_p(p=0.9)", "seed": 1}
    texts = [
        open_client({"toy": model}, piece=piece).complete(**asked, n=3, max_tokens=20)["choices"]
        for piece in (20, 10**6)
    ]
    assert texts[0] == texts[1]


def test_a_round_reads_one_piece_of_all_prompts_together(open_client):
    model = Counted(0.002)
    client = open_client({"toy": model}, piece=10, prefixes=0)
    asked = [client.begin(prompt="the cat sat " * 20, max_tokens=3) for _ in range(8)]
    assert {each.result(SOON).status_code for each in asked} == {200}
    assert max(model.reads) <= 10


def test_a_prompt_beyond_the_context_is_refused_or_cut_where_asked(open_client):
    model = Counted()
    model.context_length = 20
    client = open_client({"toy": model}, piece=10)
    long = {"prompt": "dog " + "the cat sat " * 20, "max_tokens": 5, "seed": 1}
    status, error = client.refused(**long)
    assert (status, error["code"], error["param"]) == (400, "context_length_exceeded", "prompt")
    assert error["message"] == (
        "the prompt has 61 tokens, and the model attends to 20; "
        "shorten it, or keep its end with truncate_prompt_tokens"
    )
    status, error = client.refused(**long, truncate_prompt_tokens=21)
    assert "the prompt has 21 tokens" in error["message"]
    for last, kept in ((12, 12), (-1, 20)):
        cut = client.complete(**long, truncate_prompt_tokens=last)
        assert cut["usage"]["prompt_tokens"] == kept
        end = " ".join(long["prompt"].split()[-kept:])
        short = client.complete(**long | {"prompt": end})
        assert cut["choices"][0]["text"] == short["choices"][0]["text"]
    assert client.complete(**long, echo=True, logprobs=0)["usage"]["prompt_tokens"] == 61


def test_a_step_that_reads_a_prompt_has_more_time(open_client):
    client = open_client({"toy": Counted(1.5)}, stall=0.8)
    asked = {"max_tokens": 1}
    assert code(client.begin(**asked)) == "stalled"
    client = open_client({"toy": Counted(1.5)}, stall=0.8)
    assert client.complete(prompt="the " * 512, **asked)["usage"]["prompt_tokens"] == 512


def test_no_more_rows_than_the_limit_are_written_at_once(open_client):
    client = open_client({"toy": Counted(0.01)}, rows=4)
    asked = [client.begin(n=2, max_tokens=30) for _ in range(4)]
    client.wait_for(running_rows=4, waiting_jobs=2)
    assert {each.result(SOON).status_code for each in asked} == {200}


def test_a_request_for_sixty_four_texts_holds_up_no_other(open_client):
    model = Counted(0.002)
    client = open_client({"toy": model})
    big = client.begin(**LONG, n=64)
    client.wait_for(running_rows=64)
    steps = []
    for seed in range(8):
        before = model.steps
        answer = client.complete(max_tokens=3, seed=seed, n=1 + seed)
        assert [each["text"] for each in answer["choices"]] == sample(
            MODEL, "the", sampler="stochastic", seed=seed, length=3, n=1 + seed
        )
        steps.append(model.steps - before)
    assert sorted(steps)[4] < 100  # of 4,000 of the large one
    assert not big.done()


@pytest.mark.parametrize(
    "asked",
    [
        {"n": 9},
        {"prompt": ["the"] * 9},
        {"n": 2, "logprobs": 1},
        {"n": 2, "record": "figures"},
        {"n": 2, "stop_regex": "a.b"},
        {"n": 2, "sampler": "min_length(n=3)"},
    ],
    ids=lambda asked: "-".join(asked),
)
def test_a_step_of_a_costly_request_holds_up_no_other(open_client, monkeypatch, asked):
    begun, gate, compute = threading.Event(), threading.Event(), CountedSession.next_logits

    def slow_for_several_rows(session):
        logits = compute(session)
        if len(logits) > 1:
            begun.set()
            gate.wait(SOON)
        return logits

    # No child process, which a full machine starts late.
    monkeypatch.setattr("corelm_serve.requests.trials.CALLS.call", lambda *call: None)
    monkeypatch.setattr(CountedSession, "next_logits", slow_for_several_rows)
    client = open_client({"toy": Counted()}, stall=SOON)
    costly = client.begin(max_tokens=5, **asked)
    assert begun.wait(SOON)
    assert client.complete(max_tokens=5)["usage"]["completion_tokens"] == 5
    assert not costly.done()
    gate.set()
    assert costly.result(SOON).status_code == 200


def test_requests_for_many_texts_have_equal_shares(open_client):
    client = open_client({"toy": Counted(0.005)}, rows=16)
    lengths = {"max_tokens": 400}
    first = client.begin(**lengths, n=16, seed=1)
    client.wait_for(running_rows=16)
    second = client.begin(**lengths, n=16, seed=2)
    client.wait_for(running_rows=24)  # half of 16 beside it, and the others later
    client.complete(max_tokens=3, n=4)
    for each, seed in ((first, 1), (second, 2)):
        texts = [choice["text"] for choice in each.result(SOON).json()["choices"]]
        assert texts == sample(MODEL, "the", sampler="stochastic", seed=seed, n=16, length=400)


def test_parts_of_a_request_have_its_pieces_tables_and_records(open_client):
    client = open_client({"toy": Counted(0.002)}, rows=16)
    client.begin(**LONG, n=16)
    client.wait_for(running_rows=16)
    asked = {"n": 12, "max_tokens": 40, "logprobs": 2, "record": "figures", "seed": 3}
    alone = open_client({"toy": MODEL}).complete(**asked)
    parts = client.complete(**asked)  # 8 and 4
    assert parts["choices"] == alone["choices"]
    events = client.stream(**asked | {"record": None})
    assert [complete(events, i) for i in range(12)] == [x["text"] for x in alone["choices"]]


def job(client, request=0, n=1, begun=0):
    made = Job([3], Strategy.of("greedy"), n, 1, 900, Endings(), client=client)
    made.request, made.begun = request, begun
    return made


def test_shares_are_those_of_clients_and_then_of_their_requests():
    def given(running, waiting):
        shares, rows = Shares(64, running, waiting), Counter()
        while any(x.begun < x.rows for x in waiting) and (
            n := shares.give(x := shares.next(waiting))
        ):
            x.begun += n
            rows[x.request] += n
        return dict(rows)

    assert given([], [job("a", 1, 64), job("a", 2, 64)]) == {1: 32, 2: 32}
    assert given([], [job("a", 1, 64), job("a", 2, 4), job("a", 3, 64)]) == {1: 32, 2: 4, 3: 24}
    assert given([], [job("a", 1, 64), job("a", 2, 64), job("b", 3, 64)]) == {1: 16, 2: 16, 3: 32}
    assert given([job("a", 1, 64, 64)], [job("a", 2, 64)]) == {2: 32}
    many = [job("a", i, 1, 1) for i in range(64)]
    assert given(many, [job("a", 70, 1)]) == {}  # each has its share
    assert given(many, [job("b", 70, 64)]) == {70: 32}
    fours = [job("a", i, 64, 64) for i in range(4)]
    assert given(fours, [job("b", 70, 1)]) == {}  # four times the limit


def test_a_full_queue_is_429_with_the_time_to_wait(open_client):
    client = open_client({"toy": Counted(0.05)}, rows=1, waiting=1)
    asked = [client.begin(max_tokens=40) for _ in range(6)]
    answers = sorted((each.result(SOON) for each in asked), key=lambda each: each.status_code)
    assert answers[0].status_code == 200
    assert answers[-1].status_code == 429
    assert answers[-1].headers["retry-after"] == "2"
    assert answers[-1].json()["error"]["type"] == "rate_limit_error"


def test_a_client_with_many_requests_is_refused_before_others():
    scheduler = Scheduler(Counted(0.05), Limits(rows=1, waiting=8))
    scheduler.submit([job("a") for _ in range(20)])
    with pytest.raises(ApiError, match="8 requests wait already"):
        scheduler.submit([job("a")])
    scheduler.submit([job("b") for _ in range(4)])
    with pytest.raises(ApiError):
        scheduler.submit([job("b")])
    scheduler.close()


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("decoder", ["ancestral", "beam(width=4)"])
def test_the_work_for_a_client_that_goes_ends_within_a_step(open_client, decoder, stream):
    if decoder != "ancestral":  # its first token is known last
        pytest.importorskip("corelm_beam", reason="pip install ./plugins/corelm-beam")
    model = Counted(0.01)
    client = open_client({"toy": model})
    asked = client.ask(**LONG, decoder=decoder, stream=stream)
    wait_until(lambda: model.steps > 3)
    asked.leave()
    before = model.steps
    client.wait_for(running_rows=0)
    assert model.steps <= before + 2


def test_a_client_that_waits_may_go(open_client):
    client = open_client({"toy": Counted(0.01)}, rows=1)
    first = client.begin(max_tokens=60)
    client.wait_for(running_rows=1)
    asked = client.ask()
    client.wait_for(waiting_jobs=1)
    assert asked.leave().sent == []
    assert client.figure("waiting_jobs") == 0
    assert first.result(SOON).status_code == 200


def test_a_client_that_goes_before_its_texts_end_gets_no_answer(open_client):
    client = open_client({"toy": Counted(0.01)})
    asked = client.ask(prompt=["the", "the cat"], max_tokens=4000, n=2)
    client.wait_for(running_rows=4)
    assert asked.leave().sent == []
    assert client.get("/metrics").text.count('status="499"') > 0


def test_a_sampler_that_raises_costs_one_request(open_client):
    client = open_client({"toy": MODEL})
    good = client.begin(seed=3, max_tokens=200)
    status, error = client.refused(sampler="raises(at=2)")
    assert status == 500
    assert error["code"] == "sampler_failed"
    assert "raises(at=2) failed at step 2: RuntimeError: a fault of the plugin" in error["message"]
    text = good.result(SOON).json()["choices"][0]["text"]
    assert [text] == sample(MODEL, "the", sampler="stochastic", seed=3, length=200)


def test_a_stream_ends_with_the_error_after_the_tokens_before_it(open_client):
    client = open_client({"toy": MODEL})
    *choices, error = client.stream(sampler="raises(at=4)")
    assert sum(len(each["choices"][0]["corelm"]["entropy"]) for each in choices) == 4
    assert error["error"]["code"] == "sampler_failed"


def test_a_stream_that_begins_with_an_error_has_its_status(open_client):
    client = open_client({"toy": Counted(0.01)}, rows=1)
    status, error = client.refused(sampler="raises(at=0)", stream=True)
    assert (status, error["code"]) == (500, "sampler_failed")
    running = client.begin(**LONG)
    client.wait_for(running_rows=1)
    waiting = client.begin(stream=True)
    client.wait_for(waiting_jobs=1)
    client.service.begin_stop()
    response = waiting.result(SOON)
    assert (response.status_code, response.headers["retry-after"]) == (503, "2")
    assert code(waiting) == "stopping"
    assert not running.done()


def test_a_sampler_that_hangs_is_named_and_costs_one_request(open_client):
    client = open_client({"toy": MODEL}, stall=0.5)
    good = [client.begin(seed=i, max_tokens=50) for i in range(2)]
    hanging = client.begin(sampler="temperature(t=0.5) | hangs(seconds=4)")
    wait_until(lambda: client.figure("running_rows") > 0)
    good.append(client.begin(seed=2, max_tokens=50))  # while no thread waits for jobs
    error = hanging.result(SOON).json()["error"]
    assert (hanging.result().status_code, error["code"]) == (500, "stalled")
    assert "the sampler hangs took more than 0.5 seconds for one step" in error["message"]
    for i, each in enumerate(good):
        text = each.result(SOON).json()["choices"][0]["text"]
        assert [text] == sample(MODEL, "the", sampler="stochastic", seed=i, length=50)


def test_a_slow_sampler_of_a_plugin_holds_up_no_other_request(open_client):
    client = open_client({"toy": MODEL})
    slow = [client.begin(sampler="hangs(seconds=0.3)", max_tokens=30) for _ in range(2)]
    client.wait_for(running_rows=2)
    for seed in range(3):
        text = client.complete(seed=seed, max_tokens=100)["choices"][0]["text"]
        assert [text] == sample(MODEL, "the", sampler="stochastic", seed=seed, length=100)
    assert not any(each.done() for each in slow)


def test_a_sampler_in_which_three_threads_hang_is_refused(open_client):
    client = open_client({"toy": MODEL}, stall=0.2)
    for _ in range(3):
        assert code(client.begin(sampler="temperature(t=0.5) | hangs(seconds=6)")) == "stalled"
    assert client.figure("hanging_threads") == 3
    status, error = client.refused(sampler="hangs(seconds=0)")
    assert (status, error["code"]) == (503, "sampler_hangs")
    assert error["message"] == "hangs is refused: 3 threads hang in it already"
    client.complete(max_tokens=5)
    wait_until(lambda: client.figure("hanging_threads") == 0)
    client.complete(sampler="hangs(seconds=0)", max_tokens=5)


def test_a_request_has_a_time_limit(open_client):
    client = open_client({"toy": Counted(0.05)}, seconds=0.5, rows=1)
    running = client.begin(**LONG)
    client.wait_for(running_rows=1)
    status, error = client.refused()
    assert (status, error["code"]) in ((503, "timeout"), (408, "timeout"))
    assert (running.result(SOON).status_code, code(running)) == (408, "timeout")


def test_a_model_that_fails_fails_the_requests_of_the_moment_alone(open_client):
    model = Counted(0.01)
    client = open_client({"toy": model})
    asked = client.begin(**LONG)
    client.wait_for(running_rows=1)
    model.fails = True
    assert code(asked) == "RuntimeError"
    model.fails = False
    client.complete(max_tokens=5)


def test_a_decoder_with_long_steps_holds_up_nobody(open_client):
    pytest.importorskip("corelm_beam")
    client = open_client({"toy": Counted(0.02)})
    searching = client.begin(decoder="beam(width=2)", max_tokens=100)
    client.wait_for(running_rows=1)
    client.complete(max_tokens=3)
    client.complete(max_tokens=3, decoder="likeliest")
    assert not searching.done()


def test_stopping_refuses_new_requests_and_ends_others_after_the_grace_period(open_client):
    client = open_client({"toy": Counted(0.01)}, rows=1, grace=1)
    asked = [client.begin(max_tokens=20), client.begin(**LONG)]
    client.wait_for(running_rows=1, waiting_jobs=1)
    client.service.begin_stop()
    assert sorted(each.result(SOON).status_code for each in asked) in ([200, 503], [503, 503])
    status, error = client.refused()
    assert (status, error["code"]) == (503, "stopping")
    assert error["message"] == "the server is stopping; ask again later"


def test_the_grace_period_ends_a_stream_with_an_error(open_client):
    client = open_client({"toy": Counted(0.01)}, grace=0.2)
    asked = client.begin(**LONG, stream=True)
    client.wait_for(running_rows=1)
    client.service.begin_stop()
    events = events_of(asked.result(SOON).text)
    assert events[-1]["error"]["code"] == "stopping"  # not that the model's thread gave it up, too
    assert sum("error" in event for event in events) == 1
