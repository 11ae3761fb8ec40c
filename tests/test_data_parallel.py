"""Batch norm where several devices share a batch."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

HERE = pathlib.Path(__file__).parent


@pytest.mark.slow
def test_statistics_and_gradients_of_a_shared_batch_are_those_of_the_whole_batch(tmp_path):
    flags = "--xla_force_host_platform_device_count=2 --xla_backend_optimization_level=0"
    file = tmp_path / "found.npz"
    subprocess.run(
        [sys.executable, str(HERE / "data_parallel.py"), str(file)],
        env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        check=True,
        cwd=HERE.parent,
    )
    arrays = np.load(file)
    names = [name.removeprefix("alone/") for name in arrays.files if name.startswith("alone/")]
    assert {name.split("/")[0] for name in names} == {"loss", "statistics", "gradients"}
    apart = 0
    for name in names:
        alone, together, half = (arrays[f"{way}/{name}"] for way in ("alone", "together", "half"))
        np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-6, err_msg=name)
        apart += not np.allclose(half, alone, rtol=1e-2)
    assert apart > len(names) / 2  # what one device alone would have found
