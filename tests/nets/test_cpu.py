"""What is written for a CPU equals its library's form, and runs on a CPU alone."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax
from scripts import script

from jaxad.nets import cpu
from jaxad.nets.cpu import FORMS, Form
from jaxad.nets.layers import Conv, max_pool
from jaxad.nets.norms import BatchNorm, GroupNorm
from jaxad.nets.patch_network import PatchNetwork
from jaxad.nets.transformer import Attention, dropped


def normal(i, *shape):
    return jax.random.normal(jax.random.key(i), shape)


def convolved(padding, dilation=1, stride=1, groups=1):
    """A convolution by a form, as Flax calls it."""
    layout = lax.ConvDimensionNumbers((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2))

    def by(form, x, kernel):
        return form(
            x,
            kernel,
            (stride, stride),
            padding,
            lhs_dilation=(1, 1),
            rhs_dilation=(dilation, dilation),
            dimension_numbers=layout,
            feature_group_count=groups,
            precision=None,
        )

    return by


def two_layers(form, x, first, second):
    """Two convolutions, of 4 x 4 and of 2 x 2 taps, by which 5 x 5 cells become one."""
    by = convolved(((0, 0), (0, 0)))
    conv = lax.conv_general_dilated
    return form(lambda x: by(conv, jnp.tanh(by(conv, x, first)), second), x)


DROP = lambda weights: dropped(weights, 0.25, jax.random.key(3))
HIDDEN = np.where(np.tri(6, dtype=bool), 0, -np.inf).astype(np.float32)
X = normal(0, 2, 6, 5, 4)
VECTORS = normal(1, 4), normal(2, 4)
TOKENS = normal(0, 2, 3, 6, 6), normal(1, 2, 6, 3, 4)
CASES = {  # name of a form: what is computed by it, from which arrays
    "conv": [
        (convolved(((3, 3), (3, 3))), (X, normal(1, 4, 4, 4, 3))),
        (convolved(((1, 1), (1, 1))), (X, normal(1, 3, 3, 4, 3))),
        (convolved(((0, 4), (1, 0)), stride=2), (X, normal(1, 4, 4, 4, 3))),
        (convolved(((5, 4), (2, 2)), dilation=2), (X, normal(1, 3, 3, 4, 3))),
        (convolved(((2, 2), (2, 2)), groups=2), (X, normal(1, 3, 3, 2, 4))),
    ],
    "depthwise": [
        (convolved(((1, 1), (1, 1)), groups=4), (X, normal(1, 3, 3, 1, 4))),
        (convolved(((0, 1), (0, 1)), stride=2, groups=4), (X, normal(1, 3, 3, 1, 4))),
        (convolved(((1, 2), (2, 2)), stride=2, groups=4), (X, normal(1, 5, 5, 1, 4))),
        (convolved(((0, 0), (0, 0)), stride=3, groups=4), (X, normal(1, 1, 2, 1, 4))),
        (convolved(((3, 0), (1, 4)), stride=2, groups=4), (X, normal(1, 2, 3, 1, 4))),
        (convolved(((2, 2), (2, 2)), dilation=2, groups=4), (X, normal(1, 3, 3, 1, 4))),
    ],
    "max_pool": [
        (lambda form, x: form(x, 3, 2, 1), (X,)),
        (lambda form, x: form(x, 2, 2, 0), (X,)),
    ],
    "batch_norm": [
        (lambda form, *arrays: form(*arrays, 1e-5), (3 * X + 1, *VECTORS)),
        (lambda form, *arrays: form(*arrays, 1e-5), (X[:1, :3, :3], *VECTORS)),
    ],
    "group_mean": [
        (lambda form, x: form(x, 1), (X,)),
        (lambda form, x: form(x, 2), (X + 100,)),
        (lambda form, x: form(x, 4), (X,)),
    ],
    "gathered": [
        (lambda form, logits, values: form(logits, values, lambda x: x), TOKENS),
        (lambda form, logits, values: form(logits, values, DROP), TOKENS),
        (lambda form, logits, values: form(logits + HIDDEN[None, None], values, DROP), TOKENS),
        (lambda form, logits, values: form(1000 + logits, values, lambda x: x), TOKENS),
    ],
    "smallest": [
        (two_layers, (X[:, :5], normal(1, 4, 4, 4, 3), normal(2, 2, 2, 3, 2))),
        (two_layers, (X, normal(1, 4, 4, 4, 3), normal(2, 2, 2, 3, 2))),
    ],
}
every_case = pytest.mark.parametrize(
    ("name", "case"), [(name, i) for name, cases in CASES.items() for i in range(len(cases))]
)


def pulled(function, arrays):
    """A function's values, and the gradients that random weights of them have."""

    def weighed(*arrays):
        values = function(*arrays)
        leaves = jax.tree.leaves(values)
        return sum((normal(9, *x.shape) * (x + x**2)).sum() for x in leaves), values

    everything = tuple(range(len(arrays)))
    gradients, values = jax.jit(jax.grad(weighed, everything, has_aux=True))(*arrays)
    return values, gradients


def close(found, want, tolerance=1e-4):
    """Equal but for rounding, relative to the largest value of an array."""

    def compare(a, b):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1, float(abs(b).max())))

    jax.tree.map(compare, found, want)


def test_every_form_has_its_cases():
    assert set(CASES) == set(FORMS) == {name for name, _, _, _ in script("bench_cpu_forms").CASES}
    assert set(map(id, FORMS.values())) == {
        id(value) for value in vars(cpu).values() if isinstance(value, Form)
    }


@every_case
def test_both_forms_have_the_same_values_and_gradients(name, case):
    function, arrays = CASES[name][case]
    plain, fast = (
        pulled(lambda *arrays, one=one: function(one, *arrays), arrays)
        for one in (FORMS[name].plain, FORMS[name].cpu)
    )
    close(fast, plain)


@pytest.mark.parametrize("on", [False, True])
def test_the_switch_decides_which_form_runs(on, monkeypatch):
    form = Form(plain=lambda x, y: ("plain", x, y), cpu=lambda x, y: ("cpu", x, y))
    monkeypatch.setattr(cpu, "on_cpu", lambda: on)
    assert form(1, y=2) == ("cpu" if on else "plain", 1, 2)


@every_case
def test_the_cpu_form_is_chosen_on_a_cpu_alone(name, case):
    function, arrays = CASES[name][case]
    assert cpu.on_cpu() == (jax.default_backend() == "cpu")
    chosen = FORMS[name].cpu if cpu.on_cpu() else FORMS[name].plain
    ours, its = (
        jax.jit(lambda *arrays, one=one: function(one, *arrays)).lower(*arrays).as_text()
        for one in (FORMS[name], chosen)
    )
    assert ours == its


NETWORKS = {  # form: a network that has it, its input
    "conv": (Conv(3, 4, padding=3), X),
    "depthwise": (Conv(4, 3, 2, padding=1, groups=4), X),
    "max_pool": (nn.Sequential([Conv(3, 1), lambda x: max_pool(x, 3, padding=1)]), X),
    "batch_norm": (BatchNorm(), X),
    "group_mean": (GroupNorm(2), X),
    "gathered": (Attention(heads=2), X[0]),
    "smallest": (PatchNetwork(17, 3, 2), jax.random.uniform(jax.random.key(0), (2, 17, 19, 3))),
}


@pytest.mark.parametrize("name", FORMS)
def test_networks_do_the_same_by_both_forms_and_take_each_where_it_belongs(name, monkeypatch, key):
    network, x = NETWORKS[name]
    arguments = {"gathered": (x, x, x), "batch_norm": (x, True)}.get(name, (x,))
    variables = network.init(key, *arguments)
    found, calls = {}, []

    def recording(kind):
        def run(*args, **kwargs):
            calls.append(kind)
            return getattr(FORMS[name], kind)(*args, **kwargs)

        return run

    monkeypatch.setattr(cpu, name, Form(recording("plain"), recording("cpu")))
    for on, kind in ((False, "plain"), (True, "cpu")):
        monkeypatch.setattr(cpu, "on_cpu", lambda on=on: on)

        def of(params):
            everything = {**variables, "params": params}
            return network.apply(everything, *arguments, mutable=["batch_stats"])

        found[kind] = pulled(of, (variables["params"],))
        assert set(calls) == {kind}
        calls.clear()
    close(found["cpu"], found["plain"])


def test_nobody_else_in_nets_asks_for_the_backend():
    folder = pathlib.Path(cpu.__file__).parent
    asking = [file.name for file in folder.rglob("*.py") if "default_backend" in file.read_text()]
    assert asking == ["cpu.py"]


def of_pool(pool, x):
    """A maximum pool's values, and its gradient."""
    weigh = lambda x: (pool(x) * (1 + jnp.arange(pool(x).size).reshape(pool(x).shape))).sum()
    return jax.jit(pool)(x), jax.jit(jax.grad(weigh))(x)


@pytest.mark.parametrize(
    ("window", "stride", "padding"), [(2, 2, 0), (3, 2, 1), (3, 2, 0), (3, 1, 1), (2, 3, 0)]
)
@pytest.mark.parametrize("shape", [(8, 7), (9, 6)])
def test_in_both_maximum_pools_the_first_of_equal_cells_takes_the_gradient(
    window, stride, padding, shape
):
    x = jnp.round(2 * jax.random.normal(jax.random.key(0), (2, *shape, 3)))
    plain, fast = (
        of_pool(lambda x, one=one: one(x, window, stride, padding), x) for one in cpu.max_pool
    )
    for found, want in zip(fast, plain, strict=True):
        np.testing.assert_array_equal(found, want)


@pytest.mark.parametrize("kind", Form._fields)
def test_no_maximum_pool_lets_nan_disappear(kind):
    x = jnp.zeros((1, 4, 4, 1)).at[0, 1, 2].set(jnp.nan).at[0, 3, 0].set(1.0)
    pooled = getattr(cpu.max_pool, kind)(x, 2, 2, 0)[0, :, :, 0]
    np.testing.assert_array_equal(pooled, [[0, jnp.nan], [1, 0]])


@pytest.mark.parametrize("kind", Form._fields)
@pytest.mark.parametrize("nans", [(0,), (1, 2), (3,)])
def test_one_cell_of_a_window_with_nan_takes_the_gradient_whichever(kind, nans):
    x = jnp.arange(4.0).at[jnp.array(nans)].set(jnp.nan).reshape(1, 2, 2, 1)
    gradient = jax.grad(lambda x: getattr(cpu.max_pool, kind)(x, 2, 2, 0).sum())(x)
    assert sorted(gradient.ravel().tolist()) == [0, 0, 0, 1]


@pytest.mark.parametrize("kind", Form._fields)
def test_the_gradient_of_batch_norm_is_that_of_its_definition(kind):
    keys = jax.random.split(jax.random.key(0), 5)
    x, weight = (jax.random.normal(k, (3, 4, 5, 2)) * 3 + 1 for k in keys[:2])
    scale, bias, other = (jax.random.normal(k, (2,)) for k in keys[2:])

    def defined(x, scale, bias, epsilon):
        mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
        wide = lambda v: v[None, None, None]
        normal = (x - wide(mean)) / wide(jnp.sqrt(var + epsilon))
        return normal * wide(scale) + wide(bias), mean, var

    def loss(norm):
        def of(*arguments):
            y, mean, var = norm(*arguments, 1e-5)
            return (jnp.square(y) * weight).sum() + (mean * other).sum() + (var * other).sum()

        return jax.jit(jax.value_and_grad(of, (0, 1, 2)))(x, scale, bias)

    compare = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
    jax.tree.map(compare, loss(getattr(cpu.batch_norm, kind)), loss(defined))
