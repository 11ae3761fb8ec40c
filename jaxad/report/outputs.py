"""Pictures of a prediction: heat map, mask and raw map of one picture, at its own size."""

import io
import pathlib
from typing import Literal

import numpy as np
import tifffile
from PIL import Image

from jaxad.decision.predictor import Finding
from jaxad.decision.scale import Scale
from jaxad.report.heatmap import overlay

Kind = Literal["overlays", "masks", "maps"]
Raw = Literal["tiff", "npy"]
TOP = 65535  # of 16 bits


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
      raw: "npy", float32; "tiff", 16 bits, from 0 at the scale's low to 65535 at its high.

    Raises:
      OSError: a file cannot be written.
    """
    for kind in kinds:
        content, suffix = _content(kind, image, finding, scale, raw)
        path = folder / kind / f"{name}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        part.write_bytes(content)
        part.replace(path)


def _content(
    kind: Kind, image: np.ndarray, finding: Finding, scale: Scale, raw: Raw
) -> tuple[bytes, str]:
    file = io.BytesIO()
    if kind == "overlays":
        heat = overlay(image, finding.map, scale, (finding.labels > 0).astype(np.uint8))
        Image.fromarray(heat).save(file, "PNG", compress_level=3)
        return file.getvalue(), ".png"
    if kind == "masks":
        Image.fromarray(np.uint8(255) * (finding.labels > 0)).save(file, "PNG", compress_level=3)
        return file.getvalue(), ".png"
    if raw == "npy":
        np.save(file, finding.map)
        return file.getvalue(), ".npy"
    tifffile.imwrite(file, np.rint(TOP * scale(finding.map)).astype(np.uint16), compression="zlib")
    return file.getvalue(), ".tiff"
