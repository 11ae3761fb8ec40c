"""Reverse distillation as published (Deng & Li, CVPR 2022), a model for each category.

    python experiments/reverse_distillation.py DATA RUN [--epochs 200 ...]

Its encoder is a wide ResNet-50, made of the published file by `jaxad weights convert
wide_resnet50_2-95faca4d.pth wide_resnet50_2`; `--extractor resnet18 --weights resnet18` is faster.
The paper reports 98.5 image and 97.8 pixel AUROC on MVTec AD; ours:
docs/results/reverse_distillation.md.
"""

from jaxad.cli import train
from jaxad.cli.run_options import RunOptions
from jaxad.methods import reverse_distillation

if __name__ == "__main__":
    train.recipe(
        reverse_distillation.DETECTOR,
        reverse_distillation.Config(extractor="wide_resnet50_2", weights=("wide_resnet50_2",)),
        RunOptions(epochs=200.0, cache="memory"),
    )
