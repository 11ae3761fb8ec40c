"""Steps of a student on a batch that two devices share, for `test_data_parallel.py` to run."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxad.nets.resnet import ResNet

devices = jax.devices()
assert len(devices) == 2, devices
network = ResNet((1,))
keys = jax.random.split(jax.random.key(0))
# The halves differ in brightness: statistics of one half would be far from those of the batch.
images = (
    jax.random.uniform(keys[0], (4, 16, 16, 3)) * jnp.array([0.2, 0.2, 1, 1])[:, None, None, None]
)
variables = jax.jit(network.init)(keys[1], images)


@jax.jit
def step(params, stats, images):
    def loss(params):
        variables = {"params": params, "batch_stats": stats}
        maps, moved = network.apply(variables, images, True, mutable=["batch_stats"])
        return jnp.square(maps["layer1"]).mean(), moved["batch_stats"]

    (value, moved), grads = jax.value_and_grad(loss, has_aux=True)(params)
    return value, moved, grads


mesh = Mesh(np.array(devices), ("data",))
everywhere, split = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in ((), ("data",)))
params, stats = variables["params"], variables["batch_stats"]
alone = step(params, stats, images)
shared = jax.device_put(images, split)
assert {len(shard.data) for shard in shared.addressable_shards} == {2}
together = step(*jax.device_put((params, stats), everywhere), shared)
half = step(params, stats, images[:2])
names = ("loss", "statistics", "gradients")
arrays = {
    f"{way}/{name}/{jax.tree_util.keystr(path)}": np.asarray(leaf)
    for way, found in (("alone", alone), ("together", together), ("half", half))
    for name, tree in zip(names, found, strict=True)
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
}
np.savez(sys.argv[1], **arrays)
