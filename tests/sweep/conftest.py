"""What tests of sweeps share: a look at the device whenever a team begins."""

import gc

import jax
import numpy as np
import pytest

from jaxad.sweep import team


@pytest.fixture
def states_on_device(monkeypatch):
    """(detector, cfg, pretrained) -> a list that grows whenever a team begins.

    By how many arrays of the shape of a state's largest parameter live then, whoever holds them.
    """

    def watch(detector, cfg, pretrained):
        state = jax.eval_shape(lambda: detector.init(cfg, pretrained, jax.random.key(0)))
        shape = max((x.shape for x in jax.tree.leaves(state.params)), key=np.prod)
        counts, real = [], team.new_states

        def count(*arguments):
            gc.collect()
            counts.append(sum(x.shape[-len(shape) :] == shape for x in jax.live_arrays()))
            return real(*arguments)

        monkeypatch.setattr(team, "new_states", count)
        return counts

    return watch
