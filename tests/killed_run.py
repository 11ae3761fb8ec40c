"""A tiny run in a process of its own, for `test_train.py` to kill. Prints the state's digest."""

import hashlib
import sys
import time

import conftest
import jax

from jaxad import train
from jaxad.methods import DETECTORS

row = conftest.tiny_efficientad()
pretrained, data = row.pretrained(jax.random.key(7)), conftest.tiny_data(row.cfg.size)
pause = 0.2 if "slowly" in sys.argv else 0.0
state = train.run(
    DETECTORS["efficientad"], row.cfg, pretrained, data, jax.random.key(0), sys.argv[1],
    save_every=10, at_save=lambda step, state: time.sleep(pause),
)  # fmt: skip
digest = hashlib.sha256()
for leaf in jax.tree.leaves(state._replace(opt=())):
    digest.update(jax.device_get(leaf).tobytes())
print(digest.hexdigest())
