"""Evaluations that are made up, for pages: pictures of noise, maps of their masks."""

import json
import pathlib
import re

import numpy as np

from jaxad.data.source import Item, Record
from jaxad.decision.card import Card, Normals
from jaxad.decision.scale import Scale
from jaxad.evaluation.category import category, group
from jaxad.evaluation.pixels import Pixels
from jaxad.evaluation.results import Evaluation, Scored, mean

SCALE = Scale(0.0, 1.0)


def card(**limits) -> Card:
    """A card with a limit for each category: the only score of its normal picture."""
    normals = {name: Normals(np.array([x]), np.array([x]), "painted") for name, x in limits.items()}
    return Card("abc", normals, SCALE, 0.0)


def picture(record: Record, index: int, shape=(24, 32)) -> Item:
    """A picture of noise, with a mask if it is anomalous."""
    mask = np.zeros(shape, np.uint8)
    if record.label:
        mask[5:12, 8:20] = 1
    image = np.random.default_rng(index).integers(0, 256, (*shape, 3), np.uint8)
    return {"image": image, "mask": mask, "label": record.label, "index": index}


def evaluated(records, scores, report=None, masks=True) -> Evaluation:
    """An evaluation; `report` visits every picture."""
    rng, found = np.random.default_rng(0), {}
    for name in sorted({record.category for record in records}):
        members = [i for i, record in enumerate(records) if record.category == name]
        pixels = Pixels() if masks else None
        for i in members:
            item = picture(records[i], i)
            map = (0.1 * rng.random(item["mask"].shape) + item["mask"]).astype(np.float32)
            if pixels is not None:
                pixels.add(map, item["mask"], group=group(records[i]))
            if report is not None:
                report.visit(i, item, map, float(scores[i]))
        found[name] = category([records[i] for i in members], np.array(scores)[members], pixels)
    pictures = tuple(Scored(*pair) for pair in zip(records, scores, strict=True))
    return Evaluation(mean([x.metrics for x in found.values()]), found, pictures)


def data_of(page: pathlib.Path) -> dict:
    """What the scripts of a page work on."""
    text = page.read_text(encoding="utf-8")
    (found,) = re.findall(r'application/json" id="data">(.*?)</script>', text, re.DOTALL)
    return json.loads(found)
