"""One of several hosts: computes with the others, and keeps what it has. For `test_many_hosts`.

Words: FOLDER, and of more hosts than one ADDRESS:PORT, how many there are, and which this is.
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

folder, *others = sys.argv[1:]
if others:
    hosts.start(others[0], *map(int, others[1:]))
count, index = hosts.count(), hosts.index()
key = jax.random.key(0)
found = {}


def start(name, **settings):
    row = TINY[name]()
    data = conftest.tiny_data(row.cfg.size)
    return DETECTORS[name], replace(row.cfg, **settings), row.pretrained(jax.random.key(7)), data


def kept(state):
    return jax.tree.map(np.asarray, jax.tree.leaves(mesh.fetched((state.params, state.stats))))


with mesh.use(f"data:{count}" if count > 1 else None):
    # Measured, trained with a stream beside the pictures, calibrated, evaluated.
    detector, cfg, pretrained, data = start("efficientad", batch_size=8, steps=3)
    state = training.fit(detector, cfg, pretrained, data, key)
    found["fit"] = kept(state)
    measured = evaluate(detector, cfg, pretrained, state, data.test)
    found["scores"] = [picture.score for picture in measured.pictures]

    detector, cfg, pretrained, data = start("padim")
    found["padim"] = kept(training.fit(detector, cfg, pretrained, data, key))

    # In a folder of all, interrupted by the end of its steps, and gone on with.
    detector, cfg, pretrained, data = start("autoencoder", batch_size=4, steps=2)
    training.run(detector, cfg, pretrained, data, key, f"{folder}/run", save_every=1)
    state = training.run(
        detector, replace(cfg, steps=4), pretrained, data, key, f"{folder}/run", save_every=1
    )
    found["run"] = kept(state)

    # Frozen features: each host writes a part, all read all.
    detector, cfg, pretrained, data = start("stfpm", batch_size=4, steps=2)
    for place in (f"{folder}/features", f"{folder}/features", "memory"):
        state = training.fit(detector, cfg, pretrained, data, key, cache=place)
        found.setdefault("cached", []).append(kept(state))

    # The order of two epochs, without streams: 6 pictures.
    detector, cfg, pretrained, data = start("autoencoder", batch_size=4, steps=2)
    batches = iter(fitting.train_batches(detector, cfg, data, key))
    found["order"] = [next(batches)["index"].tolist() for _ in range(3)]
    batches.close()

    with jax.enable_x64(True):
        wide = lambda tree: jax.tree.map(
            lambda x: np.asarray(x, np.float64) / (255 if x.dtype == np.uint8 else 1)
            if x.dtype == np.uint8 or jnp.issubdtype(x.dtype, jnp.floating) else x,
            tree,
        )  # fmt: skip
        detector, cfg, pretrained, data = start("uniad", batch_size=8, steps=20)
        batches = iter(fitting.train_batches(detector, cfg, data, key))
        several = [wide(next(batches)) for _ in range(20)]
        batches.close()
        state = wide(mesh.fetched(compile.init(detector)(cfg, pretrained, key)))
        state, metrics = compile.steps(detector, cfg, wide(pretrained), state, several, key)
        found["wide"] = kept(state)
        found["losses"] = mesh.fetched(metrics["loss"])

with mesh.use(f"member:{count}" if count > 1 else None):
    detector, cfg, pretrained, data = start("autoencoder", batch_size=4, steps=3)
    configs = sweep.grid(cfg, lr=[1e-4, 3e-4, 1e-3])
    members = sweep.run(
        detector, configs, pretrained, data, jax.random.split(key, 2), f"{folder}/sweep"
    )
    found["sweep"] = [kept(states) for states in members.states]

pathlib.Path(folder, f"host-{index}.pickle").write_bytes(pickle.dumps(found))
