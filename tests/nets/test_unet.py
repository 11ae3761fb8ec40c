"""What the U-Nets promise beside the stored references."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxad.nets.segmentation import MULTIPLIERS, SegmentationUNet
from jaxad.nets.unet import UNet

SMALL = {"width": 8, "multipliers": (1, 2), "blocks": 1, "attention": (1,), "heads": 2, "groups": 4}


@pytest.fixture
def noisy(key):
    return jax.random.normal(key, (2, 16, 16, 3)), jnp.array([3, 700])


def moved(params):
    """Parameters none of which is zero."""
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda x: x + 0.1 * rng.normal(size=x.shape).astype(np.float32), params)


@pytest.mark.slow
def test_a_new_unet_estimates_zero(key, noisy):
    network = UNet(**SMALL)
    estimate, _ = jax.jit(network.init_with_output)(key, *noisy)
    np.testing.assert_array_equal(estimate, jnp.zeros_like(noisy[0]))


@pytest.mark.slow
def test_the_paper_s_unet_has_132_million_parameters(key, noisy):
    shapes = jax.eval_shape(UNet().init, key, jnp.zeros((1, 256, 256, 3)), jnp.zeros(1, jnp.int32))
    assert sum(x.size for x in jax.tree.leaves(shapes)) == 131_654_403


@pytest.mark.slow
def test_computing_again_for_gradients_changes_nothing(key, noisy):
    flat = {**SMALL, "multipliers": (1,), "attention": (0,)}
    params = moved(jax.jit(UNet(**flat).init)(key, *noisy))

    def gradient(remat):
        network = UNet(**flat, remat=remat)
        return jax.jit(jax.grad(lambda p: jnp.square(network.apply(p, *noisy)).mean()))(params)

    kept, again = gradient(False), gradient(True)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5), kept, again)


@pytest.mark.slow
def test_the_estimate_depends_on_the_timestep_of_its_image_alone(key, noisy):
    x, _ = noisy
    network = UNet(**SMALL)
    params = moved(jax.jit(network.init)(key, *noisy))
    apply = jax.jit(network.apply)
    one = apply(params, x, jnp.array([3, 700]))
    other = apply(params, x, jnp.array([3, 30]))
    np.testing.assert_allclose(one[0], other[0], atol=1e-5)
    assert jnp.abs(one[1] - other[1]).max() > 1e-3


@pytest.mark.slow
def test_half_precision_stays_close(key, noisy):
    x, t = noisy
    network = UNet(**SMALL)
    params = moved(jax.jit(network.init)(key, *noisy))
    apply = jax.jit(network.apply)
    exact = apply(params, x, t)
    half = lambda tree: jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), tree)
    rough = apply(half(params), half(x), t)
    assert rough.dtype == jnp.bfloat16
    error = jnp.abs(rough.astype(jnp.float32) - exact).max()
    assert error < 0.05 * jnp.abs(exact).max()


def test_without_skips_the_way_up_does_not_see_the_way_down(key, noisy):
    network = UNet(**SMALL, skips=False)
    shapes = jax.eval_shape(network.init, key, *noisy)["params"]
    assert shapes["up_3"]["conv1"]["conv"]["kernel"].shape == (3, 3, 8, 8)


@pytest.mark.slow
def test_segmentation_running_statistics_move_in_training_only(key):
    network = SegmentationUNet(2)
    x = jax.random.uniform(key, (2, 32, 32, 6))
    variables = jax.jit(network.init)(key, x)
    logits, kept = jax.jit(lambda v: network.apply(v, x, mutable=["batch_stats"]))(variables)
    assert logits.shape == (2, 32, 32)
    same = jax.tree.map(
        lambda a, b: bool((a == b).all()), kept, {"batch_stats": variables["batch_stats"]}
    )
    assert all(jax.tree.leaves(same))
    _, moved = jax.jit(lambda v: network.apply(v, x, True, mutable=["batch_stats"]))(variables)
    mean = moved["batch_stats"]["encoder_0"]["first"]["norm"]["mean"]
    assert (mean != 0).all()


@pytest.mark.slow
def test_segmentation_gradients_in_training_are_finite():
    # A maximum's gradient by equality divides by zero where values are computed twice.
    network = SegmentationUNet(2)
    init = jax.jit(network.init)

    @jax.jit
    @jax.grad
    def gradient(params, stats, x):
        both = {"params": params, "batch_stats": stats}
        return network.apply(both, x, True, mutable=["batch_stats"])[0].sum()

    for key in jax.random.split(jax.random.key(0), 3):
        x = jax.random.uniform(key, (2, 32, 32, 6))
        variables = init(key, x)
        params = jax.tree.map(lambda leaf: np.asarray(leaf) + 0.02, variables["params"])
        found = gradient(params, variables["batch_stats"], x)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))


@pytest.mark.parametrize(
    ("multipliers", "up"), [((1, 2), [1]), (MULTIPLIERS, [8, 4, 2, 1, 1])], ids=["two", "draem"]
)
def test_segmentation_has_a_level_for_each_multiplier(multipliers, up, key):
    network = SegmentationUNet(4, multipliers)
    side = 2 ** (len(multipliers) - 1)
    x = jax.ShapeDtypeStruct((1, side, side, 6), jnp.float32)
    params = jax.eval_shape(network.init, key, x)["params"]
    levels = range(len(multipliers))
    channels = lambda name: params[name]["second"]["conv"]["conv"]["kernel"].shape[-1]
    assert [channels(f"encoder_{i}") for i in levels] == [4 * m for m in multipliers]
    assert [channels(f"decoder_{i}") for i in levels[-2::-1]] == [4 * m for m in up]
    logits = jax.eval_shape(network.apply, jax.eval_shape(network.init, key, x), x)
    assert logits.shape == (1, side, side)
