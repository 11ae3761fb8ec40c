"""A small chain of convolutions with maps of the same shapes as a larger network's.

Salehi et al., CVPR 2021 (arXiv:2011.11108); layers as in their code,
rohban-lab/Knowledge_Distillation_AD, where this is network "B".
"""

from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxad.nets.layers import Conv, max_pool
from jaxad.nets.norms import BatchNorm

VGG_STRIDE = 4  # up to it, VGG-16 has two convolutions before a pool, then three


class Stage(NamedTuple):
    """3x3 convolutions with rectifiers.

    Attributes:
      widths: their channels.
      pooled: whether a 2 x 2 maximum of stride 2 follows.
      matched: whether the result is one of the cloner's maps.
      signed: whether that map is the result before the last rectifier, to match negative values.
    """

    widths: tuple[int, ...]
    pooled: bool
    matched: bool
    signed: bool = False


class Cloner(nn.Module):
    """Batch norm follows every convolution but the last of a stage, whose map is to be matched.

    Attributes:
      stages: see `stages_like`.
      guided: whether gradients are those of guided back-propagation.
    """

    stages: tuple[Stage, ...]
    guided: bool = False

    @nn.compact
    def __call__(
        self, x: Float[Array, "B H W 3"], train: bool = False
    ) -> tuple[Float[Array, "B _ _ _"], ...]:
        """The maps to be matched, finest first."""
        relu = guided_relu if self.guided else nn.relu
        xavier = nn.initializers.xavier_uniform()
        maps = []
        for i, stage in enumerate(self.stages, start=1):
            for j, width in enumerate(stage.widths, start=1):
                name = f"conv{i}_{j}"
                conv = Conv(width, 3, padding=1, use_bias=False, kernel_init=xavier, name=name)
                x = conv(x)
                if j < len(stage.widths):
                    x = relu(BatchNorm(name=f"bn{i}_{j}")(x, train))
            if stage.pooled:
                x = max_pool(x, 2)
            matched, x = x, relu(x)
            if stage.matched:
                maps.append(matched if stage.signed else x)
        return tuple(maps)


def stages_like(
    channels: Sequence[int],
    strides: Sequence[int],
    narrow: int | None,
    signed: Sequence[bool] | None = None,
) -> tuple[Stage, ...]:
    """Stages of a cloner whose maps have these channels and strides.

    For VGG-16's pools 2 to 5 and 16 narrow channels, it is the paper's.

    Args:
      channels: of the maps, finest first.
      strides: pixels of the input from one cell to the next, each 1, 2, 4 ... times the one before.
      narrow: channels of convolutions inside a stage; None for as many as at its end.
      signed: which maps may have negative values; None for no one.

    Raises:
      ValueError: strides that pools of 2 cannot reach.
    """
    stages, reached = [], 1
    signed = [False] * len(channels) if signed is None else signed
    for width, stride, sign in zip(channels, strides, signed, strict=True):
        if stride % reached or (stride // reached).bit_count() != 1:
            raise ValueError(
                f"strides {', '.join(map(str, strides))}: expected each to be 1, 2, 4 ... times "
                "the one before, finest first"
            )
        while 2 * reached < stride:
            stages.append(Stage((narrow or width // 2,) * 2, pooled=True, matched=False))
            reached *= 2
        inner = (narrow or width,) * (1 if stride <= VGG_STRIDE else 2)
        stages.append(Stage((*inner, width), reached < stride, matched=True, signed=sign))
        reached = stride
    return tuple(stages)


@jax.custom_vjp
def guided_relu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """A rectifier that lets only positive gradients through, and only where it is positive.

    Springenberg et al., ICLR 2015 workshop (arXiv:1412.6806).
    """
    return jnp.maximum(x, 0)


def _forward(x: Float[Array, "..."]) -> tuple[Float[Array, "..."], Bool[Array, "..."]]:
    return jnp.maximum(x, 0), x > 0


def _backward(on: Bool[Array, "..."], gradient: Float[Array, "..."]) -> tuple[Array]:
    return (jnp.where(on & (gradient > 0), gradient, 0),)


guided_relu.defvjp(_forward, _backward)
