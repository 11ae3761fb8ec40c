"""Streams whose pictures belong to the images."""

import types

import numpy as np
import pytest

from jaxad.data import pipeline
from jaxad.data.source import Data
from jaxad.detector import Detector, Stream


class Plain:
    """Pictures of one value each, which tells their index."""

    has_masks = has_regions = False

    def __init__(self, values):
        self.values, self.records = list(values), ()

    def __len__(self):
        return len(self.values)

    def __getitem__(self, index):
        return {"image": np.full((8, 8, 3), self.values[index], np.uint8), "index": index}

    def __repr__(self):
        return f"Plain({self.values})"

    def regions(self, index):
        raise NotImplementedError


CFG = types.SimpleNamespace(steps=1, size=8, batch_size=4)


def detector(*streams):
    return Detector(None, None, None, None, None, streams=lambda cfg: streams)


@pytest.mark.parametrize("memory", [0, 2**20])
def test_a_paired_stream_gives_each_image_the_picture_of_its_own_index(memory):
    streams = {"aux": Plain(range(50, 53)), "foreground": Plain(range(100, 107))}
    data = Data(Plain(range(7)), None, None, streams)
    wanted = detector(Stream("aux"), Stream("foreground", paired=True))
    iterator = iter(pipeline.train_batches(wanted, CFG, data, 0, memory=memory))
    batches = [next(iterator) for _ in range(6)]
    iterator.close()
    for batch in batches:
        np.testing.assert_array_equal(batch["image"] + 100, batch["foreground"])
        np.testing.assert_array_equal(batch["image"][:, 0, 0, 0], batch["index"])
        assert batch["aux"].min() >= 50
    assert len({int(i) for batch in batches for i in batch["index"]}) == 7


def test_a_paired_stream_has_to_have_a_picture_for_each_image():
    data = Data(Plain(range(7)), None, None, {"foreground": Plain(range(6))})
    wanted = detector(Stream("foreground", paired=True))
    with pytest.raises(ValueError, match=r"'foreground' has 6 pictures.* 7 of data\.train"):
        pipeline.train_batches(wanted, CFG, data, 0)
