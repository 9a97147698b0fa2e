"""Events on their way from the threads of the models to the event loop."""

import asyncio

import pytest
from corelm_serve.exchange import ClientGoneError, Inbox, Wakeups


async def disconnect():
    return {"type": "http.disconnect"}


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


def test_a_client_that_has_gone_is_noted_after_the_events_so_far():
    async def main():
        inbox = Inbox(Wakeups())
        inbox.tell("job", "end")
        await inbox.watch(disconnect)
        assert await inbox.take() == [("job", "end")]
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
