"""How files become pictures: what is decided once for a data set, and kept for later pictures."""

from typing import Literal

from jaxad.detector import config, static

OnBadImage = Literal["error", "skip"]  # what is done about files that cannot be read
# The whole picture, its sides made equal; the whole one on black; the square in its middle.
Fit = Literal["squeeze", "pad", "crop"]

PILLOW_LIMIT = 178_956_970  # pixels beyond which Pillow takes a picture for an attack


@config
class Reading:
    """How files become pictures and masks."""

    bits: int | Literal["auto"] | None = static(None, 8, 16)  # that hold something, of deeper files
    orientation: Literal["exif", "stored"] = static("exif")  # "stored": EXIF's turns are ignored
    mask_threshold: int = static(0, 0, 254)  # of 255: brighter pixels of a mask are defective
    fit: Fit = static("squeeze")  # of oblong pictures into a square
    region: str | None = static(None)  # mask of where to look; of several categories: their folder
    max_pixels: int = static(PILLOW_LIMIT, 4)  # larger pictures are refused
    check_files: bool = static(False)  # decode every file before the first step
