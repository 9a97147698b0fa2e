"""The threads of the models: company changes no text, and a failing request costs one request."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import serve_client
from corelm_serve.errors import ApiError
from corelm_serve.models import Limits
from corelm_serve.scheduling.jobs import Job, Written
from corelm_serve.scheduling.scheduler import SHARE, Scheduler
from serve_client import ToyModel, sample

import corelm
from corelm.runs import Endings, Strategy

MODEL = ToyModel(end=False)  # its texts have the length that is asked for
SOON = 20


@pytest.fixture(autouse=True)
def _plugin():
    serve_client.register()


class Listener:
    """Who hears of a job."""

    def __init__(self):
        self.events = []
        self.ended = threading.Event()
        self.first = threading.Event()

    def __call__(self, job, event):
        self.events.append(event)
        self.first.set()
        if isinstance(event, (Written, BaseException)):
            self.ended.set()

    @property
    def end(self):
        assert self.ended.wait(SOON)
        return self.events[-1]


def job(listener, sampler="stochastic", prompt="the", **settings):
    values = {"n": 1, "seed": 1, "length": 10, "streamed": True, **settings}
    ids = MODEL.vocabulary.encode(prompt)
    return Job(ids, Strategy.of(sampler), endings=Endings(), tell=listener, **values)


@pytest.fixture
def scheduler():
    """Return a function that starts a scheduler."""
    started = []

    def start(model=MODEL, **limits):
        started.append(Scheduler(model, Limits(**limits)))
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.mark.parametrize("chain", ["stochastic", "mirostat", "raises(at=1)"])
def test_a_job_that_has_ended_is_no_longer_counted(scheduler, chain):
    running, counted, ended = scheduler(), [], threading.Event()

    def listen(mine, event):
        if isinstance(event, (Written, BaseException)):
            counted.append(running.running)
            ended.set()

    running.submit([job(listen, chain, length=3)])
    assert ended.wait(SOON)
    assert counted == [0]


class Slow(ToyModel):
    """A model whose steps take some milliseconds, and which counts them."""

    def __init__(self, seconds=0.01):
        super().__init__(end=False)
        self.seconds, self.reads, self.steps = seconds, [], 0

    def start(self, tokens):
        session = super().start(tokens)
        self.reads.append(session._tokens and len(session._tokens) - 1)
        session.__class__, session.model = SlowSession, self
        return session


class SlowSession(type(MODEL.start([[3]]))):
    def next_logits(self):
        self.model.steps += 1
        time.sleep(self.model.seconds)
        return super().next_logits()

    def extend(self, tokens):
        if getattr(tokens, "ndim", 1) == 2:
            self.model.reads.append(tokens.shape[1])
        super().extend(tokens)


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


def test_jobs_advance_in_turn(scheduler):
    one, other = Listener(), Listener()
    running = scheduler(Slow())
    running.submit([job(one, length=1000)])
    assert one.first.wait(SOON)
    running.submit([job(other, length=3)])
    assert isinstance(other.end, Written)
    assert not one.ended.is_set()


def test_of_requests_that_share_a_turn_one_fails_alone(scheduler):
    listeners = [Listener() for _ in range(3)]
    jobs = [job(each, seed=seed) for seed, each in enumerate(listeners)]
    jobs[1].record, jobs[1].most_ids = "sets", -1
    scheduler().submit(jobs)
    first, failed, last = (each.end for each in listeners)
    assert failed.code == "too_large"
    assert [[len(text.tokens) for text in each.texts] for each in (first, last)] == [[10], [10]]


def test_a_short_text_begins_within_two_steps_of_sixty_three_long_ones(scheduler):
    running, told = scheduler(), []

    def note(job, event):
        told.append((job, event))

    long = [job(note, length=4000, seed=seed) for seed in range(63)]
    running.submit(long)
    for seed in range(100, 120):
        listener, before = Listener(), len(told)
        running.submit([job(lambda *each, mine=listener: (note(*each), mine(*each)), length=2,
                            seed=seed)])  # fmt: skip
        assert isinstance(listener.end, Written)
        [first, *_] = [i for i, (each, _) in enumerate(told) if each.seed == seed]
        steps = sum(each is long[0] for each, _ in told[before:first])
        assert steps <= 2  # the one that was in progress, and its own
    assert not any(isinstance(event, Written) and each in long for each, event in told)


def test_a_long_prompt_is_scored_in_turn_with_shorter_ones(scheduler):
    long, short = Listener(), Listener()
    running = scheduler(Slow(0.0), total=2**18)
    wanted = [(long, 40_000), (short, 600)]  # more than a pass takes
    jobs = [job(each, "greedy", "the " * n, length=0, scored=True) for each, n in wanted]
    running.submit(jobs)
    assert isinstance(short.end, Written)
    assert not long.ended.is_set()
    running.cancel(jobs)


def test_scoring_takes_small_blocks_while_a_text_grows(scheduler):
    model, text, echo = Slow(0.0), Listener(), Listener()
    running = scheduler(model)
    running.submit([job(text, length=4000)])
    assert text.first.wait(SOON)
    model.reads.clear()
    jobs = [job(echo, "greedy", "the " * 600, length=0, scored=True)]
    running.submit(jobs)
    assert isinstance(echo.end, Written)
    assert max(model.reads) <= 512 // SHARE
    assert not text.ended.is_set()


def test_no_more_rows_than_the_limit_are_written_at_once(scheduler):
    listeners = [Listener() for _ in range(4)]
    running = scheduler(Slow(), rows=4)
    running.submit([job(each, n=2, length=30) for each in listeners])
    assert listeners[0].first.wait(SOON)
    assert running.running == 4
    assert running.waiting == 2
    for each in listeners:
        assert isinstance(each.end, Written)


def test_a_full_queue_is_429_with_the_time_to_wait(open_client):
    slow = Slow(seconds=0.05)
    client = open_client({"toy": slow}, Limits(rows=1, waiting=1))
    with ThreadPoolExecutor(6) as pool:
        found = [*pool.map(lambda _: client.post(
            "/v1/completions", json={"model": "toy", "prompt": "the", "max_tokens": 40}
        ), range(6))]  # fmt: skip
    statuses = sorted(response.status_code for response in found)
    assert statuses[0] == 200
    assert statuses[-1] == 429
    [refused, *_] = [response for response in found if response.status_code == 429]
    assert refused.headers["retry-after"] == "2"
    assert refused.json()["error"]["type"] == "rate_limit_error"


def test_a_cancelled_job_leaves_within_a_step(scheduler):
    model, listener = Slow(), Listener()
    running, mine = scheduler(model), job(listener, length=4000)
    running.submit([mine])
    assert listener.first.wait(SOON)
    running.cancel([mine])
    before = model.steps
    deadline = time.monotonic() + SOON
    while running.running and time.monotonic() < deadline:
        time.sleep(0.005)
    assert running.running == 0
    assert model.steps <= before + 2


def test_a_job_that_waits_can_be_cancelled(scheduler):
    one, other = Listener(), Listener()
    running = scheduler(Slow(), rows=1)
    first, second = job(one, length=30), job(other)
    running.submit([first, second])
    assert one.first.wait(SOON)
    running.cancel([second])
    assert running.waiting == 0
    assert isinstance(one.end, Written)
    assert not other.events


def test_a_sampler_that_raises_costs_one_request(open_client):
    client = open_client({"toy": MODEL})
    with ThreadPoolExecutor(2) as pool:
        good = pool.submit(client.complete, seed=3, max_tokens=200)
        status, error = client.refused(sampler="raises(at=2)")
    assert status == 500
    assert error["code"] == "sampler_failed"
    assert "raises(at=2) failed at step 2: RuntimeError: a fault of the plugin" in error["message"]
    text = good.result()["choices"][0]["text"]
    assert [text] == sample(MODEL, "the", sampler="stochastic", seed=3, length=200)


def test_a_stream_ends_with_the_error(open_client):
    client = open_client({"toy": MODEL})
    events = client.stream(sampler="raises(at=2)")
    assert events[-1]["error"]["code"] == "sampler_failed"
    assert sum(len(event.get("choices", ())) for event in events) == 2


def test_a_sampler_that_hangs_is_named_and_costs_one_request(open_client):
    client = open_client({"toy": MODEL}, Limits(stall=0.5))
    with ThreadPoolExecutor(2) as pool:
        good = [pool.submit(client.complete, seed=i, max_tokens=50) for i in range(2)]
        status, error = client.refused(sampler="temperature(t=0.5) | hangs(seconds=4)")
    assert status == 500
    assert error["code"] == "stalled"
    assert "the sampler hangs took more than 0.5 seconds for one step" in error["message"]
    for i, each in enumerate(good):
        text = each.result()["choices"][0]["text"]
        assert [text] == sample(MODEL, "the", sampler="stochastic", seed=i, length=50)
    client.complete()


def test_a_request_that_came_during_a_hang_is_written(scheduler):
    hanging, waiting = Listener(), Listener()
    running = scheduler(stall=0.5)
    running.submit([job(hanging, "hangs(seconds=4)")])
    while not running.running:
        time.sleep(0.01)
    time.sleep(0.1)
    running.submit([job(waiting, length=5)])  # while no thread waits for jobs
    assert hanging.end.code == "stalled"
    assert isinstance(waiting.end, Written)


def test_a_request_has_a_time_limit(open_client):
    client = open_client({"toy": Slow(seconds=0.05)}, Limits(seconds=0.3))
    status, error = client.refused(max_tokens=1000)
    assert (status, error["code"]) == (408, "timeout")


def test_a_request_that_waits_too_long_is_given_up(scheduler):
    one, other = Listener(), Listener()
    running = scheduler(Slow(), rows=1)
    running.submit([job(one, length=200)])
    assert one.first.wait(SOON)
    running.submit([job(other, deadline=time.monotonic() + 0.2)])
    assert isinstance(other.end, ApiError)
    assert other.end.status == 503
    assert not one.ended.is_set()


class LongModel(Slow):
    """A model that attends to many tokens."""

    context_length = 10_000


@pytest.mark.parametrize("scored", [False, True])
def test_a_long_prompt_is_read_in_pieces_between_steps(scheduler, scored):
    model = LongModel(seconds=0.002)
    running, one, other = scheduler(model, piece=10), Listener(), Listener()
    running.submit([job(one, length=500)])
    assert one.first.wait(SOON)
    running.submit([job(other, prompt="the cat sat " * 40, scored=scored)])
    assert isinstance(other.end, Written)
    assert max(model.reads) <= 10
    assert not one.ended.is_set()


@pytest.mark.parametrize("length", [5, 40, 41, 99, 150])
@pytest.mark.parametrize("name", ["imdb", "gpt2"])
def test_a_prompt_in_pieces_has_the_same_text(scheduler, name, length):
    model = corelm.load(name)
    ids = [5 + i % 50 for i in range(length)]
    running = scheduler(model, piece=20)
    listener = Listener()
    running.submit(
        [Job(ids, Strategy.of("top_p(p=0.9)"), 3, 1, 20, Endings(), tell=listener, streamed=False)]
    )
    found = [text.tokens for text in listener.end.texts]
    whole = scheduler(model, piece=10**6)
    listener = Listener()
    whole.submit(
        [Job(ids, Strategy.of("top_p(p=0.9)"), 3, 1, 20, Endings(), tell=listener, streamed=False)]
    )
    assert found == [text.tokens for text in listener.end.texts]


def test_a_round_reads_one_piece_of_all_prompts_together(scheduler):
    model = LongModel(seconds=0.002)
    running = scheduler(model, piece=10, prefixes=0)
    listeners = [Listener() for _ in range(8)]
    running.submit([job(each, prompt="the cat sat " * 20, length=3) for each in listeners])
    for each in listeners:
        assert isinstance(each.end, Written)
    assert max(model.reads) <= 10
    # A prompt beyond the context is one piece, and others go on all the same.
    one, other = Listener(), Listener()
    short = Slow()
    short.context_length = 20
    running = scheduler(short, piece=10)
    running.submit([job(one, length=50), job(other, prompt="the cat sat " * 20, length=5)])
    assert isinstance(one.end, Written)
    assert isinstance(other.end, Written)


def test_a_model_that_fails_fails_the_requests_of_the_moment_alone(scheduler):
    class Failing(Slow):
        fails = False

        def start(self, tokens):
            session, model = super().start(tokens), self
            extend = session.extend

            def failing(ids):
                if model.fails:
                    raise RuntimeError("out of memory")
                extend(ids)

            session.extend = failing
            return session

    model, one, other = Failing(), Listener(), Listener()
    running = scheduler(model)
    running.submit([job(one, length=1000)])
    assert one.first.wait(SOON)
    model.fails = True
    assert isinstance(one.end, RuntimeError)
    model.fails = False
    running.submit([job(other, length=5)])
    assert isinstance(other.end, Written)


def test_a_decoder_with_long_steps_holds_up_nobody(scheduler):
    pytest.importorskip("corelm_beam")
    searching, writing = Listener(), Listener()
    running = scheduler(Slow(seconds=0.02))
    running.submit([job(searching, "beam(width=2)", length=100)])
    running.submit([job(writing, length=3)])
    assert isinstance(writing.end, Written)
    assert not searching.ended.is_set()


def test_stopping_refuses_new_requests_and_lets_others_end(scheduler):
    one, other = Listener(), Listener()
    running = scheduler(Slow(), rows=1)
    running.submit([job(one, length=20), job(other)])
    assert one.first.wait(SOON)
    running.stop()
    assert isinstance(other.end, ApiError)
    with pytest.raises(ApiError, match="the server is stopping"):
        running.submit([job(Listener())])
    assert isinstance(one.end, Written)


def test_ending_fails_the_requests_that_still_run(scheduler):
    one = Listener()
    running = scheduler(Slow())
    running.submit([job(one, length=4000)])
    assert one.first.wait(SOON)
    running.stop()
    running.end()
    assert one.end.status == 503
