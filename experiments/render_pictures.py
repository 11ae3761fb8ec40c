"""Writes rendered pictures as PNG: procedural textures and normal workpieces of every category.

    python experiments/render_pictures.py FOLDER [--textures 90 --workpieces 6 --size 512]

What a teacher may learn from beside photographs (experiments/distill_pdn.py). Their seed is not
that of the embedded data set, so none of them is in it. Takes half a minute.
"""

import pathlib
from collections.abc import Sequence

from PIL import Image

from jaxad.cli import script
from jaxad.cli.options import asked, expected, leading
from jaxad.data.textures import Textures
from jaxad.data.workpieces import CATEGORIES, Workpieces
from jaxad.detector import config, static


@config
class Options:
    """How many pictures, and how large."""

    textures: int = static(90, 1)
    workpieces: int = static(6, 1)  # of each category
    size: int = static(512, 64)  # side in pixels
    seed: int = static(1000, 1)  # 0 is the embedded data set's


def main(words: Sequence[str]) -> None:
    """Renders and writes."""
    places, rest = leading(words)
    usage = "python experiments/render_pictures.py FOLDER"
    (options,) = asked(rest, usage, __doc__, options=Options())
    (folder,) = map(pathlib.Path, expected(places, "FOLDER"))
    sources = {"texture": Textures(options.textures, options.size, options.seed)}
    for category in CATEGORIES:
        sources[category] = Workpieces(
            category, "train", good=options.workpieces, size=options.size, seed=options.seed
        )
    folder.mkdir(parents=True, exist_ok=True)
    for name, source in sources.items():
        for i in range(len(source)):
            Image.fromarray(source[i]["image"]).save(folder / f"{name}_{i:04d}.png")
    print(f"{sum(map(len, sources.values()))} pictures in {folder}")


if __name__ == "__main__":
    script.run(main)
