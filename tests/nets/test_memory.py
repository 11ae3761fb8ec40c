"""Division, addressing and assembly against the stored reference, slow loops and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from weights import nchw, nhwc
from weights_b import inputs

from jaxad.nets import memory
from jaxad.nets.memory import Memory, addressing, entropy, fold, items_used, shrunk, unfold

THRESHOLDS = pytest.mark.parametrize("threshold", [0.0, 0.0025, 0.05])


@pytest.fixture(autouse=True)
def full_precision():
    with jax.default_matmul_precision("highest"):
        yield


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def loop_unfold(x, rates):
    """Block by block, of maps that the rates divide."""
    _, height, width, _ = x.shape
    rows, columns = height // rates[0], width // rates[1]
    blocks = [
        [
            image[i * rows : (i + 1) * rows, j * columns : (j + 1) * columns].ravel()
            for i in range(rates[0])
            for j in range(rates[1])
        ]
        for image in x
    ]
    return np.array(blocks)


def loop_addressing(queries, keys, similarity, temperature, threshold):
    """Query by query and item by item."""
    rows = []
    for q in np.float64(queries):
        scores = []
        for k in np.float64(keys):
            score = q @ k
            if similarity == "cosine":
                score /= np.linalg.norm(q) * np.linalg.norm(k)
            if similarity == "scaled_dot":
                score /= np.sqrt(len(k))
            scores.append(score / temperature)
        w = np.exp(scores - np.max(scores))
        w /= w.sum()
        if (w > threshold).any():
            w = np.where(w > threshold, w, 0)
        rows.append(w / w.sum())
    return np.array(rows)


@pytest.mark.parametrize(
    ("shape", "rates"),
    [
        ((8, 8), (1, 1)),
        ((8, 8), (2, 4)),
        ((6, 10), (3, 5)),
        ((6, 10), (6, 10)),
        ((7, 7), (2, 3)),
        ((5, 8), (2, 8)),
        ((11, 7), (4, 4)),
    ],
)
def test_fold_is_the_exact_inverse_of_unfold(shape, rates):
    x = jnp.asarray(normal(0, 2, *shape, 3))
    np.testing.assert_array_equal(fold(unfold(x, rates), rates, shape), x)


@pytest.mark.parametrize("rates", [(1, 1), (2, 5), (3, 2), (6, 10)])
def test_blocks_are_those_of_a_slow_loop(rates):
    x = normal(0, 2, 6, 10, 3)
    np.testing.assert_array_equal(unfold(jnp.asarray(x), rates), loop_unfold(x, rates))


def test_a_side_that_is_not_divided_is_continued_by_reflection():
    x = normal(0, 1, 7, 5, 2)
    padded = np.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)), mode="reflect")
    blocks = unfold(jnp.asarray(x), (2, 3))
    np.testing.assert_array_equal(blocks, loop_unfold(padded, (2, 3)))


@pytest.mark.parametrize(
    ("rates", "message"),
    [((0, 1), "0 blocks"), ((1, 9), "padding alone; .* are 1, 2, 4, 8"), ((5, 1), "8 cells")],
)
def test_divisions_that_cannot_work_are_refused(rates, message):
    with pytest.raises(ValueError, match=message):
        unfold(jnp.zeros((1, 8, 8, 1)), rates)


@THRESHOLDS
def test_memae_memory_weights_output_and_entropy_equal_the_reference(golden, threshold):
    stored = golden("memae_memory")
    x = inputs(stored.info)
    weights = addressing(
        jnp.asarray(x["query_small"]), jnp.asarray(x["memory_small"]), "dot", 1.0, threshold
    )
    for name, array in (("weights", weights), ("output", weights @ x["memory_small"])):
        name = f"{name}_small_{threshold}"
        assert stored.error(name, np.asarray(array)) < stored.tolerance(name)
    name = f"entropy_small_{threshold}"
    assert stored.scalar_error(name, entropy(weights)) < stored.scalar_tolerance(name)


def test_memae_memory_of_2000_items_equals_the_reference(golden):
    stored = golden("memae_memory")
    x = inputs(stored.info)
    weights = addressing(
        jnp.asarray(x["query_large"]), jnp.asarray(x["memory_large"]), "dot", 1.0, 0.0025
    )
    for name, array in (("weights", weights), ("output", weights @ x["memory_large"])):
        name = f"{name}_large_0.0025"
        assert stored.error(name, np.asarray(array)) < stored.tolerance(name)
    name = "entropy_large_0.0025"
    assert stored.scalar_error(name, entropy(weights)) < stored.scalar_tolerance(name)


def test_memae_memory_gradients_equal_the_reference(golden):
    stored = golden("memae_memory")
    x = inputs(stored.info)

    def loss(query, items):
        weights = addressing(query, items, "dot", 1.0, 0.05)
        error = jnp.mean(jnp.square(weights @ items - x["target_small"]))
        return error + stored.info["settings"]["entropy_weight"] * entropy(weights)

    arguments = jnp.asarray(x["query_small"]), jnp.asarray(x["memory_small"])
    value, (query, items) = jax.value_and_grad(loss, (0, 1))(*arguments)
    assert stored.scalar_error("loss", value) < stored.scalar_tolerance("loss")
    assert stored.error("grad_query", np.asarray(query)) < stored.tolerance("grad_query")
    assert stored.error("grad_memory", np.asarray(items)) < stored.tolerance("grad_memory")


def test_memae_memory_of_single_cells_is_the_module_with_a_block_for_each(golden):
    stored = golden("memae_memory")
    x = inputs(stored.info)
    module = Memory(30, (5, 6), "dot")
    params = {"params": {"items": jnp.asarray(x["memory_map"])}}
    y, weights = module.apply(params, jnp.asarray(nhwc(x["map4"])), 1.0, 0.03)
    assert stored.error("map4_output", nchw(np.asarray(y))) < stored.tolerance("map4_output")
    cells = np.moveaxis(np.asarray(weights).reshape(2, 5, 6, 30), -1, 1)
    assert stored.error("map4_weights", cells) < stored.tolerance("map4_weights")
    name = "map4_entropy"
    assert stored.scalar_error(name, entropy(weights)) < stored.scalar_tolerance(name)


def test_memae_memory_of_a_volume_equals_the_reference(golden):
    stored = golden("memae_memory")
    x = inputs(stored.info)
    queries, items = np.moveaxis(x["map5"], 1, -1), x["memory_map"]
    weights = addressing(jnp.asarray(queries), jnp.asarray(items), "dot", 1.0, 0.03)
    for name, array in (("map5_weights", weights), ("map5_output", weights @ items)):
        found = np.moveaxis(np.asarray(array), -1, 1)
        assert stored.error(name, found) < stored.tolerance(name)
    name = "map5_entropy"
    assert stored.scalar_error(name, entropy(weights)) < stored.scalar_tolerance(name)


def test_memae_memory_shrinkage_equals_the_reference_after_division(golden):
    stored = golden("memae_memory")
    shrink = stored.arrays["shrink"]
    found = shrunk(jnp.asarray(inputs(stored.info)["shrink"]), 0.0025)
    np.testing.assert_allclose(found, shrink / shrink.sum(), rtol=1e-5, atol=1e-9)


def test_memae_memory_rows_that_the_reference_leaves_empty_stay_as_they_are(golden):
    stored = golden("memae_memory")
    x = inputs(stored.info)
    np.testing.assert_array_equal(stored.arrays["empty_weights"][:-1], 0)
    queries, items = jnp.asarray(x["query_even"]), jnp.asarray(x["memory_large"])
    even = addressing(queries, items, "dot", 1.0, 0.0)
    np.testing.assert_allclose(addressing(queries, items, "dot", 1.0, 0.0025), even, rtol=1e-5)
    np.testing.assert_allclose(even.sum(-1), 1, rtol=1e-5)
    gradient = jax.grad(
        lambda q, m: jnp.square(addressing(q, m, "dot", 1.0, 0.0025) @ m).sum(), (0, 1)
    )
    for part in gradient(queries, items):
        assert np.isfinite(part).all()
        assert (part != 0).any()


@pytest.mark.parametrize("similarity", ["dot", "scaled_dot", "cosine"])
@pytest.mark.parametrize(("temperature", "threshold"), [(1.0, 0.0), (0.2, 0.0), (0.3, 0.15)])
def test_addressing_equals_a_slow_loop(similarity, temperature, threshold):
    queries, keys = normal(0, 9, 6), normal(1, 7, 6)
    found = addressing(jnp.asarray(queries), jnp.asarray(keys), similarity, temperature, threshold)
    expected = loop_addressing(queries, keys, similarity, temperature, threshold)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.sum(-1), 1, rtol=1e-5)


def test_cosine_similarity_of_an_empty_block_is_even_with_finite_gradients():
    weights = lambda q: addressing(q, jnp.asarray(normal(1, 4, 6)), "cosine", 0.1)
    np.testing.assert_allclose(weights(jnp.zeros((1, 6))), 0.25, rtol=1e-6)
    assert np.isfinite(jax.jacobian(weights)(jnp.zeros((1, 6)))).all()


def test_one_item_gives_the_same_output_for_any_input():
    module = Memory(1, (2, 2))
    params = jax.jit(module.init)(jax.random.key(0), jnp.zeros((1, 4, 4, 2)))
    one, _ = module.apply(params, jnp.asarray(normal(0, 1, 4, 4, 2)))
    other, _ = module.apply(params, jnp.asarray(normal(1, 1, 4, 4, 2)) * 10)
    np.testing.assert_array_equal(one, other)
    block = params["params"]["items"].reshape(2, 2, 2)
    np.testing.assert_allclose(one[0], np.tile(block, (2, 2, 1)), rtol=1e-6)


def test_a_rate_of_1_mixes_templates_of_the_whole_map():
    module = Memory(5, (1, 1), "scaled_dot")
    x = jnp.asarray(normal(0, 2, 4, 6, 3))
    params = jax.jit(module.init)(jax.random.key(0), x)
    y, weights = module.apply(params, x)
    assert weights.shape == (2, 1, 5)
    templates = params["params"]["items"].reshape(5, 4, 6, 3)
    np.testing.assert_allclose(y, np.einsum("bn,nhwc->bhwc", weights[:, 0], templates), atol=1e-6)


def test_a_rate_of_the_side_addresses_each_cell_by_itself():
    module = Memory(5, (4, 6))
    x = jnp.asarray(normal(0, 2, 4, 6, 3))
    params = jax.jit(module.init)(jax.random.key(0), x)
    items = params["params"]["items"]
    assert items.shape == (5, 3)
    y, _ = module.apply(params, x, 0.2, 0.1)
    cell, _ = Memory(5, (1, 1)).apply(params, x[1:, 2:3, 3:4], 0.2, 0.1)
    np.testing.assert_allclose(y[1, 2, 3], cell[0, 0, 0], rtol=1e-5)


@pytest.mark.parametrize("threshold", [0.0, 0.2])
def test_a_gradient_reaches_every_item_that_is_used(threshold):
    queries, items = jnp.asarray(normal(0, 6, 4)), jnp.asarray(normal(1, 12, 4))

    def read(items):
        weights = addressing(queries, items, "cosine", 0.1, threshold)
        return jnp.square(weights @ items).sum(), weights

    gradient, weights = jax.grad(read, has_aux=True)(items)
    used = np.asarray(weights).max(0) > 1e-4
    assert used.any()
    assert (np.abs(gradient).max(-1)[used] > 0).all()


def test_projected_keys_choose_and_the_items_are_what_is_read():
    module = Memory(5, (2, 2), "scaled_dot", key_channels=3)
    x = jnp.asarray(normal(0, 2, 4, 4, 2))
    params = jax.jit(module.init)(jax.random.key(0), x)["params"]
    assert {name: jax.tree.leaves(p)[0].shape for name, p in params.items()} == {
        "items": (5, 8), "keys": (5, 3), "query": (8, 3)
    }  # fmt: skip
    y, weights = module.apply({"params": params}, x)
    queries = loop_unfold(np.asarray(x), (2, 2)) @ params["query"]["kernel"]
    expected = loop_addressing(queries[1], params["keys"], "scaled_dot", 1.0, 0.0)
    np.testing.assert_allclose(weights[1], expected, rtol=1e-4)
    blocks = jnp.asarray(weights @ params["items"])
    np.testing.assert_allclose(y, fold(blocks, (2, 2), (4, 4)), rtol=1e-5)


def test_items_are_drawn_as_the_reference_draws_a_memory():
    items = Memory(500, (4, 4)).init(jax.random.key(0), jnp.zeros((1, 8, 8, 4)))["params"]["items"]
    assert items.shape == (500, 16)
    assert float(jnp.abs(items).max()) <= 0.25
    np.testing.assert_allclose(items.std(), 0.25 / np.sqrt(3), rtol=0.02)


def test_no_items_are_refused():
    with pytest.raises(ValueError, match="0 items: expected 1 or more"):
        Memory(0, (1, 1)).init(jax.random.key(0), jnp.zeros((1, 2, 2, 1)))


def test_entropy_is_0_for_one_item_each_and_log_n_for_all_evenly():
    np.testing.assert_allclose(entropy(jnp.eye(4)), 0, atol=1e-6)
    np.testing.assert_allclose(entropy(jnp.full((2, 3, 8), 1 / 8)), np.log(8), rtol=1e-6)


def test_items_in_use_are_those_that_are_largest_somewhere():
    weights = jnp.array([[[0.6, 0.4, 0.0], [0.5, 0.3, 0.2]], [[0.1, 0.2, 0.7], [0.9, 0.1, 0.0]]])
    assert float(items_used(weights)) == 2


def test_rates_without_padding_are_named():
    assert memory.divisors(12) == "1, 2, 3, 4, 6, 12"
