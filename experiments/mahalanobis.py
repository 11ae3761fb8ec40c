"""Gaussian anomaly detection as published (Rippel et al., ICPR 2020), a model for each category.

    python experiments/mahalanobis.py DATA RUN [--size 380 ...]

Its network is EfficientNet-B4, made of the published file by `jaxad weights convert
efficientnet-b4-6ed6700e.pth efficientnet_b4`, which ends at its last block: the ninth level, the
convolution before the classifier, is left out. The paper reports 95.8 image AUROC on MVTec AD and
has no maps; ours: docs/results/memory.md.
"""

from jaxad.cli import train
from jaxad.methods import mahalanobis

if __name__ == "__main__":
    train.recipe(
        mahalanobis.DETECTOR,
        mahalanobis.Config(
            size=380, extractor="efficientnet_b4", weights=("efficientnet_b4",),
            layers=(
                "stem", "block1", "block5", "block9", "block15", "block21", "block29", "block31",
            ),
        ),
    )  # fmt: skip
