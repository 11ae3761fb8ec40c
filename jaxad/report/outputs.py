"""Pictures of a prediction: heat map, mask and raw map of one picture, at its own size."""

import io
import json
import pathlib
import zlib
from typing import Literal

import numpy as np
import tifffile
from PIL import Image

from jaxad import whole
from jaxad.decision.predictor import Finding
from jaxad.decision.scale import Scale
from jaxad.report.heatmap import overlay

Kind = Literal["overlays", "masks", "maps"]
Raw = Literal["tiff", "npy"]
TOP = 65535  # of 16 bits
LONGEST = 240  # bytes of a picture's name in that of a file: with a suffix within 255


def write(
    folder: pathlib.Path,
    name: str,
    image: np.ndarray,
    finding: Finding,
    scale: Scale,
    kinds: tuple[Kind, ...],
    raw: Raw = "npy",
) -> None:
    """Writes what is asked for of a picture, each file whole or not at all.

    Args:
      folder: gets a folder for each kind.
      name: of the picture, with folders and suffix; the files are called so, with one more suffix.
      image: the picture.
      finding: about it.
      scale: of the card, for all pictures alike.
      kinds: what to write. "overlays": map in colours over the grey picture, with outlines of its
        regions. "masks": white where a region is. "maps": the values, as `raw` says.
      raw: "npy", float32; "tiff", 16 bits, from 0 at the scale's low to 65535 at its high; its
        description tells both.

    Raises:
      OSError: a file cannot be written.
    """
    for kind in kinds:
        path = folder / place(kind, name, raw)
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole.written(path) as part:
            part.write_bytes(_content(kind, image, finding, scale, raw))


def place(kind: Kind, name: str, raw: Raw = "npy") -> str:
    """Where a file lies below the folder, with "/".

    A name that is too long for a file with one more suffix is cut, and ends with its checksum.

    Args:
      kind: of the file.
      name: of the picture, with folders and suffix.
      raw: as for `write`.
    """
    suffix = raw if kind == "maps" else "png"
    above, slash, last = name.rpartition("/")
    content = last.encode(errors="surrogateescape")
    if len(content) > LONGEST:
        cut = content[: LONGEST - 9].decode(errors="ignore")
        last = f"{cut}-{zlib.crc32(content):08x}"
    return f"{kind}/{above}{slash}{last}.{suffix}"


def _content(kind: Kind, image: np.ndarray, finding: Finding, scale: Scale, raw: Raw) -> bytes:
    file = io.BytesIO()
    if kind == "overlays":
        heat = overlay(image, finding.map, scale, (finding.labels > 0).astype(np.uint8))
        Image.fromarray(heat).save(file, "PNG", compress_level=3)
        return file.getvalue()
    if kind == "masks":
        Image.fromarray(np.uint8(255) * (finding.labels > 0)).save(file, "PNG", compress_level=3)
        return file.getvalue()
    if raw == "npy":
        np.save(file, finding.map)
        return file.getvalue()
    values = np.rint(TOP * scale(finding.map)).astype(np.uint16)
    told = json.dumps({"low": scale.low, "high": scale.high})
    tifffile.imwrite(file, values, compression="zlib", description=told, metadata=None)
    return file.getvalue()
