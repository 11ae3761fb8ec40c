"""PaDiM as published (Defard et al., ICPR workshops 2021), a model for each category.

    python experiments/padim.py DATA RUN [--channels 100 ...]

Its networks are a wide ResNet-50 with 550 channels, made of the published file by `jaxad weights
convert wide_resnet50_2-95faca4d.pth wide_resnet50_2`, and ResNet-18 with 100: `--extractor resnet18
--weights resnet18 --channels 100`. They cut 224 pixels out of the middle of 256, here pictures are
whole. The paper reports 95.3 image and 97.5 pixel AUROC on MVTec AD; ours: docs/results/memory.md.
"""

from jaxad.cli import train
from jaxad.methods import padim

if __name__ == "__main__":
    train.recipe(
        padim.DETECTOR,
        padim.Config(
            size=224, extractor="wide_resnet50_2", weights=("wide_resnet50_2",), channels=550
        ),
    )
