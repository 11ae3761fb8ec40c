"""DiffusionAD with networks that two CPU cores train in a quarter of an hour, at 64 pixels.

    python experiments/diffusionad_small.py DATA RUN --aux DTD_FOLDER [--steps 600 ...]

Otherwise as experiments/diffusionad.py; scores and durations: docs/results/diffusionad.md.
"""

import dataclasses

from jaxad.cli import train
from jaxad.methods import diffusionad

if __name__ == "__main__":
    train.recipe(diffusionad.DETECTOR, dataclasses.replace(diffusionad.SMALL, foreground="masks"))
