"""UniAD as published (You et al., NeurIPS 2022): one model for all categories, told of none.

    python experiments/uniad.py FOLDER,FOLDER,... RUN [--epochs 1000 ...]

Its extractor is EfficientNet-B4, made of the published file by `jaxad weights convert
efficientnet-b4-6ed6700e.pth efficientnet_b4`; `--extractor efficientnet_lite0 --weights
efficientnet_lite0` needs none. The paper reports 96.5 image and 96.8 pixel AUROC on MVTec AD, of
the epoch that is best on the test pictures; here the last state counts. Ours:
docs/results/uniad.md.
"""

from jaxad.cli import train
from jaxad.cli.run_options import DataOptions, RunOptions
from jaxad.methods import uniad

if __name__ == "__main__":
    train.recipe(
        uniad.DETECTOR,
        uniad.Config(extractor="efficientnet_b4", weights=("efficientnet_b4",)),
        RunOptions(epochs=1000.0, cache="memory", save_every=1000),
        DataOptions(unified=True),
    )
