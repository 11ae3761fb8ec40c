"""Schedules, closed forms and samplers against stored references and plain sums."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from weights import nchw, nhwc
from weights_b import inputs

from jaxad.nets.unet import time_embedding
from jaxad.ops import diffusion

ROWS = [0, 1, 2, 50, 100, 199, 200, 299, 300, 400, 500, 600, 750, 998, 999]


def arrays(stored):
    """Inputs of a golden, images as `B H W C`."""
    drawn = inputs(stored.info).items()
    return {k: jnp.asarray(nhwc(v)) if v.ndim == 4 else jnp.asarray(v) for k, v in drawn}


def close(stored, name, value, tolerance=None):
    assert stored.error(name, np.asarray(value)) < (tolerance or stored.tolerance(name)), name


def test_diffusionad_schedule_tables_equal_the_reference_in_float64(golden):
    stored = golden("diffusionad_schedule")
    schedule, short = diffusion.linear(1000), diffusion.linear(250)
    cosine = diffusion.cosine(1000)
    a, before, beta = schedule.alpha_bar, schedule.alpha_bar_before, schedule.beta
    variance = diffusion.posterior_variance(schedule)
    tables = {
        "betas_linear_1000": beta,
        "alphas_cumprod_linear_1000": a,
        "betas_linear_250": short.beta,
        "alphas_cumprod_linear_250": short.alpha_bar,
        "betas_cosine_1000": cosine.beta,
        "alphas_cumprod_cosine_1000": cosine.alpha_bar,
        "alphas_cumprod_prev": before[ROWS],
        "sqrt_one_minus_alphas_cumprod": np.sqrt(1 - a)[ROWS],
        "sqrt_recipm1_alphas_cumprod": np.sqrt(1 / a - 1)[ROWS],
        "posterior_variance": variance[ROWS],
        "posterior_log_variance_clipped": np.log(np.append(variance[1], variance[1:]))[ROWS],
    }
    for name, table in tables.items():
        close(stored, name, table, 1e-12)


def test_diffusionad_schedule_closed_forms_equal_the_reference(golden):
    stored, schedule = golden("diffusionad_schedule"), diffusion.linear(1000)
    drawn = arrays(stored)
    x0, noise, eps, t = (drawn[name] for name in ("x0", "noise", "eps", "t"))
    t = t.astype(jnp.int32)
    x_t = diffusion.q_sample(schedule, x0, t, noise)
    estimate = diffusion.x0_estimate(schedule, x_t, t, eps)
    found = {
        "q_sample": x_t,
        "x0_hat": estimate,
        # Theirs reads the row of t = 1 at t = 0, where ours inverts `q_sample`.
        "eps_from_x0": diffusion.noise_between(schedule, x0, x_t, jnp.maximum(t, 1)),
        "posterior_mean": diffusion.posterior_mean(schedule, x0, x_t, t),
        "p_mean": diffusion.posterior_mean(schedule, diffusion.clipped(estimate), x_t, t),
    }
    for name, value in found.items():
        close(stored, name, nchw(value))
    close(stored, "p_log_variance", np.log(diffusion.sampling_variance(schedule))[np.asarray(t)])
    times = drawn["t_embed"].astype(jnp.int32)
    close(stored, "time_embedding_128", time_embedding(times, 128))
    close(stored, "time_embedding_32", time_embedding(times, 32))


@pytest.mark.parametrize("weight", [1, 3])
def test_diffusionad_guided_denoising_equals_the_reference(golden, weight):
    stored, schedule = golden("diffusionad_guided"), diffusion.linear(1000)
    x = arrays(stored)
    t_small, t_large = (x[name].astype(jnp.int32) for name in ("t_small", "t_large"))
    x_small = diffusion.q_sample(schedule, x["x0"], t_small, x["noise_small"])
    x_large = diffusion.q_sample(schedule, x["x0"], t_large, x["noise_large"])
    noises = (x["noise_small"] + x["error_small"], x["noise_large"] + x["error_large"])
    found = diffusion.guided(
        schedule, x_small, t_small, noises[0], x_large, t_large, noises[1], float(weight)
    )
    close(stored, "x_small", nchw(x_small))
    close(stored, "x_large", nchw(x_large))
    close(stored, "x0_small", nchw(found.small))
    close(stored, "x0_large", nchw(found.large))
    close(stored, "renoised", nchw(found.renoised))
    close(stored, f"x0_guided_w{weight}", nchw(found.image))


def test_guidance_of_weight_0_is_the_estimate_at_the_small_timestep(key):
    x, *noises = jax.random.normal(key, (4, 2, 8, 8, 3))
    small, large = jnp.array([20, 150]), jnp.array([500, 700])
    found = diffusion.guided(diffusion.linear(1000), x, small, noises[0], x, large, noises[1], 0.0)
    np.testing.assert_array_equal(found.image, found.small)


def perfect(schedule, x0):
    """A denoiser that knows the image."""
    return lambda x_t, t: diffusion.noise_between(schedule, x0, x_t, t)


@pytest.mark.parametrize("steps", [1, 4, 50])
def test_ddim_with_a_perfect_denoiser_returns_the_image(key, steps):
    schedule = diffusion.linear(1000)
    x0, noise = jax.random.uniform(key, (2, 2, 8, 8, 3))
    start = jnp.array([300, 49])
    x_t = diffusion.q_sample(schedule, x0, start, noise)
    found = diffusion.ddim(schedule, perfect(schedule, x0), x_t, start, steps)
    np.testing.assert_allclose(found, x0, atol=1e-3)


def test_one_ddim_step_is_the_one_step_estimate(key):
    schedule = diffusion.cosine(100)
    x_t, noise = jax.random.normal(key, (2, 2, 8, 8, 3))
    start = jnp.array([60, 30])
    found = diffusion.ddim(schedule, lambda x, t: noise, x_t, start, 1)
    expected = diffusion.clipped(diffusion.x0_estimate(schedule, x_t, start, noise))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_ddpm_with_a_perfect_denoiser_returns_the_image(key):
    schedule = diffusion.cosine(20)
    x0, noise = jax.random.uniform(key, (2, 2, 8, 8, 3))
    x_t = diffusion.q_sample(schedule, x0, jnp.array([19, 19]), noise)
    found = diffusion.ddpm(schedule, perfect(schedule, x0), x_t, 19, key)
    np.testing.assert_allclose(found, x0, atol=1e-3)


def test_ancestral_steps_walk_back_through_the_marginals_of_the_forward_process(key):
    # Of a distribution with all its mass in one image, x_{t-1} given x_t and x0 is the marginal
    # with the posterior's variance; the larger variance used here adds what is known in advance.
    schedule, t = diffusion.linear(1000), 400
    x0 = jnp.full((1, 128, 128, 3), 0.3)
    noise, fresh = jax.random.normal(key, (2, *x0.shape))
    at = jnp.array([t])
    x_t = diffusion.q_sample(schedule, x0, at, noise)
    estimate = diffusion.noise_between(schedule, x0, x_t, at)
    before = diffusion.ddpm_step(schedule, x_t, at, estimate, fresh)
    extra = schedule.beta[t] - diffusion.posterior_variance(schedule)[t]
    variance = 1 - schedule.alpha_bar[t - 1] + extra
    np.testing.assert_allclose(before.mean(), 0.3 * schedule.alpha_bar[t - 1] ** 0.5, atol=0.02)
    np.testing.assert_allclose(before.var(), variance, rtol=0.02)
