"""EfficientAD-S as published (Batzner, Heckler & Koenig, WACV 2024), a model for each category.

    python experiments/efficientad.py DATA RUN --aux IMAGENET_FOLDER [--lr 1e-4 ...]

DATA is one folder or several, as `jaxad train --help` says. `--medium true --weights
pdn_medium_published` is EfficientAD-M; `--curve true` measures the test pictures at every
checkpoint, of which none is picked. The paper reports 98.8 mean image AUROC on MVTec AD, with a
teacher distilled on all of ImageNet; scores and durations of ours: docs/results/efficientad.md.
"""

from jaxad.cli import train
from jaxad.methods import efficientad

if __name__ == "__main__":
    train.recipe(efficientad.DETECTOR, efficientad.Config(steps=70_000))
