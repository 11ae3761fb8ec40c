"""Weight sets: found, checked, loaded, written."""

import hashlib
import json
import os
import pathlib
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxad.nets.patch_network import PatchNetwork
from jaxad.nets.pdn import PDN
from jaxad.weights import packages, store
from jaxad.weights.store import check_tree, load_pretrained, save_pretrained

ABOUT = {"origin": "drawn", "licence": "Apache-2.0", "command": "make --it"}
SHIPPED = pathlib.Path(__file__).parents[2] / "checkpoints"


def draw(seed=0):
    kernel = np.random.default_rng(seed).normal(size=(2, 2, 3, 4)).astype(np.float32)
    return {
        "params": {"conv1": {"conv": {"kernel": kernel, "bias": np.ones(4, np.float32)}}},
        "batch_stats": {"bn1": {"mean": np.zeros(4, np.float32)}},
    }


def bias(name, folder=None):
    return float(load_pretrained((name,), folder)[name]["params"]["bias"])


@pytest.fixture(autouse=True)
def elsewhere(tmp_path_factory, monkeypatch):
    """No weight set of this machine is in reach: neither by folder nor beside the package."""
    place = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(place)
    monkeypatch.delenv("JAXAD_CHECKPOINTS", raising=False)
    monkeypatch.setattr(store, "__file__", str(place / "clone/jaxad/weights/store.py"))
    monkeypatch.setattr(packages, "_folders", dict)
    return place


def test_weights_come_back_as_they_were_saved(tmp_path):
    save_pretrained(tmp_path / "net", draw(), ABOUT, np.float32)
    loaded = load_pretrained(("net",), tmp_path)
    assert list(loaded) == ["net"]
    jax.tree.map(np.testing.assert_array_equal, loaded["net"], draw())


def test_half_precision_is_the_default_and_float32_comes_back(tmp_path):
    save_pretrained(tmp_path / "net", draw(), ABOUT)
    with np.load(tmp_path / "net" / "weights.npz") as arrays:
        assert set(arrays.files) == {
            "params/conv1/conv/kernel",
            "params/conv1/conv/bias",
            "batch_stats/bn1/mean",
        }
        assert {arrays[name].dtype for name in arrays.files} == {np.dtype(np.float16)}
    tree = load_pretrained(("net",), tmp_path)["net"]
    assert {x.dtype for x in jax.tree.leaves(tree)} == {np.dtype(np.float32)}
    kernel = draw()["params"]["conv1"]["conv"]["kernel"]
    rounded = kernel.astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(tree["params"]["conv1"]["conv"]["kernel"], rounded)


def test_parameters_of_jax_are_saved_like_those_of_numpy(tmp_path):
    save_pretrained(tmp_path / "a", draw(), ABOUT)
    save_pretrained(tmp_path / "b", jax.tree.map(jnp.asarray, draw()), ABOUT)
    first, second = (tmp_path / name / "weights.npz" for name in "ab")
    assert first.read_bytes() == second.read_bytes()


def test_about_keeps_what_it_was_given_and_gains_the_checksum(tmp_path):
    save_pretrained(tmp_path / "net", draw(), ABOUT)
    about = json.loads((tmp_path / "net" / "about.json").read_text())
    assert about.pop("sha256")
    assert about == ABOUT


def test_no_names_give_no_weights():
    assert load_pretrained(()) == {}


def test_single_name_needs_no_tuple(tmp_path):
    save_pretrained(tmp_path / "net", draw(), ABOUT)
    assert list(load_pretrained("net", tmp_path)) == ["net"]


def test_places_are_searched_in_order(tmp_path, elsewhere, monkeypatch):
    places = [
        tmp_path / "given",
        tmp_path / "environment",
        elsewhere / "checkpoints",
        elsewhere / "clone" / "checkpoints",
    ]
    for i, place in enumerate(places):
        save_pretrained(place / "net", {"params": {"bias": np.float32(i)}}, ABOUT)
    monkeypatch.setenv("JAXAD_CHECKPOINTS", str(places[1]))

    assert bias("net", places[0]) == 0
    for i, place in enumerate(places[1:], start=1):
        assert bias("net") == i
        shutil.rmtree(place / "net")
    with pytest.raises(FileNotFoundError):
        load_pretrained(("net",))


def test_folder_without_weights_does_not_hide_a_later_one(tmp_path, elsewhere):
    (tmp_path / "net").mkdir()
    save_pretrained(elsewhere / "checkpoints" / "net", draw(), ABOUT)
    load_pretrained(("net",), tmp_path)


@pytest.mark.parametrize("form", ["{}", "./{}", "~/{}"])
def test_path_of_a_weight_set_is_a_name(elsewhere, monkeypatch, form):
    monkeypatch.setenv("HOME", str(elsewhere))
    save_pretrained(elsewhere / "runs" / "teacher", draw(), ABOUT)
    name = form.format("runs/teacher")
    assert list(load_pretrained((name,))) == [name]


def test_absolute_path_is_a_name(tmp_path):
    save_pretrained(tmp_path / "a b ü", draw(), ABOUT)
    assert load_pretrained((str(tmp_path / "a b ü"),))


def test_unknown_name_lists_places_and_what_is_there_and_what_to_do(tmp_path):
    save_pretrained(tmp_path / "pdn_small", draw(), ABOUT)
    save_pretrained(tmp_path / "vgg", draw(), ABOUT)
    with pytest.raises(FileNotFoundError) as error:
        load_pretrained(("pdn_smal",), tmp_path)
    message = str(error.value)
    for part in ("'pdn_smal'", "did you mean 'pdn_small'", "pdn_small, vgg", str(tmp_path)):
        assert part in message
    assert "jaxad weights convert FILE pdn_smal" in message


@pytest.mark.parametrize(
    ("name", "file"),
    [("efficientnet_b4", "efficientnet-b4-6ed6700e.pth"), ("resnet18", "resnet18-f37072fd.pth")],
)
def test_missing_weights_of_a_published_network_name_its_file_and_where_it_is_from(
    tmp_path, name, file
):
    with pytest.raises(FileNotFoundError, match=f"convert {file} {name}.* from https://github"):
        load_pretrained((name,), tmp_path)


def test_missing_weights_of_this_project_name_their_repository_and_terms(tmp_path):
    with pytest.raises(FileNotFoundError, match="jaxad's repository, for research"):
        load_pretrained(("pdn_small",), tmp_path)


def test_available_sets_are_those_that_are_found_by_name(tmp_path, elsewhere, monkeypatch):
    monkeypatch.setenv("JAXAD_CHECKPOINTS", str(tmp_path))
    for place in (tmp_path, elsewhere / "checkpoints"):
        save_pretrained(place / "net", draw(), {"licence": f"of {place.name}"})
    save_pretrained(elsewhere / "checkpoints" / "other", draw(), {})
    found = store.available()
    assert found["net"] == tmp_path / "net" / "weights.npz"
    assert set(found) == {"net", "other"}
    assert store.terms("net") == f"of {tmp_path.name}"
    assert "unknown" in store.terms("other")


def test_no_weights_anywhere_says_so():
    with pytest.raises(FileNotFoundError, match="there are: none"):
        load_pretrained(("net",))


def test_missing_path_is_named():
    with pytest.raises(FileNotFoundError, match=r"runs/net/weights\.npz is missing"):
        load_pretrained(("runs/net",))


def test_missing_folder_is_named(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"no folder of weights .*nowhere"):
        load_pretrained(("net",), tmp_path / "nowhere")
    monkeypatch.setenv("JAXAD_CHECKPOINTS", str(tmp_path / "gone"))
    with pytest.raises(FileNotFoundError, match=r"no folder of weights .*gone"):
        load_pretrained(("net",))


def test_changed_weights_fail_their_checksum(tmp_path):
    save_pretrained(tmp_path / "net", draw(), ABOUT)
    path = tmp_path / "net" / "weights.npz"
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"weights\.npz is damaged.*sha256.*make --it"):
        load_pretrained(("net",), tmp_path)


def test_weights_without_about_are_refused(tmp_path):
    save_pretrained(tmp_path / "net", draw(), ABOUT)
    (tmp_path / "net" / "about.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"about\.json is missing"):
        load_pretrained(("net",), tmp_path)


@pytest.mark.parametrize("text", ["", "{}", "[]", "{"])
def test_about_without_a_checksum_is_refused(tmp_path, text):
    save_pretrained(tmp_path / "net", draw(), ABOUT)
    (tmp_path / "net" / "about.json").write_text(text)
    with pytest.raises(ValueError, match=r"about\.json is not JSON with a 'sha256'"):
        load_pretrained(("net",), tmp_path)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.array([1, np.nan], np.float16), "NaN or infinity"),
        (np.array([np.inf], np.float32), "NaN or infinity"),
        (np.array([1, 2]), "int64, expected floats"),
    ],
)
def test_leaf_that_is_no_finite_float_is_named(tmp_path, value, message):
    np.savez(tmp_path / "weights.npz", **{"params/a": np.ones(2, np.float16), "params/b": value})
    checksum = hashlib.sha256((tmp_path / "weights.npz").read_bytes()).hexdigest()
    (tmp_path / "about.json").write_text(json.dumps({"sha256": checksum}))
    with pytest.raises(ValueError, match=rf"weights\.npz: params/b holds {message}"):
        load_pretrained((str(tmp_path),))


def test_nan_is_not_saved(tmp_path):
    tree = {"params": {"bias": np.array([1, np.nan], np.float32)}}
    with pytest.raises(ValueError, match="params/bias holds NaN or infinity"):
        save_pretrained(tmp_path / "net", tree, ABOUT)
    assert not (tmp_path / "net").exists()


def test_whole_numbers_are_refused(tmp_path):
    with pytest.raises(ValueError, match="params/count holds int32, expected floats"):
        save_pretrained(tmp_path / "net", {"params": {"count": np.zeros(2, np.int32)}}, ABOUT)


def test_number_too_large_for_float16_is_not_saved_as_infinity(tmp_path):
    tree = {"params": {"bias": np.array([1, -7e4], np.float32)}}
    with pytest.raises(ValueError, match="params/bias reaches 70000, too large for float16"):
        save_pretrained(tmp_path / "net", tree, ABOUT)
    save_pretrained(tmp_path / "net", tree, ABOUT, np.float32)


def test_interrupted_save_leaves_the_old_weights(tmp_path, monkeypatch):
    save_pretrained(tmp_path / "net", draw(0), ABOUT)

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(json, "dumps", interrupt)
        with pytest.raises(KeyboardInterrupt):
            save_pretrained(tmp_path / "net", draw(1), ABOUT)
    assert sorted(os.listdir(tmp_path / "net")) == ["about.json", "weights.npz"]
    save_pretrained(tmp_path / "again", draw(0), ABOUT)
    loaded = load_pretrained(("net", "again"), tmp_path)
    jax.tree.map(np.testing.assert_array_equal, loaded["net"], loaded["again"])


def test_saving_again_replaces_and_leaves_other_files(tmp_path):
    save_pretrained(tmp_path / "net", draw(0), ABOUT)
    (tmp_path / "net" / "README.md").write_text("mine")
    save_pretrained(tmp_path / "net", draw(1), ABOUT, np.float32)
    loaded = load_pretrained(("net",), tmp_path)["net"]
    jax.tree.map(np.testing.assert_array_equal, loaded, draw(1))
    assert (tmp_path / "net" / "README.md").read_text() == "mine"


def test_fitting_tree_passes_the_check(key):
    network = PDN(channels=4, width=2)
    image = jnp.zeros((1, 40, 40, 3))
    check_tree(network.init(key, image), jax.eval_shape(network.init, key, image), "net")


def narrower(tree):
    tree["params"]["conv1"]["conv"]["kernel"] = np.zeros((2, 2, 3, 3))


def poorer(tree):
    del tree["params"]["conv1"]["conv"]["bias"]


def richer(tree):
    tree["params"]["conv2"] = {"conv": {"bias": np.zeros(1)}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (narrower, r"kernel has shape \(2, 2, 3, 3\), expected \(2, 2, 3, 4\)"),
        (poorer, "params/conv1/conv/bias is missing"),
        (richer, "params/conv2/conv/bias is unknown to it"),
    ],
)
def test_first_leaf_that_differs_is_named(change, message):
    tree = draw()
    change(tree)
    with pytest.raises(ValueError, match=rf"wrong file .* 'net', .*{message}"):
        check_tree(tree, draw(), "net")


@pytest.mark.parametrize(
    ("name", "network", "side"),
    [
        ("pdn_free", PDN(), 64),
        ("pdn_small", PDN(), 64),
        ("patch_17", PatchNetwork(17), 17),
        ("patch_33", PatchNetwork(33), 33),
        ("patch_65", PatchNetwork(65), 65),
    ],
)
def test_shipped_weights_fit_their_network_and_have_their_papers(name, network, side):
    tree = load_pretrained((name,), SHIPPED)[name]
    image = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    check_tree(tree, jax.eval_shape(network.init, jax.random.key(0), image), name)
    about = json.loads((SHIPPED / name / "about.json").read_text())
    assert {"origin", "licence", "command"} <= about.keys()
    for readme in (SHIPPED / "README.md", SHIPPED / name / "README.md"):
        text = readme.read_text()
        assert about["sha256"] in text, f"{readme} has another checksum"
        assert "TODO" not in text
