"""What goes with a program: cards, how files become pictures, method and settings."""

import json
import pathlib
import shutil
from collections.abc import Mapping
from typing import Any

from jaxad import export
from jaxad.data import preprocessing
from jaxad.data.images import PLAIN
from jaxad.data.view import WHOLE, Preprocessing
from jaxad.decision import card as cards
from jaxad.training import record as records
from jaxad.training.restore import Finished


def readings(folder: pathlib.Path, categories: list[str]) -> dict[str, dict[str, Any]]:
    """How files of each category become pictures, with the place of a region in the folder."""
    path = folder / preprocessing.FILE
    if path.exists():
        preprocessing.stored(folder)  # says whether it is damaged
        return json.loads(path.read_text(encoding="utf-8"))
    plain = Preprocessing(PLAIN, WHOLE).as_dict() | {"region": None}
    return {name: plain | {"max_pixels": PLAIN.max_pixels} for name in categories}


def fit(several: Mapping[str, Mapping[str, Any]]) -> export.Fit:
    """How the program resizes.

    Raises:
      ValueError: it has to look at a region, or categories are resized in different ways.
    """
    if any(one["region"] is not None for one in several.values()):
        raise ValueError(
            "--resize: the run looks at a region of its pictures, which has their size; a program "
            "for pictures of any size cannot have it: export without --resize"
        )
    fits = {one["fit"] for one in several.values()}
    if len(fits) > 1:
        raise ValueError(
            "--resize: the run's categories become squares in different ways "
            f"({', '.join(sorted(fits))}): export without --resize"
        )
    (fit,) = fits
    return fit


def copied(run: Finished, folder: pathlib.Path, part: pathlib.Path) -> None:
    """Copies what goes with a model: its cards, how pictures are read, method and settings.

    Where the pictures lay and what was typed stays behind: it is nobody else's concern.
    """
    for path in [folder / cards.FILE, *sorted(folder.glob("card_tiles_*.json"))]:
        card = cards.read(path)
        if card.model == run.model:
            known = {name: x for name, x in card.about.items() if name != "of"}
            cards.write(part / path.name, card._replace(about=known))
    if (folder / preprocessing.FILE).exists():
        shutil.copyfile(folder / preprocessing.FILE, part / preprocessing.FILE)
    if (folder / preprocessing.REGIONS).is_dir():
        shutil.copytree(folder / preprocessing.REGIONS, part / preprocessing.REGIONS)
    kept = ("method", "settings", "data", "pretrained")
    record = {name: run.record[name] for name in kept if name in run.record}
    about = run.record.get(records.ABOUT, {})
    told = {name: about[name] for name in ("category", "weights", "jaxad") if name in about}
    records.write_json(part / records.FILE, {**record, records.ABOUT: told})
