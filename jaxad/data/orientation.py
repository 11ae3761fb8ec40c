"""Which way up a picture is: the orientation that cameras write beside the pixels (EXIF, TIFF)."""

import numpy as np
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import TiffImageFile

# What an orientation does to rows and columns of the stored picture; 1 is upright.
TURNS = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: x.swapaxes(0, 1)[:, ::-1],
    7: lambda x: x.swapaxes(0, 1)[::-1, ::-1],
    8: lambda x: x.swapaxes(0, 1)[::-1],
}
_BACK = {6: 8, 8: 6}  # what undoes a turn, where that is another one


def turn_of(image: Image.Image) -> int:
    """The orientation of an opened picture, 1 to 8, as far as its header tells."""
    # Pillow's PNG class would decode the picture to look for late EXIF, which readers disagree on.
    turn = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
    return turn if turn in TURNS else 1


def shown_size(image: Image.Image, turn: int, applied: bool) -> tuple[int, int]:
    """Height and width of an opened picture, its orientation applied or not."""
    width, height = image.size
    # Pillow's TIFF class has turned `size` already; others leave it as stored.
    if turn >= 5 and isinstance(image, TiffImageFile) != applied:
        width, height = height, width
    return height, width


def shown(pixels: np.ndarray, image: Image.Image, turn: int, applied: bool) -> np.ndarray:
    """The pixels of a decoded picture, its orientation applied or not.

    Args:
      pixels: as Pillow gives them: turned already if it is a TIFF.
      image: what they were decoded from.
      turn: its orientation.
      applied: whether it is wanted.
    """
    if isinstance(image, TiffImageFile) == applied:
        return pixels
    return np.ascontiguousarray(TURNS[turn if applied else _BACK.get(turn, turn)](pixels))
