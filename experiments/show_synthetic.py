"""What DiffusionAD learns from: normal pictures, and what synthetic anomalies make of them.

    python experiments/show_synthetic.py FOLDER OUT.png [--aux TEXTURES --objects false ...]

FOLDER is one category, as `jaxad train` takes it, "workpieces/plate" for example; settings are
those of experiments/diffusionad.py. OUT.png shows pictures with the outlines of the damage, each
above what it was. Masks that are estimated lie beside it, in `foreground`. Takes half a minute.

Zhang et al., arXiv:2303.08730, section 3.1.
"""

import pathlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from jaxad import compile
from jaxad.cli import script
from jaxad.cli.data import only_one, opened
from jaxad.cli.options import asked, expected, leading
from jaxad.cli.run_options import DataOptions
from jaxad.data import pipeline
from jaxad.data.outline import OUTLINE, outline
from jaxad.data.source import Data
from jaxad.detector import check_settings, config, replace, static
from jaxad.methods import diffusionad

ROWS, COLUMNS = 4, 8


@config
class Options:
    """Settings of the sheet."""

    seed: int = static(0, 0)  # of everything random


def main(words: Sequence[str]) -> None:
    """Draws the sheet."""
    places, rest = leading(words)
    options, pictures, cfg = asked(
        rest, "python experiments/show_synthetic.py FOLDER OUT.png", __doc__,
        script=Options(), data=DataOptions(), settings=diffusionad.Config(foreground="masks"),
    )  # fmt: skip
    folder, out = expected(places, "FOLDER", "OUT.png")
    check_settings(diffusionad.DETECTOR, cfg)
    script.prepare()
    sheet = pathlib.Path(out)
    sheet.parent.mkdir(parents=True, exist_ok=True)
    several = opened(diffusionad.DETECTOR, cfg, folder, pictures, options.seed, sheet.parent)
    data = only_one(several)
    examples(cfg, data, options.seed).save(sheet)
    print(f"{ROWS * COLUMNS} damaged pictures, each above what it was: {sheet}")


def examples(cfg: diffusionad.Config, data: Data, seed: int) -> Image.Image:
    """Pictures, damaged and with the outlines of the damage, each above what it was."""
    cfg = replace(cfg, batch_size=COLUMNS, anomalous=1.0)
    batches = iter(pipeline.train_batches(diffusionad.DETECTOR, cfg, data, seed))
    damage, both = compile.jit(diffusionad.synthetic), []
    for key in jax.random.split(jax.random.key(seed), ROWS):
        batch = next(batches)
        damaged = damage(cfg, compile.unit(jax.tree.map(jnp.asarray, batch)), key)
        after = np.array(jnp.round(255 * damaged.image), np.uint8)
        for image, mask in zip(after, np.asarray(damaged.mask) > 0, strict=True):
            image[outline(mask)[0]] = OUTLINE
        both.append([after, batch["image"]])
    batches.close()
    both = np.stack(both)
    rows = both.transpose(0, 1, 3, 2, 4, 5)  # a row, damaged or not, y, column, x, channel
    return Image.fromarray(rows.reshape(2 * ROWS * cfg.size, COLUMNS * cfg.size, 3))


if __name__ == "__main__":
    script.run(main)
