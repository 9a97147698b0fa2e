"""Answers that take long to write, in turn."""

import asyncio
import threading

from corelm_serve.responses import Turns


def slices(name, notes, count=3):
    for i in range(count):
        notes.append((name, threading.get_ident()))
        yield f"{name}{i}".encode()


async def read(turns, name, notes, *, slow):
    return [content async for content in turns.slices(slices(name, notes), slow=slow)]


def test_slow_answers_are_written_in_turn_and_outside_the_event_loop():
    async def main():
        turns, notes = Turns(), []
        reading = [read(turns, name, notes, slow=True) for name in "abc"]
        return await asyncio.gather(*reading), notes

    found, notes = asyncio.run(main())
    assert found == [[f"{name}{i}".encode() for i in range(3)] for name in "abc"]
    assert [name for name, _ in notes] == list("abc") * 3
    assert threading.get_ident() not in {thread for _, thread in notes}


def test_others_run_between_two_slices():
    async def main():
        turns, notes = Turns(), []
        await asyncio.gather(*(read(turns, name, notes, slow=False) for name in "ab"))
        return notes

    assert [name for name, _ in asyncio.run(main())] == list("ab") * 3
