"""More than can be taken: refused at once, with when to try again; and all is given back."""

import asyncio
import copy
import threading

import pytest
from asked import FEW, PNG, client_of, file_of, picture, service_of

from jaxad.detector import replace
from jaxad.serve.models import Model


def waiting(predictor):
    """A predictor that computes when it is let: `go.set()`; `begun` tells that it was asked."""
    slow, compute = copy.copy(predictor), predictor.compute
    slow.go, slow.begun = threading.Event(), threading.Event()

    def later(squares):
        slow.begun.set()
        assert slow.go.wait(20)
        return compute(squares)

    slow.compute = later
    return slow


@pytest.fixture
def held_up(model):
    """(client, service, predictor that waits) by limits."""
    made = []

    def make(**limits):
        slow = waiting(model.first)
        one = Model("tiny", {"tiny": slow}, model.sizes)
        made.append((service_of(one, limits=replace(FEW, **limits)), slow))
        return client_of(made[-1][0]), *made[-1]

    yield make
    for service, slow in made:
        slow.go.set()
        service.close()


def whole(service):
    """Whether all that was taken has been given back."""
    rooms = (service.bytes, service.judging.pixels, service.judging.answers, service.queue)
    return all(room.free == room.size for room in rooms) and service.active == 0


async def until(true):
    for _ in range(1000):
        if true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came")


def test_a_full_queue_says_when_to_try_again(held_up):
    client, service, slow = held_up(queue=2)

    async def scene():
        async with client.opened() as asking:
            post = lambda: asking.post("/v1/predict", content=file_of(picture()), headers=PNG)
            first = [asyncio.create_task(post()) for _ in range(2)]
            await until(lambda: service.queue.free == 0)
            third = await post()
            health = await asking.get("/healthz")
            slow.go.set()
            return third, health, [await one for one in first], await post()

    third, health, first, later = asyncio.run(scene())
    assert third.status_code == 503
    assert third.json()["error"]["code"] == "overloaded"
    assert int(third.headers["retry-after"]) >= 1
    assert health.status_code == 200
    assert [one.status_code for one in first] == [200, 200]
    assert later.status_code == 200
    assert whole(service)


def test_a_form_that_does_not_fit_into_the_queue_is_refused_whole(held_up):
    client, service, slow = held_up(queue=2)
    slow.go.set()
    files = [("a", (f"{i}.png", file_of(picture()))) for i in range(3)]
    answer = client.post("/v1/predict", files=files)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "overloaded")
    assert whole(service)


def test_what_is_not_answered_in_time_is_told(held_up):
    client, service, slow = held_up(timeout=0.3)
    answer = client.post("/v1/predict", content=file_of(picture()), headers=PNG)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "timeout"
    assert "retry-after" in answer.headers
    slow.go.set()
    assert whole(service)
    answer = client.post("/v1/predict", content=file_of(picture()), headers=PNG)
    assert answer.status_code == 200


def test_a_body_that_comes_too_slowly_is_told(held_up):
    client, service, _ = held_up(body_timeout=0.3)

    async def trickle():
        for byte in file_of(picture()):
            yield bytes([byte])
            await asyncio.sleep(0.05)

    answer = client.post("/v1/predict", content=trickle(), headers=PNG)
    assert answer.status_code == 408
    assert answer.json()["error"]["code"] == "too_slow"
    assert whole(service)


def test_who_goes_is_not_waited_for(held_up):
    client, service, slow = held_up()

    async def scene():
        began, gone = asyncio.Event(), asyncio.Event()
        body = [{"type": "http.request", "body": file_of(picture()), "more_body": False}]

        async def receive():
            if body:
                return body.pop()
            began.set()
            await gone.wait()
            return {"type": "http.disconnect"}

        sent = []

        async def send(message):
            sent.append(message)

        scope = {
            "type": "http", "method": "POST", "path": "/v1/predict", "query_string": b"",
            "headers": [(b"content-type", b"image/png")], "client": None, "http_version": "1.1",
        }  # fmt: skip
        asking = asyncio.create_task(client.app(scope, receive, send))
        await began.wait()
        await until(slow.begun.is_set)
        gone.set()
        await asyncio.wait_for(asking, 10)
        assert whole(service)  # while it is still being computed
        slow.go.set()

    asyncio.run(scene())


def test_bytes_that_are_held_are_bounded(held_up):
    content = file_of(picture())
    client, service, slow = held_up(held_bytes=len(content) + 10)

    async def scene():
        async with client.opened() as asking:
            post = lambda: asking.post("/v1/predict", content=content, headers=PNG)
            first = asyncio.create_task(post())
            await until(slow.begun.is_set)
            second = await post()
            slow.go.set()
            return await first, second

    first, second = asyncio.run(scene())
    assert first.status_code == 200
    assert (second.status_code, second.json()["error"]["code"]) == (503, "overloaded")
    assert whole(service)


def test_pixels_that_are_decoded_are_bounded(held_up, monkeypatch):
    client, service, slow = held_up(held_pixels=70 * 90 + 1)
    slow.go.set()
    most, now, lock = 0, 0, threading.Lock()
    see = slow.see

    def watched(*words):
        nonlocal most, now
        with lock:
            now += 1
            most = max(most, now)
        threading.Event().wait(0.02)
        with lock:
            now -= 1
        return see(*words)

    slow.see = watched
    files = [("a", (f"{i}.png", file_of(picture(i)))) for i in range(6)]
    answer = client.post("/v1/predict", params={"include": "overlay"}, files=files)
    assert answer.status_code == 200
    assert all("overlay" in row for row in answer.json()["pictures"])
    assert most == 1
    assert whole(service)


def test_a_picture_cut_into_tiles_keeps_its_room_until_it_is_computed(held_up):
    client, service, slow = held_up(held_pixels=70 * 90 + 1)
    slow.tiles, slow._card = 32, slow._card._replace(tiles=32)
    see, seen = slow.see, []
    slow.see = lambda *words: seen.append(1) or see(*words)
    files = [("a", (f"{i}.png", file_of(picture(i)))) for i in range(3)]

    async def scene():
        async with client.opened() as asking:
            answer = asyncio.create_task(asking.post("/v1/predict", files=files))
            await until(slow.begun.is_set)
            await asyncio.sleep(0.3)
            meanwhile = len(seen)
            slow.go.set()
            return meanwhile, await answer

    meanwhile, answer = asyncio.run(scene())
    assert meanwhile == 1
    assert len(seen) == 3
    assert answer.status_code == 200
    assert all("label" in row for row in answer.json()["pictures"])
    assert whole(service)


def test_who_asks_for_no_map_does_not_wait_for_the_room_of_maps(held_up):
    client, service, slow = held_up()
    slow.go.set()

    async def scene():
        async with service.judging.answers.held(service.judging.answers.size):
            waiting = asyncio.create_task(service.judging.answers._wait(1))
            async with client.opened() as asking:
                answer = await asking.post("/v1/predict", content=file_of(picture()), headers=PNG)
            waiting.cancel()
            return answer

    assert asyncio.run(scene()).status_code == 200


def test_maps_that_do_not_fit_are_refused_before_decoding(held_up):
    client, service, slow = held_up(answer_bytes=1000)
    slow.go.set()
    post = lambda **query: client.post(
        "/v1/predict", params=query, content=file_of(picture()), headers=PNG
    )
    answer = post(include="map")
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large_answer")
    assert post().status_code == 200
    assert whole(service)


def test_a_program_that_fails_costs_its_request_alone(held_up, caplog):
    client, service, slow = held_up()
    slow.go.set()
    compute = slow.compute

    def failing(squares):
        raise RuntimeError("RESOURCE_EXHAUSTED: out of memory at /secret/place")

    service._batcher._lines["tiny"].compute = failing
    answer = client.post("/v1/predict", content=file_of(picture()), headers=PNG)
    assert answer.status_code == 500
    assert answer.json()["error"] == {
        "code": "computing_failed",
        "message": "the picture could not be computed",
    }
    assert "/secret/place" in caplog.text
    service._batcher._lines["tiny"].compute = compute
    answer = client.post("/v1/predict", content=file_of(picture()), headers=PNG)
    assert answer.status_code == 200
    assert whole(service)


def test_a_fault_is_told_without_its_words(held_up, monkeypatch, caplog):
    client, service, _ = held_up()

    async def fault(*_):
        raise AssertionError("at /secret/place")

    monkeypatch.setattr(service, "answered", fault)
    answer = client.post("/v1/predict", content=file_of(picture()), headers=PNG)
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "fault")
    assert "secret" not in answer.text
    assert "/secret/place" in caplog.text
    assert whole(service)


def test_at_the_end_new_requests_are_refused_and_old_ones_answered(held_up):
    client, service, slow = held_up()

    async def scene():
        async with client.opened() as asking:
            post = lambda: asking.post("/v1/predict", content=file_of(picture()), headers=PNG)
            first = asyncio.create_task(post())
            await until(slow.begun.is_set)
            service.stopping = True
            ready, second = await asking.get("/readyz"), await post()
            slow.go.set()
            return ready, second, await first, await asking.get("/healthz")

    ready, second, first, alive = asyncio.run(scene())
    assert (ready.status_code, second.status_code) == (503, 503)
    assert second.json()["error"]["code"] == "stopping"
    assert "retry-after" in second.headers
    assert (first.status_code, alive.status_code) == (200, 200)


def test_before_all_is_compiled_it_is_not_ready(model):
    from jaxad.serve.service import Service

    service = Service(["tiny", "other"], FEW)
    client = client_of(service)
    service.add(model)
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["error"]["message"] == "still loading and compiling: other"
    answer = client.post("/v1/predict?model=other", content=b"", headers=PNG)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "loading")
    answer = client.post("/v1/predict?model=tiny", content=file_of(picture()), headers=PNG)
    assert answer.status_code == 200
    service.close()
