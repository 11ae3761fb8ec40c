"""Pictures and folders to load."""

import zlib

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def picture():
    """Writes a picture with pixels of its own, and gives them back."""

    def write(path, height=12, width=16, pixels=None):
        path.parent.mkdir(parents=True, exist_ok=True)
        if pixels is None:
            rng = np.random.default_rng(zlib.crc32(path.as_posix().encode()))
            pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        return pixels

    return write


@pytest.fixture
def mask(picture):
    """Writes a mask with a rectangle of one value, and gives its pixels back."""

    def write(path, height=12, width=16, value=255, box=(2, 6, 3, 9)):
        pixels = np.zeros((height, width), np.uint8)
        pixels[box[0] : box[1], box[2] : box[3]] = value
        return picture(path, pixels=pixels)

    return write


@pytest.fixture
def mvtec_folder(tmp_path, picture, mask):
    """A category in MVTec AD layout: 12 training, 2 normal and 3 anomalous test pictures."""
    root = tmp_path / "bottle"
    for i in range(12):
        picture(root / "train" / "good" / f"{i:03}.png")
    for i in range(2):
        picture(root / "test" / "good" / f"{i:03}.png")
    for defect, count in (("crack", 2), ("glue", 1)):
        for i in range(count):
            picture(root / "test" / defect / f"{i:03}.png")
            mask(root / "ground_truth" / defect / f"{i:03}_mask.png")
    return root


@pytest.fixture
def cracked(tmp_path):
    """A category: six normal training pictures, three good and three cracked test pictures.

    64 x 64 pixels; a crack is a dark square of 14 x 14, its mask is exact.
    """
    rng = np.random.default_rng(0)
    root = tmp_path / "part"
    for place, count in (("train/good", 6), ("test/good", 3), ("test/crack", 3)):
        for i in range(count):
            pixels = rng.normal(128, 6, (64, 64, 3)).clip(0, 255).astype(np.uint8)
            if place == "test/crack":
                mask = np.zeros((64, 64), np.uint8)
                top, left = rng.integers(5, 45, 2)
                mask[top : top + 14, left : left + 14] = 255
                pixels[mask > 0] = 20
                save(root / "ground_truth" / "crack" / f"{i:03}_mask.png", mask)
            save(root / place / f"{i:03}.png", pixels)
    return root


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
