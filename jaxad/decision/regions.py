"""Where a map is above a threshold: connected regions, each with its place and size."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray as NpArray
from scipy import ndimage

TOUCHING = np.ones((3, 3), int)  # pixels that touch at a corner are of one region


class Region(NamedTuple):
    """A part of a picture that is more anomalous than a threshold.

    Attributes:
      box: left, top, right and bottom in pixels of the picture; right and bottom are outside.
      area: in pixels.
      peak: the highest value of the map in it.
      mean: of the map over it.
      centroid: x and y of its middle, pixels weighted alike; (0, 0) is the top left pixel.
    """

    box: tuple[int, int, int, int]
    area: int
    peak: float
    mean: float
    centroid: tuple[float, float]


def regions(
    map: Float[NpArray, "H W"], threshold: float, least: int = 1
) -> tuple[list[Region], Int[NpArray, "H W"]]:
    """The connected parts of a map above a threshold, the highest peak first.

    Args:
      map: of one picture, at the picture's size.
      threshold: what a pixel has to exceed.
      least: area in pixels below which a part does not count.

    Returns:
      regions; and for each pixel the number of its region, from 1 in their order, 0 for none.
    """
    labels, above = np.zeros(map.shape, np.int32), map > threshold
    if not above.any():  # of most pictures, and at once
        return [], labels
    ndimage.label(above, TOUCHING, output=labels)
    count = int(labels.max())
    numbers = np.arange(1, count + 1)
    areas = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    peaks = np.asarray(ndimage.maximum(map, labels, numbers))
    means = np.asarray(ndimage.mean(map.astype(np.float64), labels, numbers))
    centres = ndimage.center_of_mass(labels > 0, labels, numbers)
    boxes = ndimage.find_objects(labels)
    order = [i for i in np.argsort(-peaks, kind="stable") if areas[i] >= least]
    found = []
    renumbered = np.zeros(count + 1, labels.dtype)
    for number, i in enumerate(order, start=1):
        rows, columns = boxes[i]
        y, x = centres[i]
        renumbered[i + 1] = number
        found.append(
            Region(
                (columns.start, rows.start, columns.stop, rows.stop),
                int(areas[i]),
                float(peaks[i]),
                float(means[i]),
                (float(x), float(y)),
            )
        )
    return found, renumbered[labels]
