"""Labelled sets made of normal pictures."""

import jax
import numpy as np
import pytest

from jaxad.data import pipeline
from jaxad.data.source import Source
from jaxad.data.synthetic import synthetic_set
from jaxad.data.textures import Textures

SIZE = 32


@pytest.fixture(scope="module")
def normal(striped):
    return striped(SIZE).heldout


TEXTURES = Textures(count=5, size=32)


def test_a_share_is_damaged_and_the_rest_is_as_it_was(normal, key):
    found = synthetic_set(normal, TEXTURES, SIZE, key, share=0.5)
    assert isinstance(found, Source)
    assert len(found) == len(normal)
    labels = [record.label for record in found.records]
    assert sum(labels) == 2
    for i, label in enumerate(labels):
        item, before = found[i], normal[i]["image"]
        assert item["label"] == label == int(item["mask"].any())
        changed = (item["image"] != before).any(-1)
        assert not (changed & (item["mask"] == 0)).any()
        assert changed.any() == bool(label)
        assert found.records[i].name.startswith("synthetic/") == bool(label)


def test_key_decides_and_the_set_reads_like_any_other(normal, key):
    one, same = (synthetic_set(normal, TEXTURES, SIZE, key) for _ in range(2))
    other = synthetic_set(normal, TEXTURES, SIZE, jax.random.key(5))
    np.testing.assert_array_equal(one.images, same.images)
    assert (one.images != other.images).any()
    ((index, images),) = pipeline.test_batches(one, SIZE, 8)
    np.testing.assert_array_equal(images, one.images[index])


def test_damage_stays_in_the_foreground(normal, key):
    left = np.zeros((len(normal), SIZE, SIZE, 3), np.uint8)
    left[:, :, : SIZE // 2] = 255
    found = synthetic_set(normal, TEXTURES, SIZE, key, share=1.0, foreground=type(normal)(left))
    assert found.masks.any()
    assert not found.masks[:, :, SIZE // 2 :].any()


def test_wrong_arguments_are_told(normal, key):
    black = type(normal)(np.zeros((len(normal), SIZE, SIZE, 3), np.uint8))
    with pytest.raises(ValueError, match="share=0"):
        synthetic_set(normal, TEXTURES, SIZE, key, share=0.0)
    with pytest.raises(ValueError, match="size=20"):
        synthetic_set(normal, TEXTURES, 20, key)
    with pytest.raises(ValueError, match="5 foreground masks for 4 pictures"):
        synthetic_set(normal, TEXTURES, SIZE, key, foreground=TEXTURES)
    with pytest.raises(ValueError, match="the foreground is empty"):
        synthetic_set(normal, TEXTURES, SIZE, key, foreground=black)
