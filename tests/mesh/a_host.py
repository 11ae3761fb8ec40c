"""One of several hosts: computes with the others, and keeps what it has. For `test_many_hosts`.

Words: FOLDER, the names of what is computed, and of more hosts than one ADDRESS:PORT, how many
there are, and which this is.
"""

import pathlib
import pickle
import sys

import conftest
import jax
import jax.numpy as jnp
import numpy as np
from tiny_settings import TINY

from jaxad import compile, mesh, sweep, training
from jaxad.detector import replace
from jaxad.evaluation.evaluate import evaluate
from jaxad.mesh import hosts
from jaxad.methods import DETECTORS
from jaxad.training import fitting


def start(name, **settings):
    row = TINY[name]()
    data = conftest.tiny_data(row.cfg.size)
    return DETECTORS[name], replace(row.cfg, **settings), row.pretrained(jax.random.key(7)), data


def kept(state):
    return jax.tree.map(np.asarray, jax.tree.leaves(mesh.fetched((state.params, state.stats))))


def fit(folder, key):
    """Measured, trained with a stream beside the pictures, calibrated, evaluated."""
    detector, cfg, pretrained, data = start("efficientad", batch_size=8, steps=3)
    state = training.fit(detector, cfg, pretrained, data, key)
    measured = evaluate(detector, cfg, pretrained, state, data.test)
    return kept(state), [picture.score for picture in measured.pictures]


def padim(folder, key):
    return kept(training.fit(*start("padim"), key))


def run(folder, key):
    """In a folder of all, interrupted by the end of its steps, and gone on with."""
    detector, cfg, pretrained, data = start("autoencoder", batch_size=4, steps=2)
    training.run(detector, cfg, pretrained, data, key, f"{folder}/run", save_every=1)
    cfg = replace(cfg, steps=4)
    return kept(training.run(detector, cfg, pretrained, data, key, f"{folder}/run", save_every=1))


def cached(folder, key):
    """Frozen features: each host writes a part, all read all."""
    arguments = *start("stfpm", batch_size=4, steps=2), key
    places = f"{folder}/features", f"{folder}/features", "memory"
    return [kept(training.fit(*arguments, cache=place)) for place in places]


def order(folder, key):
    """Of two epochs, without streams: 6 pictures."""
    detector, cfg, _, data = start("autoencoder", batch_size=4, steps=2)
    batches = iter(fitting.train_batches(detector, cfg, data, key))
    found = [next(batches)["index"].tolist() for _ in range(3)]
    batches.close()
    return found


def wide(folder, key):
    """Five steps in float64: the state, and the losses."""
    widened = lambda tree: jax.tree.map(
        lambda x: np.asarray(x, np.float64) / (255 if x.dtype == np.uint8 else 1)
        if x.dtype == np.uint8 or jnp.issubdtype(x.dtype, jnp.floating) else x,
        tree,
    )  # fmt: skip
    with jax.enable_x64(True):
        detector, cfg, pretrained, data = start("uniad", batch_size=8, steps=5)
        batches = iter(fitting.train_batches(detector, cfg, data, key))
        several = [widened(next(batches)) for _ in range(cfg.steps)]
        batches.close()
        state = widened(mesh.fetched(compile.init(detector)(cfg, pretrained, key)))
        state, metrics = compile.steps(detector, cfg, widened(pretrained), state, several, key)
        return kept(state), mesh.fetched(metrics["loss"])


def members(folder, key):
    detector, cfg, pretrained, data = start("autoencoder", batch_size=4, steps=3)
    configs = sweep.grid(cfg, lr=[1e-4, 3e-4, 1e-3])
    keys = jax.random.split(key, 2)
    found = sweep.run(detector, configs, pretrained, data, keys, f"{folder}/sweep")
    return [kept(states) for states in found.states]


PARTS = {part.__name__: part for part in (fit, padim, run, cached, order, wide, members)}

folder, names, *others = sys.argv[1:]
if others:
    hosts.start(others[0], *map(int, others[1:]))
found, key = {}, jax.random.key(0)
for name in names.split(","):
    axis = "member" if name == "members" else "data"
    with mesh.use(f"{axis}:{hosts.count()}" if others else None):
        found[name] = PARTS[name](folder, key)
pathlib.Path(folder, f"host-{hosts.index()}.pickle").write_bytes(pickle.dumps(found))
