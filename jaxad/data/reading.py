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

    bits: int | Literal["auto"] | None = static(None, 8, 16)  # such as 12, of 16 bits in a file
    orientation: Literal["exif", "stored"] = static("exif")  # "stored": as if there were no EXIF
    mask_threshold: int = static(0, 0, 254)  # grey level of masks, of 255, above which it counts
    fit: Fit = static("squeeze")  # oblong pictures: squeezed, whole on black, or their middle
    region: str | None = static(None)  # mask, white where to look, or a folder of CATEGORY.png
    max_pixels: int = static(PILLOW_LIMIT, 4)  # pictures of more pixels are refused
    check_files: bool = static(False)  # decode every file before the first step
