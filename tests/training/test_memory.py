"""Memory for pictures: what is kept, what is read again, what is refused."""

import logging

import jax
import numpy as np
import pytest

from jaxad import training
from jaxad.data.pictures import Resized
from jaxad.detector import override
from jaxad.training import memory


class Counted:
    """A source that counts how often it is read."""

    def __init__(self, source):
        self.source, self.reads = source, 0
        self.records, self.has_masks, self.has_regions = source.records, False, False

    def __len__(self):
        return len(self.source)

    def __getitem__(self, index):
        self.reads += 1
        return self.source[index]

    def __repr__(self):
        return repr(self.source)

    def regions(self, index):
        raise NotImplementedError


@pytest.fixture(scope="module")
def job(tiny):
    detector, cfg, pretrained, data, _ = tiny("efficientad")
    return detector, override(cfg, "steps=3"), pretrained, data


def test_pictures_are_kept_while_they_fit_and_read_after(striped, caplog):
    source = striped(16).train
    budget = memory.Budget(6 * 16 * 16 * 3)
    with caplog.at_level(logging.INFO):
        assert isinstance(budget.pictures(source, 16), np.ndarray)
        assert budget.left == 0
        assert isinstance(budget.pictures(source, 16), Resized)
    assert "6 pictures are read whenever they are needed" in caplog.text


@pytest.mark.slow
def test_a_run_that_keeps_nothing_equals_one_that_keeps_all(job):
    detector, cfg, pretrained, data = job
    counted = data._replace(train=Counted(data.train), heldout=Counted(data.heldout))
    key = jax.random.key(0)
    read = training.fit(detector, cfg, pretrained, counted, key, memory=0)
    assert counted.train.reads > 2 * len(data.train)  # measured, and each batch
    kept = training.fit(detector, cfg, pretrained, data, key)
    for a, b in zip(jax.tree.leaves(read), jax.tree.leaves(kept), strict=True):
        np.testing.assert_array_equal(a, b)


def test_more_than_half_of_the_machine_is_refused_with_a_way_out(job, monkeypatch):
    monkeypatch.setattr(memory, "machine", lambda: 1e9)
    with pytest.raises(MemoryError, match=r"memory=600000000 bytes .* more than half.*give less"):
        training.fit(*job, jax.random.key(0), memory=600_000_000)


def test_the_default_is_less_on_a_small_machine(monkeypatch):
    assert memory.Budget().limit <= memory.MEMORY
    monkeypatch.setattr(memory, "machine", lambda: 8e6)
    assert memory.Budget().limit == 1_000_000


def test_iterators_are_closed_when_a_run_fails_before_its_loop(job, monkeypatch):
    detector, *rest = job
    closed = []
    real = training.fitting.train_batches

    class Watched:
        def __init__(self, dataset):
            self.dataset = dataset

        def __iter__(self):
            iterator = iter(self.dataset)
            monkeypatch.setattr(
                type(iterator), "close", lambda self: closed.append(self), raising=False
            )
            return iterator

    monkeypatch.setattr(training.fitting, "train_batches", lambda *x, **k: Watched(real(*x, **k)))

    def broken(cfg, pretrained, state, pictures):
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        training.fit(detector._replace(measure=broken), *rest, jax.random.key(0))
    assert len(closed) == 1
