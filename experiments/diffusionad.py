r"""DiffusionAD, or a variant of its ablation, on a folder of pictures.

    python experiments/diffusionad.py FOLDER RUN_FOLDER [aux=TEXTURES] [foreground=MASKS]
                                      [epochs=3000] [key=value ...]

FOLDER holds one category in a layout that `jaxad.data.layouts` knows; "workpieces" stands for the
rendered ones, of which `category` is taken. Synthetic anomalies are made of the pictures below
TEXTURES (such as the Describable Textures, a flat folder, or a set that TFDS prepared as
array_record); without it procedural textures take their place. They lie where `foreground` says:

- a folder of masks, or FOLDER itself in the authors' layout (with `DISthresh`);
- estimate: masks told from the background, written to RUN_FOLDER/foreground; look at them there,
  correct what is wrong, and start again in another run folder with foreground=THE_MASKS;
- part: a random part of each picture, as for textures in the paper; everywhere: anywhere.

Without `foreground` it is "estimate" for objects, and "part" with objects=false. Interrupted, the
same command continues. RUN_FOLDER gets the model, `synthetic.png` with examples of what it learns
from and, where there are test pictures, `evaluation.json` and `report/index.html`. `small=true`
starts from settings that train on two CPU cores; restoration=one_step, iterative or autoencoder is
the paper's ablation.
"""

import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from jaxad import compile
from jaxad.cli import script
from jaxad.data import foreground, layouts, pipeline, workpieces
from jaxad.data.files import OnBadImage
from jaxad.data.images import OUTLINE, outline
from jaxad.data.source import Data
from jaxad.detector import check_settings, config, override, static
from jaxad.methods import diffusionad
from jaxad.report.assess import assess
from jaxad.training.fitting import run

ROWS, COLUMNS = 4, 8  # of synthetic.png


@config
class Options:
    """Settings of the run that are not the detector's."""

    small: bool = static(False)  # whether to start from `diffusionad.SMALL`
    aux: str | None = static(None)  # folder of textures; none: procedural ones
    foreground: str | None = static(None)  # folder of masks, "estimate", "part" or "everywhere"
    category: str = static("plate")  # of the rendered workpieces
    epochs: int | None = static(None)  # none: as many as `steps` are
    seed: int = static(0)  # of everything random, the held-out split included
    heldout: float = static(0.1)  # share of the training pictures, if none come held out
    on_bad_image: OnBadImage = static("error")  # "skip" leaves damaged files out
    save_every: int = static(500)  # steps between checkpoints


def main(folder: str, workdir: str, *settings: str) -> None:
    """Trains and, where there are test pictures, evaluates and reports."""
    script.prepare()
    options, cfg = parsed(settings)
    out = pathlib.Path(workdir)
    data, cfg = with_foreground(load(folder, options, cfg), options, cfg, out)
    if options.epochs is not None:
        cfg = override(cfg, f"steps={-(-options.epochs * len(data.train) // cfg.batch_size)}")
    print(f"{cfg}\n{options}\n{len(data.train)} pictures to learn from")
    sheet = out / "synthetic.png"
    if not sheet.exists():
        out.mkdir(parents=True, exist_ok=True)
        examples(cfg, data, options.seed).save(sheet)
    print(f"examples of synthetic anomalies: {sheet}")
    detector, key = diffusionad.DETECTOR, jax.random.key(options.seed)
    state = run(detector, cfg, {}, data, key, out, save_every=options.save_every)
    if data.test is None:
        print(f"no test pictures in {folder}: nothing to evaluate on")
    else:
        name = pathlib.Path(folder).absolute().name
        title = f"DiffusionAD ({cfg.restoration}) on {name}, {cfg.steps} steps, seed {options.seed}"
        print(assess(detector, cfg, {}, state, data, out, title))
        print(f"report: {out / 'report' / 'index.html'}")
    print(f"model: {out / 'model'}")


def parsed(settings: Sequence[str]) -> tuple[Options, diffusionad.Config]:
    """This script's settings and the detector's.

    Raises:
      ValueError: a setting is unknown, or has a value that cannot work.
    """
    own = [setting for setting in settings if setting.startswith("small=")]
    base = diffusionad.SMALL if override(Options(), own).small else diffusionad.Config()
    options, cfg = script.parsed(settings, Options(), base)
    check_folders(options)
    script.check_counts(options, "epochs", "save_every")
    if options.epochs is not None and any(setting.startswith("steps=") for setting in settings):
        raise ValueError("steps and epochs: say one of the two")
    check_settings(diffusionad.DETECTOR, cfg)
    return options, cfg


def check_folders(options: Any) -> None:
    """Raises ValueError for an empty folder."""
    for name in ("aux", "foreground"):
        if getattr(options, name) == "":
            raise ValueError(f"{name}= is empty: give a folder, or leave it out")


def load(folder: str, options: Options, cfg: diffusionad.Config) -> Data:
    """The pictures, with textures to make anomalies of.

    Raises:
      FileNotFoundError: a folder does not exist.
      ValueError: pictures cannot be used; see `layouts.load`.
    """
    aux = script.photographs(options.aux, cfg.size, options.on_bad_image)
    print(f"synthetic anomalies are made of {aux!r}")
    if folder == "workpieces":
        return workpieces.load(options.category, size=cfg.size).with_streams(aux=aux)
    data = layouts.load(
        folder, seed=options.seed, heldout=options.heldout, on_bad_image=options.on_bad_image
    )
    return data.with_streams(aux=aux)


def with_foreground(
    data: Data, options: Any, cfg: diffusionad.Config, workdir: pathlib.Path
) -> tuple[Data, diffusionad.Config]:
    """The data with masks, and the settings that say where anomalies may be.

    Raises:
      FileNotFoundError: there is no such folder of masks.
      ValueError: masks cannot be used, or no object is found; see `foreground`.
    """
    choice = options.foreground or ("estimate" if cfg.objects else "part")
    masks = foreground.chosen(choice, data.train, workdir / "foreground")
    kind = choice if masks is None else "masks"
    print(f"they lie where foreground={choice} says")
    if masks is not None:
        data = data.with_streams(foreground=masks)
    return data, override(cfg, f"foreground={kind}")


def examples(cfg: diffusionad.Config, data: Data, seed: int) -> Image.Image:
    """Pictures, damaged and with the outlines of the damage, each above what it was.

    For the eye: what the detector is going to learn to find.
    """
    cfg = override(cfg, [f"batch_size={COLUMNS}", "anomalous=1.0"])
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
    main(*sys.argv[1:])
