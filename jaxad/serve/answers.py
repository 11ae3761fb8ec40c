"""What is answered about a picture: its row, and pictures and numbers of its map by choice."""

import base64
import io
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from PIL import Image

from jaxad.decision import bulk
from jaxad.decision.batches import Seen
from jaxad.decision.predictor import Finding
from jaxad.decision.scale import Scale
from jaxad.report.heatmap import OPACITY, overlay, table
from jaxad.serve.failures import Refused

Include = Literal["overlay", "mask", "map", "heat"]
INCLUDES: tuple[Include, ...] = get_args(Include)
# Bytes of each at most for a pixel, as they are held while an answer is made and sent.
BYTES = {"overlay": 8, "mask": 3, "map": 10, "heat": 3}


class Answer(NamedTuple):
    """What is known of a picture.

    Attributes:
      row: as plain JSON, without a name.
      png: the overlay, where it was asked for as a file.
    """

    row: dict[str, Any]
    png: bytes | None = None


def included(text: str | None) -> tuple[Include, ...]:
    """The parts of an answer that a text such as "overlay,mask" asks for.

    Raises:
      Refused: there is no such part.
    """
    words = [word.strip() for word in (text or "").split(",") if word.strip()]
    for word in words:
        if word not in INCLUDES:
            raise Refused(
                400, "bad_request", f"include={word[:80]!r}: expected {', '.join(INCLUDES)}"
            )
    return tuple(one for one in INCLUDES if one in words)


def answer(
    seen: Seen,
    finding: Finding,
    scale: Scale,
    include: tuple[Include, ...],
    as_png: bool,
    seconds: float,
) -> Answer:
    """A picture's answer.

    Args:
      seen: the picture, with its image where a picture of it is wanted.
      finding: about it.
      scale: of the colours.
      include: parts beside the row.
      as_png: whether the overlay is wanted as a file, in place of parts.
      seconds: that were spent on it, computing apart.
    """
    row = bulk.row(seen, finding, seconds)
    del row["path"]  # there is none
    if as_png:
        return Answer(row, _overlay(seen, finding, scale))
    for part in include:
        row[part] = _part(part, seen, finding, scale)
    return Answer(row)


def _part(part: Include, seen: Seen, finding: Finding, scale: Scale) -> Any:
    if part == "map":
        numbers = finding.map.astype("<f4")
        return {"shape": list(numbers.shape), "dtype": "<f4", "base64": _base64(numbers.tobytes())}
    if part == "overlay":
        return _base64(_overlay(seen, finding, scale))
    if part == "mask":
        return _base64(_png(np.uint8(255) * (finding.labels > 0)))
    return _base64(heat(finding, scale))


def _overlay(seen: Seen, finding: Finding, scale: Scale) -> bytes:
    """As `jaxad predict --overlays` draws it."""
    assert seen.image is not None
    return _png(overlay(seen.image, finding.map, scale, (finding.labels > 0).astype(np.uint8)))


def heat(finding: Finding, scale: Scale) -> bytes:
    """The map's colours alone, the more opaque the higher, as PNG: to be laid over the picture."""
    level = Image.fromarray(np.rint(255 * scale(finding.map)).astype(np.uint8), "P")
    level.putpalette(table().tobytes())
    opaque = np.rint(np.linspace(0, 255 * OPACITY, 256)).astype(np.uint8).tobytes()
    file = io.BytesIO()
    level.save(file, "PNG", compress_level=1, transparency=opaque)
    return file.getvalue()


def _png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
