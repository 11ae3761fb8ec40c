"""What the methods share that remember a frozen network's features: looks at layers and numbers."""

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from jaxad.nets import extractors

FEWEST_CELLS = 2  # on a side of the coarsest layer
WIDEST = 8  # strides of two layers that still describe one patch; the papers' are at most 4 apart


def check_layers(extractor: str, layers: tuple[str, ...], size: int) -> None:
    """Looks at layers whose maps are put on the finest one's grid.

    Raises:
      ValueError: there is no such layer, the pictures are too small for one, or their strides are
        so far apart that cells of the coarsest one are repeated more often than `WIDEST` times a
        side.
    """
    strides = dict(zip(layers, extractors.strides(extractor, layers), strict=True))
    coarsest, finest = max(strides, key=strides.__getitem__), min(strides, key=strides.__getitem__)
    if strides[coarsest] > WIDEST * strides[finest]:
        raise ValueError(
            f"layers={','.join(layers)}: a cell of {coarsest} covers {strides[coarsest]} pixels a "
            f"side and one of {finest} {strides[finest]}, which together describe no patch; give "
            f"layers whose strides are at most {WIDEST} times one another's"
        )
    check_size(extractor, layers, size)


def check_size(
    extractor: str, layers: tuple[str, ...], size: int, fewest: int = FEWEST_CELLS
) -> None:
    """Raises ValueError where a layer has fewer than `fewest` cells a side."""
    strides = extractors.strides(extractor, layers)
    if size < fewest * max(strides):
        raise ValueError(
            f"size={size} is too small: the layers {', '.join(layers)} of {extractor} need "
            f"{fewest * max(strides)} pixels for {fewest} cells on a side"
        )


def check_features(features: PyTree, extractor: str) -> None:
    """Raises FloatingPointError where what was measured of features is not finite."""
    if not all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(features)):
        raise FloatingPointError(
            f"features of {extractor} are not finite: its weights are damaged, or not those of "
            "this network"
        )
