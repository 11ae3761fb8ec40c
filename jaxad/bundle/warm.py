"""What a machine compiled for a bundle, beside it: a quick start on machines like it.

Compiled programs are code that is run: whoever reads them has to trust who wrote them, so they are
read only where somebody says so. They have no checksum in the manifest, and serve the same kind of
device, versions of JAX and options alone; elsewhere the bundle compiles as if there were none.
"""

import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Sequence

import jax

from jaxad import compile
from jaxad.decision.predictor import Predictor

FOLDER = "cache"


def warmed(place: pathlib.Path, sizes: Sequence[int], device: str) -> None:
    """Adds the compiled programs of a bundle.

    Args:
      place: of the bundle.
      sizes: of the batches that they are for.
      device: the kind to compile for, as JAX calls it.

    Raises:
      ValueError: the bundle cannot be loaded in a process of its own.
    """
    everything = {
        "JAX_PLATFORMS": {"gpu": "cuda"}.get(device, device),
        "JAX_COMPILATION_CACHE_DIR": str(place / FOLDER),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    (place / FOLDER).mkdir()
    # In a process of its own: where compiled programs are kept is settled once in a process.
    words = [sys.executable, "-m", __name__, str(place), *map(str, sizes)]
    ended = subprocess.run(words, env=os.environ | everything, capture_output=True, text=True)
    if ended.returncode:
        shutil.rmtree(place / FOLDER)
        last = (ended.stderr.strip().splitlines() or ["it said nothing"])[-1][-500:]
        raise ValueError(f"{place} is there, but nothing was compiled for it (--cache): {last}")


def trusted(folder: pathlib.Path) -> None:
    """Lets this process run what lies compiled beside a bundle; before anything is compiled.

    Raises:
      FileNotFoundError: nothing does.
    """
    if not (folder / FOLDER).is_dir() or not any((folder / FOLDER).iterdir()):
        raise FileNotFoundError(
            f"{folder / FOLDER}: no compiled programs lie beside the bundle; `jaxad export` adds "
            "them with --cache, or leave out --trust-cache"
        )
    compile.enable_cache(folder / FOLDER)
    # It is read, and stays as it is.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", float(2**31))


if __name__ == "__main__":
    for size in sys.argv[2:]:
        Predictor.load(sys.argv[1], batch_size=int(size))
