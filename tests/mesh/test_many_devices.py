"""Many devices: a process with eight of them runs the tests of `eight_devices.py`."""

import os
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent


# Twenty steps of these run for longer than they compile: at XLA's own level of optimisation.
LONG = "float64 and (stfpm or reverse or mkd or diffusionad or uninformed)"


@pytest.mark.slow
@pytest.mark.parametrize(("tests", "flags"), [(LONG, ""), (f"not ({LONG})", None)])
def test_eight_devices_compute_what_one_does(tests, flags):
    level = {} if flags is None else {"XLA_FLAGS": flags}
    devices = {"JAX_NUM_CPU_DEVICES": "8", "JAX_PLATFORMS": "cpu"}
    found = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "2", "-m", "", "-k", tests, "--dist", "load",
         "-p", "no:cacheprovider", str(HERE / "eight_devices.py")],
        env={**os.environ, **devices, **level},
        cwd=HERE.parent.parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stdout[-20_000:] + found.stderr[-5_000:]
    assert " passed" in found.stdout
