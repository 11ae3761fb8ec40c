"""SPADE as published (Cohen & Hoshen, 2020), a model for each category.

    python experiments/spade.py DATA RUN [--neighbours 5 ...]

Its network is a wide ResNet-50, made of the published file, with its last stage, by `jaxad weights
convert wide_resnet50_2-95faca4d.pth wide_resnet50_2 --kind resnet_layer4`. The authors cut 224
pixels out of the middle of 256, here pictures are whole. The paper reports 85.5 image and 96.0
pixel AUROC on MVTec AD; ours: docs/results/memory.md.
"""

from jaxad.cli import train
from jaxad.methods import spade

if __name__ == "__main__":
    train.recipe(
        spade.DETECTOR,
        spade.Config(
            size=224, extractor="wide_resnet50_2", weights=("wide_resnet50_2",),
            layers=("layer1", "layer2", "layer3"), pooled="layer4", together=True, neighbours=50.0,
            capacity=400,
        ),
    )  # fmt: skip
