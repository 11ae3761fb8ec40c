"""What all tests share: run-time shape checks, folders, tiny settings of every method."""

import os
import pathlib
import sys

import jax
import pytest
from jaxtyping import install_import_hook

# Before any module of jaxad is imported: shapes and types of every public call are then checked.
install_import_hook("jaxad", "beartype.beartype")

HERE = pathlib.Path(__file__).parent
GOLDEN = pathlib.Path(os.environ.get("JAXAD_GOLDEN") or HERE / "golden")
sys.path.insert(0, str(HERE / "golden"))  # weights.py, weights_b.py

jax.config.update("jax_numpy_rank_promotion", "raise")


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
