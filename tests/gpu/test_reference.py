"""The stored numbers are what the methods compute on a CPU."""

import os
import pathlib
import subprocess
import sys

import gpu_reference
import jax
import pytest

from jaxad.methods import DETECTORS

QUICK = ("autoencoder", "stfpm")
AGAIN = (
    f"tests/gpu/cpu_numbers.json is not what {{}} computes. If its numbers are meant to move, say "
    f"why in CHANGELOG.md and write the file again: {gpu_reference.COMMAND}"
)


def check(name, stored, too_far):
    with jax.default_device(jax.devices("cpu")[0]):
        found = gpu_reference.numbers(gpu_reference.subject(name))
    wrong = too_far(gpu_reference.differences(found, stored[name]), "highest")
    assert not wrong, "\n".join([AGAIN.format(name), *wrong])


@pytest.mark.parametrize("name", QUICK)
def test_stored_numbers_of_quick_methods_are_those_of_this_cpu(name, stored, too_far):
    check(name, stored, too_far)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in DETECTORS if name not in QUICK])
def test_stored_numbers_of_the_other_methods_are_those_of_this_cpu(name, stored, too_far):
    check(name, stored, too_far)


def test_numbers_of_every_method_are_stored(stored):
    assert list(stored) == list(DETECTORS), AGAIN.format("jaxad.methods.DETECTORS")


def test_a_learning_rate_of_one_percent_more_is_noticed(stored, too_far):
    cfg = gpu_reference.subject("stfpm").cfg
    found = gpu_reference.numbers(gpu_reference.subject("stfpm", lr=1.01 * cfg.lr))
    wrong = too_far(gpu_reference.differences(found, stored["stfpm"]), "highest")
    assert any(line.startswith("params 1 is off") for line in wrong)


@pytest.mark.slow
def test_without_an_accelerator_the_tests_for_one_fail_and_say_so():
    here = pathlib.Path(__file__).parent
    environment = {k: v for k, v in os.environ.items() if k != "JAXAD_GPU_DRY_RUN"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "-m", "gpu", "-k", "highest and stfpm",
         "-p", "no:cacheprovider", str(here / "test_gpu.py")],
        env={**environment, "JAX_PLATFORMS": "cpu"}, capture_output=True, text=True, check=False,
        cwd=here.parents[1],
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert "jax sees no accelerator" in done.stdout
    assert "passed" not in done.stdout
