"""The map of a large, oblong, rotated picture lies over the defect that a viewer shows."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxad.data.reading import Reading
from jaxad.data.view import Preprocessing, View
from jaxad.decision import bulk
from jaxad.decision.card import Card, Normals
from jaxad.decision.predictor import Predictor
from jaxad.decision.scale import Scale
from jaxad.detector import Detector, Prediction, State, config, static
from jaxad.report import outputs

SHAPE, SIZE = np.array([4000, 1500]), 100  # of pictures: width and height; of what is predicted
DEFECT = np.array([2300, 500, 2700, 800])  # left, top, right, bottom as a viewer shows it
STORED = {  # EXIF's orientation: what undoes the turn that it asks a viewer for
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@config
class Config:
    size: int = static(SIZE)
    batch_size: int = static(2)
    steps: int = static(1)
    weights: tuple[str, ...] = static(())


def brightness(cfg, pretrained, state, images):
    map = images.mean(-1)
    return Prediction(map, map.max((1, 2)))


def unused(*arguments):
    raise AssertionError("only predict is wanted")


BRIGHTNESS = Detector(
    name="brightness", Config=Config, init=unused, train_step=unused, calibrate=unused,
    predict=brightness,
)  # fmt: skip


@pytest.fixture(scope="module")
def predictor():
    """fit, tiles -> a predictor whose map is brightness, and whose limit is a half."""
    none, state = np.zeros(0), State(jnp.int32(0), {}, {}, ())

    def get(fit, tiles=None):
        card = Card("", {"parts": Normals(none, none, "none")}, Scale(0, 1), 0.0, tiles=tiles or 0)
        before = Preprocessing(Reading(fit=fit), View(fit))
        card = card.with_threshold(0.5, 0.5)
        return Predictor(
            BRIGHTNESS, Config(), {}, jax.device_put(state), card, preprocessing=before, tiles=tiles
        )

    return get


def painted(path, orientation, shrunk):
    """A picture that is stored turned, as a camera that is held so does."""
    image = Image.new("RGB", tuple(SHAPE // shrunk), (20, 30, 40))
    image.paste("white", tuple(DEFECT // shrunk))
    exif = Image.Exif()
    exif[0x0112] = orientation
    turn = STORED[orientation]
    (image if turn is None else image.transpose(turn)).save(path, exif=exif, quality=90)


def found(predictor, path, folder):
    """(the row of a picture, its mask, its map)."""

    def write(path, seen, finding):
        kinds = ("overlays", "masks", "maps")
        outputs.write(folder, path.name, seen.image, finding, predictor.card.scale, kinds)

    (row,) = bulk.rows(predictor, [path], write=write)
    with Image.open(folder / "masks" / f"{path.name}.png") as image:
        mask = np.asarray(image)
    with Image.open(folder / "overlays" / f"{path.name}.png") as image:
        assert image.size == mask.shape[::-1]
    return json.loads(json.dumps(row)), mask, np.load(folder / "maps" / f"{path.name}.npy")


SMALL = [(orientation, "squeeze", None, 5) for orientation in STORED]
SMALL += [(orientation, fit, None, 5) for orientation in (5, 8) for fit in ("pad", "crop")]
LARGE = [(6, "squeeze", None, 1), pytest.param(3, "pad", 1000, 1, marks=pytest.mark.slow)]


@pytest.mark.parametrize(("orientation", "fit", "tiles", "shrunk"), SMALL + LARGE)
def test_the_region_lies_over_the_defect_to_a_cell(
    predictor, tmp_path, orientation, fit, tiles, shrunk
):
    path = tmp_path / "a.jpg"
    painted(path, orientation, shrunk)
    row, mask, map = found(predictor(fit, tiles), path, tmp_path)
    (width, height), defect = SHAPE // shrunk, DEFECT // shrunk
    assert (row["width"], row["height"], row["label"]) == (width, height, "anomalous")
    assert mask.shape == map.shape == (height, width)
    shown = {"squeeze": (width, height), "pad": (width, width), "crop": (height, height)}[fit]
    cell = np.array((tiles, tiles) if tiles else shown) / SIZE
    (region,) = row["regions"]
    assert (np.abs(np.array(region["box"]) - defect) <= np.tile(cell, 2)).all()
    middle = (defect[:2] + defect[2:] - 1) / 2
    assert (np.abs(np.array(region["centroid"]) - middle) <= cell / 2).all()
    rows, columns = np.nonzero(mask)
    left, top, right, bottom = region["box"]
    assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (
        left, top, right, bottom,
    )  # fmt: skip
    inside = map[defect[1] : defect[3], defect[0] : defect[2]]
    assert inside.mean() > 0.9
    np.testing.assert_array_equal(mask > 0, map > 0.5)
