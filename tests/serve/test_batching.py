"""Squares of several pictures on a few compiled sizes: all come back, models take turns."""

import threading
import time
from concurrent.futures import Future
from types import SimpleNamespace

import numpy as np
import pytest

from jaxad.serve.batching import Batcher
from jaxad.serve.models import paying


def squares(*marks):
    """Squares that are known by their value."""
    return np.stack([np.full((2, 2, 3), mark, np.uint8) for mark in marks])


class Program:
    """A program whose score is the mark of a square; may be held up, or fail."""

    def __init__(self, fails=()):
        self.sizes, self.marks, self.fails = [], [], set(fails)
        self.go = threading.Event()
        self.go.set()
        self.begun = threading.Event()

    def __call__(self, batch):
        self.begun.set()
        assert self.go.wait(10)
        self.sizes.append(len(batch))
        marks = batch[:, 0, 0, 0].astype(np.float32)
        self.marks += marks.tolist()
        if self.fails & set(marks):
            raise RuntimeError("out of memory")
        return SimpleNamespace(map=np.repeat(marks, 4).reshape(-1, 2, 2), score=marks)


@pytest.fixture
def made():
    """(batcher, what it told) by seconds to wait."""
    batchers = []

    def make(wait=0.0, **programs):
        told = []
        batchers.append(Batcher(wait, told.append))
        for name, program in programs.items():
            batchers[-1].add(name, program, (1, 2, 4))
        return batchers[-1], told

    yield make
    for one in batchers:
        one.close()


def test_each_gets_its_own_whatever_it_is_computed_with(made):
    program = Program()
    batcher, told = made(0.02, a=program)
    rng = np.random.default_rng(0)
    marks = [[int(x) for x in rng.integers(0, 256, rng.integers(1, 9))] for _ in range(40)]
    futures = [batcher.submit("a", squares(*some)) for some in marks]
    for some, future in zip(marks, futures, strict=True):
        raw = future.result(10)
        assert raw.scores.tolist() == some
        assert raw.maps[:, 1, 1].tolist() == some
    assert set(program.sizes) <= {1, 2, 4}
    time.sleep(0.05)
    assert sum(batch.squares for batch in told) == sum(map(len, marks))
    assert sum(len(batch.waits) for batch in told) == len(marks)


@pytest.mark.parametrize(("count", "size"), [(1, 1), (2, 2), (3, 4), (4, 4)])
def test_the_smallest_size_that_fits_is_taken(made, count, size):
    program = Program()
    batcher, _ = made(0.2, a=program)
    for future in [batcher.submit("a", squares(i)) for i in range(count)]:
        future.result(10)
    assert program.sizes == [size]


def test_a_full_batch_does_not_wait(made):
    batcher, _ = made(60.0, a=Program())
    for future in [batcher.submit("a", squares(i)) for i in range(4)]:
        future.result(10)


def test_a_lonely_picture_waits_no_longer_than_told(made):
    batcher, told = made(0.05, a=Program())
    began = time.monotonic()
    batcher.submit("a", squares(1)).result(10)
    assert 0.05 <= time.monotonic() - began < 5
    time.sleep(0.05)
    assert told[0].waits[0] >= 0.05


def test_models_take_turns(made):
    busy, other = Program(), Program()
    busy.go.clear()
    batcher, told = made(0.0, busy=busy, other=other)
    many = [batcher.submit("busy", squares(i)) for i in range(20)]
    assert busy.begun.wait(10)
    one = batcher.submit("other", squares(7))
    busy.go.set()
    assert one.result(10).scores.tolist() == [7]
    for future in many:
        future.result(10)
    time.sleep(0.05)
    assert [batch.model for batch in told].index("other") <= 2


def test_a_picture_of_many_squares_lets_others_through(made):
    program = Program()
    program.go.clear()
    batcher, _ = made(0.0, a=program)
    batcher.submit("a", squares(0))
    assert program.begun.wait(10)
    large, small = batcher.submit("a", squares(*[1] * 40)), batcher.submit("a", squares(2))
    program.go.set()
    small.result(10)
    assert program.marks.index(2) < 10
    assert large.result(10).scores.tolist() == [1] * 40


def test_a_failure_costs_its_batch_alone(made, caplog):
    program = Program(fails=[9])
    batcher, told = made(0.0, a=program)
    bad = batcher.submit("a", squares(9))
    with pytest.raises(RuntimeError, match="out of memory"):
        bad.result(10)
    assert batcher.submit("a", squares(1)).result(10).scores.tolist() == [1]
    assert told[0].failed
    assert "computing 1 squares of a failed" in caplog.text


def test_what_was_given_up_is_not_computed(made):
    program = Program()
    program.go.clear()
    batcher, _ = made(0.0, a=program)
    first = batcher.submit("a", squares(0))
    assert program.begun.wait(10)
    gone = [batcher.submit("a", squares(i)) for i in range(1, 9)]
    assert all(future.cancel() for future in gone)
    last = batcher.submit("a", squares(9))
    program.go.set()
    assert last.result(10).scores.tolist() == [9]
    assert first.done()
    assert program.sizes == [1, 1]


def test_one_that_is_given_up_while_it_is_computed_harms_nobody(made):
    program = Program()
    program.go.clear()
    batcher, _ = made(0.0, a=program)
    gone = batcher.submit("a", squares(1))
    assert program.begun.wait(10)
    assert gone.cancel()
    program.go.set()
    assert batcher.submit("a", squares(2)).result(10).scores.tolist() == [2]


def test_a_batch_that_never_ends_is_noticed(made):
    program = Program()
    program.go.clear()
    batcher, _ = made(0.0, a=program)
    assert not batcher.stuck(0.01)
    batcher.submit("a", squares(1))
    assert program.begun.wait(10)
    time.sleep(0.05)
    assert batcher.stuck(0.01)
    program.go.set()


def test_at_the_end_what_waits_is_computed(made):
    batcher, _ = made(60.0, a=Program())
    futures: list[Future] = [batcher.submit("a", squares(i)) for i in range(3)]
    batcher.close()
    for future in futures:
        future.result(10)
    with pytest.raises(RuntimeError, match="ended"):
        batcher.submit("a", squares(1))


@pytest.mark.parametrize(
    ("milliseconds", "kept"),
    [
        ({1: 10, 2: 20, 4: 41}, (1,)),  # of a processor
        ({1: 10, 2: 11, 4: 12, 8: 14}, (1, 2, 4, 8)),  # of an accelerator
        ({1: 10, 2: 25, 4: 30}, (1, 4)),
        ({4: 10}, (4,)),
    ],
)
def test_sizes_that_are_no_faster_a_picture_are_not_used(milliseconds, kept):
    assert paying({size: ms / 1000 for size, ms in milliseconds.items()}) == kept
