"""Many devices: a process with eight of them runs the tests of `eight_devices.py`."""

import os
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent


@pytest.mark.slow
def test_eight_devices_compute_what_one_does():
    devices = {"JAX_NUM_CPU_DEVICES": "8", "JAX_PLATFORMS": "cpu"}
    found = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "-m", "",
         "-p", "no:cacheprovider", str(HERE / "eight_devices.py")],
        env={**os.environ, **devices},
        cwd=HERE.parent.parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stdout[-20_000:] + found.stderr[-5_000:]
    assert " passed" in found.stdout
