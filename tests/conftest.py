"""What all tests share: run-time shape checks, folders, pictures, trained states."""

import atexit
import functools
import gc
import logging
import os
import pathlib
import pkgutil
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import version

# Most of a test's time is compilation; what is compiled runs for moments. Before jax is imported.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    # The processes of a run have all cores busy as it is.
    " --xla_cpu_parallel_codegen_split_count=1"
    # Later versions do not know it, and stop.
    + (" --xla_cpu_use_fusion_emitters=false" if version("jaxlib").startswith("0.10.") else ""),
)
# All processes of a run share what they compiled; the first one makes the folder and removes it.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="jaxad-tests-")
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

import jax
import numpy as np
import pytest
from jaxtyping import install_import_hook

HERE = pathlib.Path(__file__).parent
MAPS = 40_000  # of memory, held by compiled programs, before they are dropped
GOLDEN = pathlib.Path(os.environ.get("JAXAD_GOLDEN") or HERE / "golden")
# scripts.py, tiny_settings.py; weights.py, weights_b.py; experiments import one another.
sys.path[:0] = [str(HERE), str(HERE / "golden"), str(HERE.parent / "experiments")]
sys.path += [str(HERE.parent / "docs" / "tables"), str(HERE / "gpu"), str(HERE / "report")]


def checked(package: str, but: str) -> Iterator[str]:
    """The modules and packages in a package, but for one."""
    for found in pkgutil.iter_modules([HERE.parent.joinpath(*package.split("."))]):
        name = f"{package}.{found.name}"
        if but.startswith(f"{name}."):
            yield from checked(name, but)
        elif name != but:
            yield name


# Before any module of jaxad is imported: shapes and types of every public call are then checked.
# Thousands of small calls draw a picture, which checks make ten times slower: those of
# `data/test_types_of_rendering.py` have to do.
install_import_hook(list(checked("jaxad", but="jaxad.data.rendering")), "beartype.beartype")

jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_collection_finish(session):
    """Modules, a million objects, are left alone by the collector, or it takes 6% of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


def pytest_runtest_teardown(item, nextitem):
    """Lets go of log lines' places, closed from here on, and of compiled programs now and then.

    Each program maps memory, and XLA crashes at the kernel's limit of 65530 maps in a process.
    """
    for handler in logging.root.handlers[:]:
        if type(handler) is logging.StreamHandler:  # of a command, not of pytest
            logging.root.removeHandler(handler)
    maps = pathlib.Path("/proc/self/maps")
    item.session.torn_down = getattr(item.session, "torn_down", 0) + 1
    looks = item.session.torn_down % 10 == 0 and maps.exists()  # looking takes milliseconds
    if looks and maps.read_text().count("\n") > MAPS:
        jax.clear_caches()
        gc.collect()


@pytest.fixture(scope="session")
def golden():
    """Loads a stored reference by name."""
    from weights import load

    return lambda name: load(name, GOLDEN)


@pytest.fixture
def key():
    return jax.random.key(0)


@pytest.fixture(scope="session")
def shared() -> pathlib.Path:
    """The folder with real images; tests that need it carry the mark `data`."""
    folder = pathlib.Path(os.environ.get("JAXAD_SHARED") or HERE.parent.parent / "shared")
    if not (folder / "data").is_dir():
        pytest.skip(f"no real images: {folder / 'data'} is not there (set JAXAD_SHARED)")
    return folder


class Pictures:
    """A source in memory."""

    has_regions = False

    def __init__(self, images, masks=None):
        from jaxad.data.source import Record

        self.images = images
        self.has_masks = masks is not None
        self.masks = np.zeros(images.shape[:3], np.uint8) if masks is None else masks
        self.records = tuple(
            Record(f"{i:03d}", "tiny", "painted" if mask.any() else "good")
            for i, mask in enumerate(self.masks)
        )

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        mask = self.masks[index]
        image, label = self.images[index], int(mask.any())
        return {"image": image, "mask": mask, "label": label, "index": index}

    def __repr__(self):
        return f"Pictures({self.images.shape})"

    def regions(self, index):
        raise NotImplementedError


def stripes(count: int, size: int, seed: int) -> np.ndarray:
    """Pictures of diagonal stripes that differ in phase and noise: easy to learn."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    phase = rng.uniform(0, 0.6, (count, 1, 1))
    wave = 0.5 + 0.3 * np.sin((x + y) * 2 * np.pi / 16 + phase)
    pictures = wave[..., None] * np.array([0.9, 0.7, 0.5]) + rng.normal(
        0, 0.02, (count, size, size, 3)
    )
    return np.uint8(np.clip(pictures, 0, 1) * 255)


def tiny_data(size: int):
    """Striped pictures, and the same with a painted square."""
    from jaxad.data.source import Data

    test = stripes(6, size, 3)
    masks = np.zeros((6, size, size), np.uint8)
    corner, side = size // 3, size // 4
    masks[3:, corner : corner + side, corner : corner + side] = 1
    test[masks == 1] = (20, 120, 200)
    noise = np.random.default_rng(4).integers(0, 256, (5, size // 8, size // 8, 3), np.uint8)
    aux = Pictures(noise.repeat(8, 1).repeat(8, 2))
    return Data(
        Pictures(stripes(6, size, 1)), Pictures(stripes(4, size, 2)), Pictures(test, masks),
        {"aux": aux},
    )  # fmt: skip


@pytest.fixture(scope="session")
def striped():
    """size -> striped pictures as `Data`."""
    return tiny_data


@pytest.fixture(scope="session")
def tiny():
    """name -> (detector, cfg, pretrained, data, untouched)."""
    from tiny_settings import TINY

    from jaxad.methods import DETECTORS

    @functools.cache
    def get(name):
        row = TINY[name]()
        pretrained = row.pretrained(jax.random.key(7))
        return DETECTORS[name], row.cfg, pretrained, tiny_data(row.cfg.size), row.untouched

    return get


@pytest.fixture(scope="session")
def finished(tiny, tmp_path_factory):
    """name -> (state after the tiny settings' training, its run folder with two checkpoints)."""
    from jaxad import training

    @functools.cache
    def get(name):
        detector, cfg, pretrained, data, _ = tiny(name)
        folder = tmp_path_factory.mktemp(name)
        key, third = jax.random.key(0), max(cfg.steps // 3, 1)
        state = training.run(detector, cfg, pretrained, data, key, folder, save_every=third)
        return state, folder

    return get


@pytest.fixture(scope="session")
def trained(finished):
    """name -> the state after the tiny settings' training."""
    return lambda name: finished(name)[0]


@pytest.fixture(scope="session")
def carded(tiny, finished):
    """name -> (detector, cfg, pretrained, state, card, folder): a run with its card."""
    from jaxad.decision import card as cards
    from jaxad.decision import normals

    @functools.cache
    def get(name):
        detector, cfg, pretrained, data, _ = tiny(name)
        state, folder = finished(name)
        card = normals.of_run(detector, cfg, pretrained, state, data, jax.random.key(0), needed=99)
        cards.write(folder / cards.FILE, card)
        return detector, cfg, pretrained, state, card, folder

    return get
