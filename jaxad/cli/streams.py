"""What a method wants beside the pictures to learn from: other pictures, masks of objects."""

import logging
import os
import pathlib
from typing import Any

from jaxad.cli import found as findings
from jaxad.cli.errors import Usage
from jaxad.cli.run_options import DataOptions
from jaxad.data import folder, foreground, prepared, walk
from jaxad.data.images import PLAIN
from jaxad.data.reading import OnBadImage, Reading
from jaxad.data.source import Data, Source
from jaxad.data.textures import Textures
from jaxad.detector import Detector, replace

log = logging.getLogger(__name__)


def with_streams(
    detector: Detector,
    cfg: Any,
    data: Data,
    options: DataOptions,
    reading: Reading,
    workdir: pathlib.Path,
) -> Data:
    """The data with what the detector wants beside the pictures to learn from.

    Other pictures (`aux`) come from `options.aux` or are procedural textures, which the log says;
    masks of the objects (`foreground`) from `options.foreground_masks` or are estimated.

    Raises:
      ValueError: an option that the detector has no use for.
    """
    wanted = {stream.name: stream for stream in detector.streams(cfg)}
    own = {"aux": options.aux, "foreground": options.foreground_masks}
    for name, folder_ in own.items():
        if folder_ == "":
            raise Usage(f"the folder of --{name} is empty: give a folder, or leave the option out")
        if folder_ is not None and name not in wanted:
            raise Usage(f"{detector.name} with these settings has no use for {name} pictures")
    streams: dict[str, Source] = {}
    used: set[str] = set()
    if "aux" in wanted:
        size = wanted["aux"].zoom * cfg.size
        streams["aux"] = photographs(options.aux, size, options.on_bad_image, reading)
    if "foreground" in wanted:
        masks = options.foreground_masks
        if masks is None:
            streams["foreground"] = foreground.estimate(data.train, workdir / "foreground")
        else:
            own_masks = foreground.load(masks, data.train, replace(reading, bits=None))
            streams["foreground"] = own_masks
            used = {os.path.abspath(path) for path in own_masks.paths}
    passed_over = [one for one in data.passed_over if os.path.abspath(one.path) not in used]
    return data.with_streams(**streams)._replace(passed_over=tuple(passed_over))


def photographs(
    path: str | None,
    size: int,
    on_bad_image: OnBadImage = "error",
    reading: Reading = PLAIN,
) -> Source:
    """The pictures below a folder or, without one, procedural textures; the log says so.

    Args:
      path: of the folder: of picture files, or of a set prepared as array_record.
      size: side of the textures.
      on_bad_image: "skip" leaves damaged files out.
      reading: how files become pictures.
    """
    if path is not None:
        if prepared.is_prepared(path):
            return prepared.pictures(path)
        found = folder.photographs(path, on_bad_image=on_bad_image, reading=reading)
        log.info("%d other pictures in %s", len(found), path)
        known = [one.path for one in (*found.files, *found.skipped)]
        others = walk.unused([pathlib.Path(path)], known)
        for line in findings.left(others, "passed over"):
            log.info(line)
        return found
    log.warning("no photographs are given (--aux FOLDER): procedural textures take their place")
    return Textures(size=size)
