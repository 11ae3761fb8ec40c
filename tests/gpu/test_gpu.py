"""An accelerator computes what a CPU does, one program after the other or many steps in one.

Without an accelerator these tests fail, unless JAXAD_GPU_DRY_RUN=1 says that a CPU is to be taken
for one: then they test themselves.
"""

import dataclasses
import os

import gpu_reference
import jax
import jax.numpy as jnp
import pytest

from jaxad import compile
from jaxad.detector import takes_no_steps
from jaxad.methods import DETECTORS

pytestmark = pytest.mark.gpu

every_detector = pytest.mark.parametrize("name", list(DETECTORS))
STEPPING = [name for name, x in DETECTORS.items() if x.train_step is not takes_no_steps]
FACTORS = (1.0, 0.5, 2.0)  # of the learning rate, one for each member


@pytest.fixture(autouse=True)
def accelerator():
    if jax.default_backend() == "cpu" and os.environ.get("JAXAD_GPU_DRY_RUN") != "1":
        pytest.fail(
            "jax sees no accelerator, only a CPU; JAXAD_GPU_DRY_RUN=1 runs these tests on it"
        )


def copy(state):
    """For a program that its argument is donated to."""
    return jax.tree.map(jnp.copy, state)


def check_same(one, other, start, too_far):
    """States after three steps of the same batches, and their terms, agree but for rounding."""
    (state, terms), (expected, expected_terms) = one, other
    found, wanted = (gpu_reference.sketches(x, start.params) for x in (state, expected))
    rows = gpu_reference.state_differences(found, gpu_reference.compact(wanted), 3)
    wrong = too_far(gpu_reference.farthest(rows), "highest")
    assert not wrong, "\n".join(wrong)
    for name, values in expected_terms.items():
        if not name.endswith(gpu_reference.COUNTS):
            scale = float(jnp.abs(values).max())
            assert jnp.allclose(terms[name], values, rtol=0.0, atol=1e-3 * scale), name


# On NVIDIA's, jax has no bfloat16 products of float32 arrays: "bfloat16" is what is computed where
# no precision is asked for, TensorFloat-32. On a TPU it is bfloat16.
@every_detector
@pytest.mark.parametrize("precision", ["highest", "tensorfloat32", "bfloat16"])
def test_steps_maps_and_scores_are_those_of_the_cpu(name, precision, stored, too_far):
    with jax.default_matmul_precision(precision):
        found = gpu_reference.numbers(gpu_reference.subject(name))
    wrong = too_far(gpu_reference.differences(found, stored[name]), precision)
    assert not wrong, "\n".join(wrong)


def test_a_network_in_bfloat16_is_near_that_in_float32(stored, too_far):
    with jax.default_matmul_precision("highest"):
        found = gpu_reference.numbers(gpu_reference.subject("diffusionad", precision="bfloat16"))
    wrong = too_far(gpu_reference.differences(found, stored["diffusionad"]), "bfloat16")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", STEPPING)
def test_a_scan_of_steps_is_the_host_loop(name, too_far):
    with jax.default_matmul_precision("highest"):
        detector, cfg, pretrained, state, batches, key = gpu_reference.subject(name)
        alone = compile.IN_TURNS.steps(detector, cfg, pretrained, copy(state), batches, key)
        scanned = compile.TOGETHER.steps(detector, cfg, pretrained, copy(state), batches, key)
    check_same(scanned, alone, state, too_far)


@pytest.mark.parametrize(
    ("name", "shared"),
    [*((name, True) for name in STEPPING), ("feature_reconstruction", False), ("uniad", False)],
)
def test_members_at_once_are_members_one_by_one(name, shared, too_far):
    with jax.default_matmul_precision("highest"):
        detector, cfg, pretrained, state, batches, key = gpu_reference.subject(name)
        configs = [dataclasses.replace(cfg, lr=factor * cfg.lr) for factor in FACTORS]
        keys = list(jax.random.split(key, len(FACTORS)))
        several = [
            [batches[step if shared else step - member] for member in range(len(FACTORS))]
            for step in range(len(batches))
        ]
        stacked = compile.together([state] * len(FACTORS))
        one_by_one = compile.IN_TURNS.steps_of_many(
            detector, configs, pretrained, copy(stacked), several, keys
        )
        at_once = compile.TOGETHER.steps_of_many(
            detector, configs, pretrained, copy(stacked), several, keys
        )
    check_same(at_once, one_by_one, stacked, too_far)
