"""Images without their anomalies: noised, and denoised by an estimate of the noise.

The ways that DiffusionAD compares (Zhang et al., arXiv:2303.08730, table 3).
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxad.detector import Images, Scalar
from jaxad.ops import diffusion, pairs
from jaxad.ops.diffusion import Denoiser, Schedule, Times


class Draws(NamedTuple):
    """Timesteps and noise of a batch, small and large."""

    t_small: Times
    t_large: Times
    noise_small: Images
    noise_large: Images


class Restored(NamedTuple):
    """What is left of images without their anomalies.

    Attributes:
      image: the restoration, in [-1, 1]; an autoencoder's is not limited.
      error: of the noise estimates, by image: mean squares over pixels, small and large added; 0
        where there are none.
      parts: intermediate images, for looking at.
    """

    image: Images
    error: Float[Array, "B"]
    parts: dict[str, Array]


def one_step(schedule: Schedule, denoiser: Denoiser, images: Images, draws: Draws) -> Restored:
    """Noised to the small timestep and denoised at once."""
    x = diffusion.q_sample(schedule, images, draws.t_small, draws.noise_small)
    estimate = denoiser(x, draws.t_small)
    image = diffusion.clipped(diffusion.x0_estimate(schedule, x, draws.t_small, estimate))
    return Restored(image, _square(estimate - draws.noise_small), {"noised": x})


def guided(
    schedule: Schedule, denoiser: Denoiser, images: Images, draws: Draws, weight: Scalar
) -> Restored:
    """Norm-guided one-step denoising; the denoiser is called once, on both noisy versions."""
    small = diffusion.q_sample(schedule, images, draws.t_small, draws.noise_small)
    large = diffusion.q_sample(schedule, images, draws.t_large, draws.noise_large)
    times = pairs.joined(draws.t_small, draws.t_large)
    of_small, of_large = pairs.apart(denoiser(pairs.joined(small, large), times))
    result = diffusion.guided(
        schedule, small, draws.t_small, of_small, large, draws.t_large, of_large, weight
    )
    error = _square(of_small - draws.noise_small) + _square(of_large - draws.noise_large)
    return Restored(
        result.image, error, {"noised": small, "small": result.small, "large": result.large}
    )


def iterative(
    schedule: Schedule, denoiser: Denoiser, images: Images, draws: Draws, steps: int
) -> Restored:
    """Noised to the small timestep and denoised in `steps` steps of DDIM; errors are not kept.

    Differs from the reference: its table compares with DDPM, which calls the denoiser at every
    timestep; with `steps` = t + 1 so does this, and without noise of its own.
    """
    x = diffusion.q_sample(schedule, images, draws.t_small, draws.noise_small)
    image = diffusion.ddim(schedule, denoiser, x, draws.t_small, steps)
    return Restored(image, jnp.zeros(image.shape[:1]), {"noised": x})


def _square(error: Images) -> Float[Array, "B"]:
    return jnp.square(error).mean((1, 2, 3))
