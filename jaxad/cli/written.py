"""What `jaxad predict` writes about pictures beside their rows: files of each, and a page."""

import pathlib
from collections.abc import Iterable
from typing import Literal, NamedTuple

from jaxad.cli.inputs import Inputs
from jaxad.cli.run_options import folder_of
from jaxad.decision import bulk
from jaxad.decision.batches import Seen
from jaxad.decision.predictor import Finding, Predictor
from jaxad.decision.scale import Scale
from jaxad.detector import config, static
from jaxad.report import outputs, predictions


@config
class OutputOptions:
    """What is written."""

    out: str | None = static(None)  # folder of rows, summary and page; none: rows are printed
    overlays: bool = static(False)  # write heat maps over the pictures, on the card's colour scale
    masks: bool = static(False)  # write masks, white where a region is
    maps: Literal["none", "npy", "tiff"] = static("none")  # write the maps: float32, or 16 bits
    page: bool = static(True)  # write a page of the most anomalous pictures
    watch: bool = static(False)  # go on for ever: take files when they have stopped growing
    webhook: str | None = static(None)  # address that each row is posted to, http or https


class Writer(NamedTuple):
    """Writes the files of a picture that are asked for, here or in another process.

    Attributes:
      folder: of the results.
      found: tells how files are called; it needs no paths for that.
      scale: of the colours.
      kinds: what is written.
      raw: the form of maps.
    """

    folder: pathlib.Path
    found: Inputs
    scale: Scale
    kinds: tuple[outputs.Kind, ...]
    raw: outputs.Raw

    def __call__(self, path: pathlib.Path, seen: Seen, finding: Finding) -> None:
        """Writes those of one picture; raises OSError where that does not work."""
        assert seen.image is not None
        name = self.found.name(path)
        outputs.write(self.folder, name, seen.image, finding, self.scale, self.kinds, self.raw)


def writer(predictor: Predictor, found: Inputs, output: OutputOptions) -> Writer | None:
    """What writes the files of a picture; None if none are asked for."""
    kinds: list[outputs.Kind] = []
    if output.overlays:
        kinds.append("overlays")
    if output.masks:
        kinds.append("masks")
    if output.maps != "none":
        kinds.append("maps")
    if not kinds:
        return None
    folder = folder_of(output.out or "").absolute()
    raw = "tiff" if output.maps == "tiff" else "npy"
    names = found._replace(paths=[])
    return Writer(folder, names, predictor.card.scale, tuple(kinds), raw)


def page(
    folder: pathlib.Path,
    rows: Iterable[bulk.Row],
    predictor: Predictor,
    found: Inputs,
    output: OutputOptions,
    run: str,
) -> pathlib.Path:
    """Writes the page about rows.

    Args:
      folder: of the results.
      rows: of the pictures.
      predictor: that made them.
      found: the pictures.
      output: tells whether there are overlays.
      run: as it was called.

    Raises:
      OSError: the page cannot be written.
    """

    def overlay(path: str) -> str | None:
        if not output.overlays:
            return None
        return outputs.place("overlays", found.name(pathlib.Path(path)))

    title = f"{predictor.detector.name} of {run} on new pictures"
    said = predictor.card.said(predictor.category)
    return predictions.write(folder, rows, title, said, overlay)
