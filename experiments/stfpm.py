"""STFPM as published (Wang, Han, Ding & Huang, BMVC 2021), a model for each category.

    python experiments/stfpm.py DATA RUN [--epochs 100 ...]

Its teacher is ResNet-18, made of the published file by `jaxad weights convert
resnet18-f37072fd.pth resnet18`; on two cores `--size 128 --batch-size 8 --epochs 50` takes minutes.
The paper reports 95.5 image and 97.0 pixel AUROC on MVTec AD; ours: docs/results/stfpm.md.
"""

from jaxad.cli import train
from jaxad.cli.run_options import RunOptions
from jaxad.methods import stfpm

if __name__ == "__main__":
    train.recipe(
        stfpm.DETECTOR,
        stfpm.Config(extractor="resnet18", weights=("resnet18",)),
        RunOptions(epochs=100.0, cache="memory"),
    )
