"""Diffusion as closed forms: noise schedules, noising, and the ways back.

Tables are float64 on the host; what a function reads of them is rounded to float32 once.

Ho et al., 2020 (arXiv:2006.11239); Song et al., 2021 (arXiv:2010.02502); Nichol & Dhariwal, 2021
(arXiv:2102.09672). Norm-guided one-step denoising: Zhang et al., DiffusionAD (arXiv:2303.08730).
"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, Int

from jaxad.detector import Images, Scalar

LEAST_LINEAR = 21  # timesteps of the linear schedule whose last beta, 20 / T, is below 1

Times = Int[Array, "B"]  # timesteps in [0, T)
Table = Float64[np.ndarray, "T"]
Denoiser = Callable[[Images, Times], Images]  # (x_t, t) -> the noise in it


class Schedule(NamedTuple):
    """How much noise there is at each timestep.

    Attributes:
      beta: variance added by step t.
      alpha_bar: what is left of the image's variance, the product of 1 - beta up to step t.
    """

    beta: Table
    alpha_bar: Table

    @property
    def alpha_bar_before(self) -> Table:
        """`alpha_bar` of the step before, 1 before the first."""
        return np.append(1.0, self.alpha_bar[:-1])


class Guided(NamedTuple):
    """Norm-guided one-step denoising, with its intermediate results.

    Attributes:
      small: estimate of the image from the small timestep alone.
      large: from the large timestep alone.
      renoised: `large`, noised to the small timestep with the noise that was estimated there.
      image: the estimate at the small timestep, guided towards `large`.
    """

    small: Images
    large: Images
    renoised: Images
    image: Images


def linear(steps: int) -> Schedule:
    """Betas from 1e-4 to 0.02 at 1000 steps; with fewer, both ends grow in proportion.

    Raises:
      ValueError: so few steps that a beta reaches 1.
    """
    if steps < LEAST_LINEAR:
        raise ValueError(f"steps={steps}: expected {LEAST_LINEAR} or more for betas below 1")
    scale = 1000 / steps
    return _of_betas(np.linspace(1e-4 * scale, 0.02 * scale, steps))


def cosine(steps: int) -> Schedule:
    """`alpha_bar` follows a squared cosine; betas are cut at 0.999 (Nichol & Dhariwal, eq. 17)."""
    at = (np.linspace(0, 1, steps + 1) + 0.008) / 1.008
    alpha_bar = np.cos(at * np.pi / 2) ** 2
    return _of_betas(np.minimum(1 - alpha_bar[1:] / alpha_bar[:-1], 0.999))


def q_sample(schedule: Schedule, x0: Images, t: Times, noise: Images) -> Images:
    """`x0` noised to timestep `t`: sqrt(a_t) x0 + sqrt(1 - a_t) noise (Ho et al., eq. 4)."""
    a = schedule.alpha_bar
    return _at(np.sqrt(a), t) * x0 + _at(np.sqrt(1 - a), t) * noise


def x0_estimate(schedule: Schedule, x_t: Images, t: Times, noise: Images) -> Images:
    """The image behind `x_t`, were `noise` the noise in it (DiffusionAD, eq. 6); not clipped."""
    a = schedule.alpha_bar
    return _at(np.sqrt(1 / a), t) * x_t - _at(np.sqrt(1 / a - 1), t) * noise


def noise_between(schedule: Schedule, x0: Images, x_t: Images, t: Times) -> Images:
    """The noise that makes `x_t` of `x0`: the inverse of `x0_estimate`."""
    a = schedule.alpha_bar
    return (_at(np.sqrt(1 / a), t) * x_t - x0) / _at(np.sqrt(1 / a - 1), t)


def posterior_mean(schedule: Schedule, x0: Images, x_t: Images, t: Times) -> Images:
    """Mean of x_{t-1} given `x0` and `x_t` (Ho et al., eq. 7)."""
    a, before, beta = schedule.alpha_bar, schedule.alpha_bar_before, schedule.beta
    of_x0 = beta * np.sqrt(before) / (1 - a)
    of_x_t = (1 - before) * np.sqrt(1 - beta) / (1 - a)
    return _at(of_x0, t) * x0 + _at(of_x_t, t) * x_t


def posterior_variance(schedule: Schedule) -> Table:
    """Variance of x_{t-1} given x0 and x_t, by t (Ho et al., eq. 7); 0 at t = 0."""
    a, before = schedule.alpha_bar, schedule.alpha_bar_before
    return schedule.beta * (1 - before) / (1 - a)


def sampling_variance(schedule: Schedule) -> Table:
    """Variance of an ancestral step, by t: beta, and at t = 0 the posterior's at t = 1.

    Source: the larger of the two choices of Ho et al., section 3.2.
    """
    return np.append(posterior_variance(schedule)[1], schedule.beta[1:])


def clipped(x0: Images) -> Images:
    """An estimate cut to [-1, 1]; DiffusionAD does so although its images are in [0, 1]."""
    return jnp.clip(x0, -1, 1)


def guided(
    schedule: Schedule,
    x_small: Images,
    t_small: Times,
    noise_small: Images,
    x_large: Images,
    t_large: Times,
    noise_large: Images,
    weight: Scalar,
) -> Guided:
    """One-step denoising at a small timestep, guided by that at a large one.

    Fine detail comes from the small timestep; the large one removes anomalies that are too big
    to be denoised there.

    Args:
      schedule: of both.
      x_small: the image noised to `t_small`.
      t_small: of each image.
      noise_small: estimate of the noise in `x_small`.
      x_large: the image noised to `t_large`, with other noise.
      t_large: of each image.
      noise_large: estimate of the noise in `x_large`.
      weight: of the guidance; 0 gives the estimate at the small timestep.

    Source: DiffusionAD, norm-guided one-step denoising; code.
    """
    large = clipped(x0_estimate(schedule, x_large, t_large, noise_large))
    renoised = q_sample(schedule, large, t_small, noise_small)
    deviation = _at(np.sqrt(1 - schedule.alpha_bar), t_small)
    noise = noise_small - deviation * weight * (renoised - x_small)
    return Guided(
        clipped(x0_estimate(schedule, x_small, t_small, noise_small)),
        large,
        renoised,
        clipped(x0_estimate(schedule, x_small, t_small, noise)),
    )


def ddpm_step(schedule: Schedule, x_t: Images, t: Times, estimate: Images, noise: Images) -> Images:
    """x_{t-1}, drawn: the posterior's mean at the clipped estimate, plus `noise` unless t = 0.

    Args:
      schedule: of x.
      x_t: noised images.
      t: their timesteps.
      estimate: of the noise in `x_t`.
      noise: standard normal, fresh.

    Source: Ho et al., algorithm 2.
    """
    x0 = clipped(x0_estimate(schedule, x_t, t, estimate))
    deviation = _at(np.sqrt(sampling_variance(schedule)), t)
    deviation = jnp.where((t > 0)[:, None, None, None], deviation, 0.0)
    return posterior_mean(schedule, x0, x_t, t) + deviation * noise


def ddim_step(schedule: Schedule, x_t: Images, t: Times, target: Times, estimate: Images) -> Images:
    """`x_t` taken to an earlier timestep without fresh noise; `target` -1 stands for the image.

    Source: Song et al., eq. 12 with sigma 0, at the clipped estimate of the image.
    """
    x0 = clipped(x0_estimate(schedule, x_t, t, estimate))
    noise = noise_between(schedule, x0, x_t, t)
    shifted = np.append(1.0, schedule.alpha_bar)  # by one, so that -1 finds 1
    return _at(np.sqrt(shifted), target + 1) * x0 + _at(np.sqrt(1 - shifted), target + 1) * noise


def ddpm(schedule: Schedule, denoiser: Denoiser, x_t: Images, start: int, key: Array) -> Images:
    """The image behind `x_t` by `start` + 1 ancestral steps from timestep `start`.

    A loop of the host: networks in loop primitives are slow on a CPU. Pass a compiled denoiser.
    """
    for step in range(start, -1, -1):
        t = jnp.full(len(x_t), step)
        noise = jax.random.normal(jax.random.fold_in(key, step), x_t.shape)
        x_t = ddpm_step(schedule, x_t, t, denoiser(x_t, t), noise)
    return x_t


def ddim(schedule: Schedule, denoiser: Denoiser, x_t: Images, start: Times, steps: int) -> Images:
    """The image behind `x_t` by `steps` calls of the denoiser, evenly spaced from `start` down.

    Args:
      schedule: of x.
      denoiser: called once for each step, unrolled within a compiled function.
      x_t: noised images.
      start: their timesteps.
      steps: from 1, which is `x0_estimate`, clipped, to `start` + 1.
    """
    # Ends at -1, the image; in between rounded to whole timesteps.
    times = [(start + 1) * (steps - i) // steps - 1 for i in range(steps + 1)]
    for t, target in itertools.pairwise(times):
        x_t = ddim_step(schedule, x_t, t, target, denoiser(x_t, t))
    return x_t


def _of_betas(beta: Table) -> Schedule:
    return Schedule(beta, np.cumprod(1 - beta))


def _at(table: Table, t: Times) -> Float[Array, "B 1 1 1"]:
    """Rows of a table, for images."""
    return jnp.asarray(table.astype(np.float32))[t][:, None, None, None]
