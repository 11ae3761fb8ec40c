"""Room for so much at a time: nothing is lost, the line keeps its order."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxad.serve.rooms import Room


def test_what_does_not_fit_waits_in_line():
    async def scene():
        room, order = Room(10), []

        async def hold(name, amount):
            async with room.held(amount):
                order.append(name)
                await asyncio.sleep(0.001)

        async with asyncio.TaskGroup() as group:
            for name, amount in (("a", 6), ("b", 6), ("c", 3), ("d", 99)):
                group.create_task(hold(name, amount))
        return order, room.free

    assert asyncio.run(scene()) == (["a", "b", "c", "d"], 10)


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 3), st.integers(0, 3)), max_size=12))
def test_room_is_whole_again_whoever_gives_up(visits):
    async def scene():
        room, most = Room(10), 0

        async def hold(amount, stays):
            nonlocal most
            async with room.held(amount):
                most = max(most, room.size - room.free)
                for _ in range(stays):
                    await asyncio.sleep(0)

        async def visit(amount, stays, patience):
            task = asyncio.create_task(hold(amount, stays))
            for _ in range(patience):
                await asyncio.sleep(0)
            if stays % 2:
                task.cancel()
            await asyncio.wait([task])

        async with asyncio.TaskGroup() as group:
            for one in visits:
                group.create_task(visit(*one))
        return room.free, most

    free, most = asyncio.run(scene())
    assert free == 10
    assert most <= 10


def test_nobody_passes_those_who_wait():
    async def scene():
        room = Room(10)
        async with room.held(6):
            waiting = asyncio.create_task(room.held(5).__aenter__())
            await asyncio.sleep(0)
            assert not room.try_take(1)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert room.try_take(1)

    asyncio.run(scene())
