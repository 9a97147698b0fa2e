"""Events on their way from the threads of the models to the event loop."""

import asyncio
from types import SimpleNamespace

import pytest
from corelm_serve.errors import ApiError
from corelm_serve.responses import ClientGoneError, Inbox, Wakeups, run
from corelm_serve.scheduling import jobs
from serve_client import ToyModel, register


async def disconnect():
    return {"type": "http.disconnect"}


class TwoEnds:
    """A scheduler whose job is ended by the server and, at once, by the thread of its model."""

    def __init__(self, inbox):
        self.inbox = inbox

    def submit(self, jobs):
        for message in ("the server is stopping", "the request took too long"):
            self.inbox.tell(jobs[0], ApiError(message, 503))

    def cancel(self, jobs):
        pass


def test_the_event_loop_is_woken_once_for_the_events_of_a_step():
    async def main():
        loop, calls = asyncio.get_running_loop(), []
        wakeups = Wakeups()
        inboxes = [Inbox(wakeups) for _ in range(8)]
        call, loop.call_soon_threadsafe = loop.call_soon_threadsafe, calls.append
        for step in range(2):
            for inbox in inboxes:
                inbox.tell("job", step)
        loop.call_soon_threadsafe = call
        assert len(calls) == 1
        calls[0]()
        return [await inbox.take() for inbox in inboxes]

    assert asyncio.run(main()) == [[("job", 0), ("job", 1)]] * 8


def test_a_client_that_has_gone_is_noted_before_the_events_so_far():
    async def main():
        inbox = Inbox(Wakeups())
        inbox.tell(SimpleNamespace(cancelled=False), "end")
        await inbox.watch(disconnect)
        with pytest.raises(ClientGoneError):
            await inbox.take()

    asyncio.run(main())


def test_a_client_that_goes_ends_the_wait():
    async def main():
        inbox = Inbox(Wakeups())
        asyncio.get_running_loop().call_soon(asyncio.ensure_future, inbox.watch(disconnect))
        with pytest.raises(ClientGoneError):
            await inbox.take()

    asyncio.run(main())


def test_the_first_end_of_a_job_is_its_last_event():
    async def main():
        inbox, never = Inbox(Wakeups()), asyncio.Event()
        call = SimpleNamespace(jobs=["job"])
        batches = run(call, TwoEnds(inbox), inbox, never.wait)
        async with asyncio.timeout(5):  # it would wait for another event forever
            return [str(event) async for batch in batches for _, event in batch]

    assert asyncio.run(main()) == ["the server is stopping"]


@pytest.mark.parametrize(("ended", "cancelled"), [(2, []), (1, ["other"])])
def test_the_jobs_that_have_ended_are_not_cancelled(ended, cancelled):
    class Ends(TwoEnds):
        """A scheduler that ends some jobs, and notes those that are cancelled."""

        found: list = []

        def submit(self, jobs):
            for job in jobs[:ended]:
                self.inbox.tell(job, ApiError("the end", 503))

        def cancel(self, jobs):
            self.found += jobs

    async def main():
        inbox, never = Inbox(Wakeups()), asyncio.Event()
        scheduler, call = Ends(inbox), SimpleNamespace(jobs=["job", "other"])
        scheduler.found = []
        batches = run(call, scheduler, inbox, never.wait)
        await anext(batches)
        await batches.aclose()
        return scheduler.found

    assert asyncio.run(main()) == cancelled


@pytest.mark.parametrize(("pause", "counts"), [(float("inf"), [1, 5]), (0, [1] * 6)])
def test_a_stream_has_its_first_token_at_once_and_others_together(
    open_client, monkeypatch, pause, counts
):
    monkeypatch.setattr(jobs, "PAUSE", pause)
    client = open_client({"toy": ToyModel(end=False)})
    choices = [event["choices"][0] for event in client.stream(max_tokens=6, seed=1, logprobs=1)]
    assert [len(choice["corelm"]["entropy"]) for choice in choices] == counts
    assert [len(choice["logprobs"]["tokens"]) for choice in choices] == counts
    whole = client.complete(max_tokens=6, seed=1, logprobs=1)["choices"][0]
    assert "".join(choice["text"] for choice in choices) == whole["text"]
    for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset"):
        parts = [item for choice in choices for item in choice["logprobs"][name]]
        assert parts == whole["logprobs"][name]


def test_the_tokens_before_an_error_are_sent(open_client, monkeypatch):
    register()
    monkeypatch.setattr(jobs, "PAUSE", float("inf"))
    client = open_client({"toy": ToyModel(end=False)})
    *choices, error = client.stream(sampler="raises(at=4)")
    assert [len(each["choices"][0]["corelm"]["entropy"]) for each in choices] == [1, 3]
    assert error["error"]["code"] == "sampler_failed"
