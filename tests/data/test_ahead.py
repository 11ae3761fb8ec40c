"""Work in threads that keeps its order and its bounds."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from jaxad.data.ahead import ahead


def test_results_keep_the_order_and_only_a_window_is_taken_ahead():
    taken = []

    def things():
        for i in range(20):
            taken.append(i)
            yield i

    def slow(i):
        time.sleep(0.002 * (20 - i) % 0.01)
        return i * i

    with ThreadPoolExecutor(4) as pool:
        for i, found in enumerate(ahead(slow, things(), pool, 5)):
            assert found == i * i
            assert len(taken) <= i + 5
    assert taken == list(range(20))


def test_several_are_under_way_at_once():
    both = threading.Barrier(2, timeout=10)  # passes only if two wait at once
    with ThreadPoolExecutor(2) as pool:
        assert len(list(ahead(lambda _: both.wait(), range(4), pool, 2))) == 4


def test_an_error_comes_in_its_place_and_the_rest_is_dropped():
    begun = []

    def fails(i):
        begun.append(i)
        if i == 2:
            raise ValueError("the third")
        return i

    with ThreadPoolExecutor(1) as pool:
        found = ahead(fails, range(100), pool, 4)
        assert [next(found), next(found)] == [0, 1]
        with pytest.raises(ValueError, match="the third"):
            next(found)
    assert len(begun) < 8
