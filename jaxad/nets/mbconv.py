"""The inverted bottleneck of MobileNetV2 and, with squeeze-and-excitation, of EfficientNet.

Sandler et al., CVPR 2018 (arXiv:1801.04381); Tan & Le, ICML 2019 (arXiv:1905.11946).
"""

from collections.abc import Callable

import flax.linen as nn
from jaxtyping import Array, Float

from jaxad.nets.layers import Conv, Sides
from jaxad.nets.norms import BatchNorm


class MBConv(nn.Module):
    """Expand by a 1x1 convolution, filter each channel, project; a shortcut where shapes agree.

    Attributes:
      features: channels of the output.
      kernel: side of the depthwise convolution.
      stride: of the depthwise convolution.
      padding: of the depthwise convolution.
      expansion: channels inside, in multiples of the input's; 1 leaves the expansion out.
      activation: after expansion and depthwise convolution.
      epsilon: of the norms.
      squeezed: channels between squeeze and excitation; 0 for none.
    """

    features: int
    kernel: int
    stride: int
    padding: Sides
    expansion: int
    activation: Callable[[Array], Array]
    epsilon: float
    squeezed: int = 0

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], train: bool = False) -> Float[Array, "B h w D"]:
        """The block's output."""
        shortcut, inner = x, x.shape[-1] * self.expansion
        norm = lambda name: BatchNorm(self.epsilon, name=name)
        if self.expansion != 1:
            x = Conv(inner, 1, use_bias=False, name="expand_conv")(x)
            x = self.activation(norm("expand_bn")(x, train))
        x = Conv(
            inner, self.kernel, self.stride, self.padding,
            use_bias=False, groups=inner, name="depthwise_conv",
        )(x)  # fmt: skip
        x = self.activation(norm("depthwise_bn")(x, train))
        if self.squeezed:
            gate = self.activation(
                Conv(self.squeezed, 1, name="squeeze")(x.mean((1, 2), keepdims=True))
            )
            x = x * nn.sigmoid(Conv(inner, 1, name="excite")(gate))
        x = norm("project_bn")(
            Conv(self.features, 1, use_bias=False, name="project_conv")(x), train
        )
        return x + shortcut if x.shape == shortcut.shape else x
