"""MKD as published (Salehi et al., CVPR 2021), a model for each category.

    python experiments/mkd.py DATA RUN [--epochs 601 ...]

Its teacher is VGG-16, made of the published file by `jaxad weights convert vgg16-397923af.pth
vgg16`. The paper reports 87.74 image and 90.71 pixel AUROC on MVTec AD; ours: docs/results/mkd.md.
"""

from jaxad.cli import train
from jaxad.cli.run_options import RunOptions
from jaxad.methods import mkd

if __name__ == "__main__":
    train.recipe(
        mkd.DETECTOR,
        mkd.Config(extractor="vgg16", weights=("vgg16",), scaled=False),
        RunOptions(epochs=601.0, cache="memory"),
    )
