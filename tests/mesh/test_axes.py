"""What a mesh is said to be, and where arrays lie on it; one device is enough for that."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from jaxad import mesh
from jaxad.cli.main import main
from jaxad.mesh import axes, placement
from jaxad.ops import pairs


def test_a_text_names_axes_and_sizes():
    assert mesh.parse("data:8") == {"data": 8}
    assert mesh.parse("member:4, data:2") == {"member": 4, "data": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("8", "expected such as data:8"),
        ("data:0", "expected such as data:8"),
        ("data:8,", "expected such as data:8"),
        ("batch:8", "no axis 'batch'; axes are member, data, model"),
        ("data:2,data:4", "comes twice"),
    ],
)
def test_a_text_that_names_none_is_an_error(text, message):
    with pytest.raises(ValueError, match=message):
        mesh.parse(text)


def test_a_mesh_larger_than_the_devices_is_an_error_that_says_what_there_is():
    count = jax.device_count()
    with pytest.raises(ValueError, match=rf"wants {2 * count} devices.*largest would be data:"):
        mesh.make(f"data:{2 * count}")


@pytest.mark.parametrize(
    ("batch", "parts", "message"),
    [
        (6, 4, "give --batch-size 4 or 8, or --mesh data:3"),
        (2, 4, "give --batch-size 4, or --mesh data:2"),
        (1, 8, "give --batch-size 8, or --mesh data:1"),
    ],
)
def test_a_batch_that_does_not_divide_is_told_what_would(batch, parts, message):
    with pytest.raises(ValueError, match=message):
        axes.check_divides(batch, parts)


def test_on_one_device_nothing_is_split():
    assert mesh.current() is None
    assert (mesh.size("data"), mesh.parts(), mesh.divisible(5)) == (1, 1, 5)
    assert mesh.rows(3).tolist() == [0, 1, 2]
    tree = {"x": np.ones(2)}
    assert mesh.placed(tree) is tree
    assert mesh.batch(tree) is tree
    with pytest.raises(ValueError, match="no mesh is in use"):
        mesh.shardings(tree)
    if jax.device_count() == 1:
        assert mesh.chosen(None, 3) is None
        assert mesh.chosen("data:1", 3) is None


def test_a_mesh_is_used_within_use_alone():
    with mesh.use("data:1") as made:
        assert mesh.current() is made
        with mesh.use(None):
            assert mesh.current() is None
        assert mesh.current() is made
    assert mesh.current() is None


@pytest.mark.parametrize(
    ("shape", "axes", "expected"),
    [
        ((3, 3, 512, 512), {"data": 4, "model": 2}, P(None, None, None, "model")),
        ((512, 1024, 3), {"data": 4, "model": 2}, P(None, "model")),
        ((3, 3, 8, 8), {"data": 4, "model": 2}, P()),  # too small
        ((3, 3, 512, 512), {"data": 8}, P()),
        ((4096, 8192), {"data": 8}, P(None, "data")),
        ((4096, 8192), {"data": 8, "model": 1}, P(None, "data")),
        ((5, 524288 + 1), {"model": 2}, P()),  # nothing divides
    ],
)
def test_rules_split_large_parameters(shape, axes, expected):
    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    assert mesh.by_rules(x, mesh.RULES, axes) == expected


def test_rules_hold_for_what_is_learned_alone():
    from jaxad.detector import State

    big = jax.ShapeDtypeStruct((1024, 1024), jnp.float32)
    state = State(jnp.int32(0), {"w": big}, {"bank": big}, ({"m": big},))
    leaves, _ = jax.tree_util.tree_flatten_with_path(state)
    named = [any(getattr(k, "name", "") in placement.LEARNED for k in path) for path, _ in leaves]
    assert named == [False, True, False, True]


def test_pairs_come_apart_as_they_were_joined():
    one, other = jnp.arange(6.0).reshape(3, 2), -jnp.arange(6.0).reshape(3, 2)
    both = pairs.joined(one, other)
    assert both.shape == (6, 2)
    np.testing.assert_array_equal(both[::2], one)
    for found, expected in zip(pairs.apart(both), (one, other), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--mesh", "data:64"], "wants 64 devices"),
        (["--mesh", "rows:2"], "no axis 'rows'"),
        (["--hosts", "2"], "belong to --distributed"),
        (["--distributed", "elsewhere"], "expected auto, slurm, mpi, gke, tpu, or ADDRESS:PORT"),
        (["--distributed", "localhost:1"], "give --hosts"),
    ],
)
def test_a_command_that_asks_for_other_devices_is_told(words, message, tmp_path, capfd):
    assert main(["train", "autoencoder", "workpieces/plate", str(tmp_path / "run"), *words]) == 2
    assert message in capfd.readouterr().err
