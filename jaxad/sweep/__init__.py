"""Sweeps: many settings and seeds of a detector trained as one program.

    configs = sweep.grid(efficientad.Config(steps=2000), lr=[1e-4, 1e-3], p_hard=[0.99, 0.999])
    keys = jax.random.split(jax.random.key(0), 4)
    members = sweep.fit(efficientad.DETECTOR, configs, teacher, data, keys)
    scores = sweep.evaluate(efficientad.DETECTOR, configs, teacher, members, data.test)
    print(sweep.text(configs, scores))

A layer on the contract: whoever writes `jax.vmap(detector.train_step)` gets the same numbers.
"""

from jaxad.sweep.fitting import Members, fit, run
from jaxad.sweep.halving import Halved, halve
from jaxad.sweep.scores import Scores, Summary, bootstrap, evaluate, summary
from jaxad.sweep.settings import LogUniform, Uniform, grid, groups, random, rows, stack, zip
from jaxad.sweep.table import text, tidy, write

__all__ = [
    "Halved",
    "LogUniform",
    "Members",
    "Scores",
    "Summary",
    "Uniform",
    "bootstrap",
    "evaluate",
    "fit",
    "grid",
    "groups",
    "halve",
    "random",
    "rows",
    "run",
    "stack",
    "summary",
    "text",
    "tidy",
    "write",
    "zip",
]
