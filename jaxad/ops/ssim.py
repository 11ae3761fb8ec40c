"""Structural similarity of images.

Wang et al., IEEE TIP 2004 (doi:10.1109/TIP.2003.819861). As a loss and an anomaly map of
autoencoders: Bergmann et al., VISAPP 2019 (arXiv:1807.02011).
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxad.ops import maps

K1, K2 = 0.01, 0.03  # Wang et al., section III.C
SIGMA = 1.5  # of the Gaussian window, section III.C ...
REACH = 5  # ... and its pixels to each side: 11 x 11


def ssim(
    x: Float[Array, "B H W C"], y: Float[Array, "B H W C"], span: float = 1.0
) -> Float[Array, "B H W"]:
    """The similarity of the windows around each pixel, from -1 to 1 for equal ones.

    The mean over channels, which are compared one by one. Beyond the border lies the mirror image;
    variances divide by the number of pixels, as the paper's weighted ones do.

    Args:
      x: images.
      y: others.
      span: difference between the largest and the smallest value a pixel can have.
    """
    window = functools.partial(
        maps.gaussian_blur, sigma=SIGMA, border="symmetric", truncate=REACH / SIGMA
    )
    means = jax.vmap(window, -1, -1)
    mean_x, mean_y = means(x), means(y)
    var_x, var_y = means(x * x) - mean_x**2, means(y * y) - mean_y**2
    covariance = means(x * y) - mean_x * mean_y
    c1, c2 = (K1 * span) ** 2, (K2 * span) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (var_x + var_y + c2)
    return jnp.mean(luminance * structure, -1)
