"""The one place where functions are compiled, and where the backend decides how they run.

A method is pure functions; here they become programs: one train step, one predict, and functions
over a set of pictures. How many steps, and many members of a sweep, run is the `Executor`'s: one
for CPUs, one for accelerators, chosen once. Nobody else asks which backend it is, but the switch of
`nets.cpu`.
"""

from jaxad.compile.execution import (
    IN_TURNS,
    TOGETHER,
    Executor,
    each,
    executor,
    steps,
    steps_of_many,
)
from jaxad.compile.finite import check_finite, finite_members
from jaxad.compile.members import apart, together
from jaxad.compile.ordered import quantiles
from jaxad.compile.programs import (
    CPU_OPTIONS,
    compiler_options,
    enable_cache,
    init,
    jit,
    of_pictures,
    predict,
    step,
    step_memory,
    train_step,
    unit,
)
from jaxad.compile.room import check_fits, machine
from jaxad.compile.sets import moments, over_set, slices

__all__ = [
    "CPU_OPTIONS",
    "IN_TURNS",
    "TOGETHER",
    "Executor",
    "apart",
    "check_finite",
    "check_fits",
    "compiler_options",
    "each",
    "enable_cache",
    "executor",
    "finite_members",
    "init",
    "jit",
    "machine",
    "moments",
    "of_pictures",
    "over_set",
    "predict",
    "quantiles",
    "slices",
    "step",
    "step_memory",
    "steps",
    "steps_of_many",
    "together",
    "train_step",
    "unit",
]
