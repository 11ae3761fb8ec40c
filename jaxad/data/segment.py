"""An object told from its background without learned weights.

Whatever looks unlike the border of the picture is object: colours and local contrast are compared
with those along the border, and Otsu's threshold divides the distances (Otsu, 1979).
"""

import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray as NpArray
from PIL import Image
from scipy import ndimage
from scipy.spatial import KDTree

SIDE = 256  # pixels of the longer side, at which is looked
BORDER = 1 / 32  # width of the border, as a share of the side
SAMPLES = 600  # of the border
COMMON = 0.1  # share of the border that has to look like a pixel to make it background
WINDOW = 7  # pixels, the side in which contrast is measured
LARGE = 0.1  # of the largest component: smaller ones are left out

Picture = UInt8[NpArray, "H W 3"]
Distances = Float[NpArray, "H W"]


def segmented(picture: Picture) -> Bool[NpArray, "H W"]:
    """Where the object is; nowhere if nothing stands out from the border."""
    height, width = picture.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    small = (max(round(width * scale), 2), max(round(height * scale), 2))
    reduced = np.asarray(Image.fromarray(picture).resize(small, Image.Resampling.BILINEAR))
    distance, edge = distances(reduced)
    apart = max(otsu(distance), float(np.quantile(distance[edge], 1 - COMMON)))
    mask = tidied(distance > apart)
    full = Image.fromarray(mask.astype(np.uint8) * 255).resize(
        (width, height), Image.Resampling.BILINEAR
    )
    return np.asarray(full) > 127


def distances(picture: Picture) -> tuple[Distances, Bool[NpArray, "H W"]]:
    """How unlike the border each pixel looks, on a logarithmic scale, and where the border is.

    The distance is that to the n-th nearest of samples of the border. So a background may have
    several colours, and an object may touch a tenth of the border.
    """
    seen = features(picture)
    height, width = picture.shape[:2]
    edge = np.ones((height, width), bool)
    rim = max(2, round(BORDER * max(height, width)))
    edge[rim:-rim, rim:-rim] = False
    around = seen[edge]
    samples = around[np.linspace(0, len(around) - 1, min(SAMPLES, len(around))).astype(int)]
    spread = np.median(np.abs(samples - np.median(samples, 0)), 0) + 2 / 255
    nth = max(1, round(COMMON * len(samples)))
    pixels = seen.reshape(-1, seen.shape[-1])
    # A list asks for the n-th alone; SciPy declares no types, and its default is a number.
    found, _ = KDTree(samples / spread).query(pixels / spread, [nth])  # pyright: ignore[reportArgumentType]
    return np.log1p(found.reshape(height, width)), edge


def features(picture: Picture) -> Float[NpArray, "H W 4"]:
    """Brightness, two differences of colours, and the contrast around each pixel.

    The contrast is the smallest of the windows that hold the pixel: beside an edge it is that of
    the pixel's own side.
    """
    smooth = ndimage.gaussian_filter(picture / 255, (1, 1, 0))
    red, green, blue = np.moveaxis(smooth, -1, 0)
    light = picture.mean(-1) / 255
    mean, square = (ndimage.uniform_filter(x, WINDOW) for x in (light, light**2))
    contrast = ndimage.minimum_filter(np.sqrt(np.maximum(square - mean**2, 0)), WINDOW)
    return np.stack([(red + green + blue) / 3, red - green, (red + green) / 2 - blue, contrast], -1)


def otsu(values: Distances) -> float:
    """The threshold that makes the two parts' means differ most, weighted by their sizes."""
    counts, edges = np.histogram(values, 256)
    centres = (edges[:-1] + edges[1:]) / 2
    below, sums = np.cumsum(counts)[:-1], np.cumsum(counts * centres)[:-1]
    above = values.size - below
    total = float((counts * centres).sum())
    difference = sums / np.maximum(below, 1) - (total - sums) / np.maximum(above, 1)
    return float(edges[1 + int(np.argmax(below * above * difference**2))])


def tidied(mask: Bool[NpArray, "H W"]) -> Bool[NpArray, "H W"]:
    """Without specks and gaps: the largest components, their holes filled."""
    disk = ndimage.iterate_structure(ndimage.generate_binary_structure(2, 1), 2)
    mask = ndimage.binary_opening(mask)
    padded = np.pad(mask, 2, mode="edge")  # so that closing does not eat at the border
    mask = ndimage.binary_closing(padded, disk)[2:-2, 2:-2]
    mask = np.asarray(ndimage.binary_fill_holes(mask), bool)
    # SciPy declares no types; with an array to write to, this would be a number alone.
    labels, count = ndimage.label(mask)  # pyright: ignore[reportGeneralTypeIssues]
    if count == 0:
        return mask
    sizes = np.bincount(labels.ravel())[1:]
    return np.isin(labels, 1 + np.flatnonzero(sizes >= LARGE * sizes.max()))
