"""A tiny run in a process of its own, for `test_fitting.py` to kill."""

import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

import conftest
import jax
from tiny_settings import tiny_efficientad

from jaxad import training
from jaxad.methods import DETECTORS

row = tiny_efficientad()
pretrained, data = row.pretrained(jax.random.key(7)), conftest.tiny_data(row.cfg.size)
training.run(
    DETECTORS["efficientad"], row.cfg, pretrained, data, jax.random.key(0), sys.argv[1],
    save_every=10, at_save=lambda step, state: time.sleep(0.3),
)  # fmt: skip
