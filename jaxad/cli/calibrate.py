"""`jaxad calibrate RUN NORMAL_PICTURES...`: a new card for a trained model, without training."""

import pathlib
import shutil
from collections.abc import Sequence

from jaxad import whole
from jaxad.cli import script
from jaxad.cli.errors import Usage
from jaxad.cli.inputs import inputs, said
from jaxad.cli.learn import origin
from jaxad.cli.options import asked, leading
from jaxad.cli.run_options import DeviceOptions, folder_of
from jaxad.cli.script import prepare
from jaxad.data.files import shown
from jaxad.data.reading import OnBadImage
from jaxad.decision import card as cards
from jaxad.decision.predictor import Predictor
from jaxad.decision.recalibration import blank, recalibrated
from jaxad.detector import config, static
from jaxad.export.manifest import is_bundle
from jaxad.progress import plain
from jaxad.training.contents import learned_from
from jaxad.training.restore import finished

USAGE = "jaxad calibrate RUN NORMAL_PICTURE|FOLDER|PATTERN..."
DESCRIPTION = """Makes a new decision card for a trained model from normal pictures of today's
light and camera, which it has not learned from. The model stays; the card before is kept.

RUN: the folder of a run.
NORMAL_PICTURE...: files, folders (with the folders in them) or patterns; all must be normal."""


@config
class CardOptions:
    """The card."""

    out: str | None = static(None)  # file to write; none: RUN/card.json, or that of --tiles
    category: str | None = static(None)  # of the pictures, where the run learned several
    target_fpr: float | None = static(None, above=0, below=1)  # none: as before; of all categories
    tiles: int | None = static(None, 8)  # for `jaxad predict --tiles`: squares of so many pixels
    on_bad_image: OnBadImage = static("error")  # "skip" leaves out files that cannot be used
    max_pixels: int | None = static(None, 4)  # more are refused; none: as in the run
    batch_size: int | None = static(None, 1)  # pictures that are computed together


def main(words: Sequence[str]) -> None:
    """The verb."""
    places, rest = leading(words)
    if not places and not rest:
        rest = ["--help"]
    options, devices = asked(rest, USAGE, DESCRIPTION, card=CardOptions(), devices=DeviceOptions())
    if len(places) < 2:
        raise Usage(f"expected the folder of a run and normal pictures: {USAGE}")
    prepare(devices.device)
    with script.devices(devices.mesh):
        _calibrate(places, options)


def _calibrate(places: Sequence[str], options: CardOptions) -> None:
    folder, found = folder_of(places[0]), inputs(places[1:])
    if options.out is None and is_bundle(folder):
        raise Usage(f"{folder} is a bundle, which stays as it is: give --out FILE for the card")
    file = cards.place(folder, options.tiles) if options.out is None else folder_of(options.out)
    if file.is_dir() or not file.absolute().parent.is_dir():
        raise Usage(f"--out {options.out}: expected a file in a folder that is there: card.json")
    whole.ready(file.absolute().parent)
    print(f"{said(found)} to calibrate with")
    if learned := learned_from(folder, [path for path in found.paths if path.is_file()]):
        raise ValueError(
            f"{len(learned)} of {len(found.paths)} pictures are among those that the run learned "
            "from, which score too low: give others, such as of a later day:" + shown(learned)
        )
    before = _before(folder, file, options)
    predictor = Predictor.load(
        folder, card=before, category=options.category, batch_size=options.batch_size,
        tiles=options.tiles, max_pixels=options.max_pixels,
    )  # fmt: skip
    card = recalibrated(predictor, found.paths, options.on_bad_image)
    if options.target_fpr is not None:
        card = card.with_target(options.target_fpr, predictor.category)
    card = card._replace(about=origin(plain(", ".join(places[1:]))))
    if file.exists():
        kept = _kept(file)
        shutil.copyfile(file, kept)
        print(f"the card before: {kept}")
    cards.write(file, card)
    for warning in card.warnings(predictor.category):
        print(f"warning: {warning}")
    print(f"a score is an alarm above {card.said(predictor.category)}\ncard: {file}")


def _before(folder: pathlib.Path, file: pathlib.Path, options: CardOptions) -> cards.Card:
    """The card that is there, if it is this model's and for these tiles; else one of no normals."""
    if not file.exists():
        file = cards.place(folder, options.tiles)
    run = finished(folder)
    model = run.model
    tiles = options.tiles or 0
    if file.exists():
        try:
            card = cards.read(file)
        except ValueError as error:
            print(f"warning: not taken into account: {error}")
        else:
            if card.model == model and card.tiles == tiles:
                return card
            print(f"warning: {file} is of another model or for other tiles: not taken into account")
    return blank(model, run.record["data"]["categories"], tiles)


def _kept(file: pathlib.Path) -> pathlib.Path:
    """A free name for the card that was there."""
    numbers = (number for number in range(1, 1_000_000))
    names = (file.with_name(f"{file.stem}-before-{number}{file.suffix}") for number in numbers)
    return next(name for name in names if not name.exists())
