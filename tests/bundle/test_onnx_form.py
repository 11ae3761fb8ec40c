"""Programs in the form for ONNX compute what they computed before."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax

from jaxad.bundle.onnx_form import written_out

KERNEL = np.random.default_rng(1).normal(size=(3, 3, 2, 5)).astype(np.float32)
FACTOR = np.tril(np.random.default_rng(2).normal(size=(4, 4))).astype(np.float32) + 4 * np.eye(4)
FACTOR = FACTOR.astype(np.float32)


def pooled(x, window=3, stride=2, padding=1):
    sides = ((padding, padding), (padding, padding))
    return nn.max_pool(x, (window, window), (stride, stride), sides)


def gradient(function):
    return jax.grad(lambda x: jnp.sin(function(x)).sum())


def convolved(x, stride=1, padding=1, apart=1):
    sides = ((padding, padding), (padding, padding))
    return lax.conv_general_dilated(
        x, KERNEL, (stride, stride), sides, rhs_dilation=(apart, apart),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )  # fmt: skip


def solved(x, lower=True, left=True, turned=False):
    b = x[0, :4, :4, 0]
    factor = jnp.asarray(FACTOR if lower else FACTOR.T)
    return lax.linalg.triangular_solve(
        factor, b, left_side=left, lower=lower, transpose_a=turned
    )  # fmt: skip


def noisy(x):
    return x + jax.random.normal(jax.random.key(3), x.shape)


def counted(x):
    """A loop whose number of turns is known only while it runs, of parts at known places."""
    rows, count = jnp.arange(24, dtype=jnp.float32).reshape(12, 2), jnp.int32(3)

    def turn(i, least):
        return jnp.minimum(least, jnp.abs(x.mean() - lax.dynamic_slice_in_dim(rows, 4 * i, 4)))

    return lax.fori_loop(0, count, turn, jnp.full((4, 2), jnp.inf))


def collected(x):
    def turn(carry, row):
        return carry + row, carry * row

    return lax.scan(turn, jnp.zeros(x.shape[1:]), x, reverse=True)


def sliced(x):
    return jax.vmap(lambda one: lax.dynamic_slice(one, (20, 1, 0), (4, 5, 2)))(x)


def halved(x):
    y = jnp.asarray(KERNEL[0, 0], jnp.bfloat16)
    return jnp.matmul(x, y, preferred_element_type=jnp.float32)


def padded(low, high, between):
    return lambda x: lax.pad(
        x, 1.5, ((0, 0, 0), (low, high, between), (high, low, 0), (0, 0, 0))
    )  # fmt: skip


FUNCTIONS = {
    "max": pooled,
    "max_of_two": lambda x: pooled(x, 2, 2, 0),
    "gradient_of_max": gradient(pooled),
    "gradient_of_max_of_two": gradient(lambda x: pooled(x, 2, 2, 0)),
    "gradient_of_max_of_equals": gradient(lambda x: pooled(jnp.round(x), 2, 2, 0)),
    "gradients_of_many": jax.vmap(gradient(pooled), in_axes=None, axis_size=1),
    "gradient_of_copies": lambda x: jax.vmap(lambda y: gradient(pooled)(x + y))(jnp.arange(3.0)),
    "mean": lambda x: nn.avg_pool(x, (3, 3), (2, 2), ((1, 1), (0, 1))),
    "gradient_of_mean": gradient(lambda x: nn.avg_pool(x, (2, 2), (2, 2))),
    "gradient_of_conv": gradient(convolved),
    "gradient_of_strided_conv": gradient(lambda x: convolved(x, 2, 1)),
    "gradient_of_wide_conv": gradient(lambda x: convolved(x, 2, 4, 2)),
    "pad": padded(2, 1, 0),
    "cut": padded(-2, 1, 0),
    "spread": padded(1, 2, 2),
    "spread_and_cut": padded(-1, -3, 1),
    "solve": solved,
    "solve_from_above": lambda x: solved(x, lower=False),
    "solve_from_the_right": lambda x: solved(x, left=False),
    "solve_transposed": lambda x: solved(x, turned=True),
    "noise": noisy,
    "count": counted,
    "scan": collected,
    "slice": sliced,
    "half": halved,
}


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).normal(size=(2, 9, 11, 2)).astype(np.float32)


def primitives(jaxpr):
    """The names of all primitives in a program, and in those within it."""
    for equation in jaxpr.eqns:
        yield equation.primitive.name
        for value in jax.tree.leaves(
            equation.params, is_leaf=lambda x: hasattr(x, "eqns") or hasattr(x, "jaxpr")
        ):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from primitives(inner)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_program_in_the_form_for_onnx_computes_what_it_computed(name, images):
    function = FUNCTIONS[name]
    form = written_out(jax.make_jaxpr(function)(images))
    expected, found = jax.tree.leaves(jax.jit(function)(images)), jax.jit(form)(images)
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-5)
    unknown = {
        "select_and_scatter_add", "triangular_solve", "random_bits", "threefry2x32",
        "while", "scan", "dynamic_slice", "custom_jvp_call", "custom_vjp_call",
    }  # fmt: skip
    assert not unknown & set(primitives(jax.make_jaxpr(form)(images).jaxpr))


def test_what_does_not_depend_on_the_images_is_computed(images):
    form = written_out(jax.make_jaxpr(noisy)(images))
    assert list(primitives(jax.make_jaxpr(form)(images).jaxpr)) == ["add"]


def test_a_batch_of_any_size_stays_one(images):
    (count,) = jax.export.symbolic_shape("batch")
    shape = jax.ShapeDtypeStruct((count, *images.shape[1:]), jnp.float32)
    form = written_out(jax.make_jaxpr(gradient(pooled))(shape))
    exported = jax.export.export(jax.jit(form))(shape)
    for some in (images, images[:1]):
        (found,) = exported.call(some)
        np.testing.assert_allclose(found, jax.jit(gradient(pooled))(some), rtol=1e-5, atol=1e-6)


def test_many_turns_of_a_loop_stay_a_loop(images):
    long = lambda x: lax.fori_loop(0, 1000, lambda i, y: y * 0.5, x)
    counted = lambda x: lax.while_loop(lambda y: y.sum() > 1.0, lambda y: y * 0.5, jnp.abs(x))
    for function, name in ((long, "scan"), (counted, "while")):
        form = written_out(jax.make_jaxpr(function)(images))
        assert name in set(primitives(jax.make_jaxpr(form)(images).jaxpr))
        np.testing.assert_allclose(jax.jit(form)(images)[0], jax.jit(function)(images))
