"""PatchCore as published (Roth et al., CVPR 2022), a model for each category.

    python experiments/patchcore.py DATA RUN [--capacity 1638 ...]

Its network is a wide ResNet-50, made of the published file by `jaxad weights convert
wide_resnet50_2-95faca4d.pth wide_resnet50_2`. The authors keep a tenth of the patches, or a
hundredth: of MVTec AD's 209 pictures 16,385 or 1638. They cut 224 pixels out of the middle of 256,
here pictures are whole. `jaxad train patchcore DATA RUN` takes EfficientNet-Lite0, which pip
brings, and seconds. The paper reports 99.1 image and 98.1 pixel AUROC on MVTec AD; ours:
docs/results/memory.md.
"""

from jaxad.cli import train
from jaxad.methods import patchcore

if __name__ == "__main__":
    train.recipe(
        patchcore.DETECTOR,
        patchcore.Config(
            size=224, extractor="wide_resnet50_2", weights=("wide_resnet50_2",),
            embedding="authors", start="mean", projection=128, score="authors",
            capacity=16_385, sample=200_000,
        ),
    )  # fmt: skip
