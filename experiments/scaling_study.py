"""What training steps compute, hold and exchange on simulated devices, by their programs.

Parts 1 to 3 of `bench_scaling.py`, one method at a time. The number of devices is that of the
process; settings and drawn arrays are those of `scaling_steps.py`.
"""

from collections.abc import Sequence
from typing import Any

import collectives
import jax
import numpy as np
import scaling_steps
from cost_model import Work
from scaling_steps import PAPER, SMALL, Step

from jaxad import compile, mesh
from jaxad.compile import split
from jaxad.detector import replace
from jaxad.nets import cpu

DEVICES = (1, 2, 4, 8)
BATCH, PER_DEVICE = 8, 2  # pictures: of a batch that stays, and of each device where it grows
MEMBERS = 16
STEPS = 20  # over which float32 drifts apart


def method(name: str) -> dict[str, Any]:
    """Part 1 of one method: a batch that stays, one that grows, and float64."""
    step = scaling_steps.drawn(name, replace(SMALL[name], batch_size=BATCH))
    one, first, fixed = None, None, []
    for devices in DEVICES:
        row, end, last = ran(step, devices, STEPS)
        one, first = one or end, first or last
        drift = scaling_steps.apart(*map(learned, (first, last)))
        fixed.append(row | differences(one, end) | {"drift": drift})
    of_batches = {devices * PER_DEVICE: devices for devices in DEVICES}
    grows = [
        fixed[DEVICES.index(devices)]
        if size == BATCH
        else ran(scaling_steps.resized(step, size), devices)[0]
        for size, devices in of_batches.items()
    ]
    few, many = (row.pop("arrays") for row in (fixed[-1], grows[-1]))
    for row in (*fixed, *grows):
        row.pop("arrays", None)
    with jax.enable_x64(True):
        wide = scaling_steps.wide(step)
        ends = [ran(wide, devices)[1] for devices in (1, max(DEVICES))]
    return {
        "settings": repr(step.cfg),
        "fixed": fixed,
        "grows": grows,
        "float64": differences(*ends),
        "of_pictures": more(few, many),
    }


def ran(step: Step, devices: int, steps: int = 1) -> tuple[dict[str, Any], Any, Any]:
    """What a step's program on so many devices needs; state and metrics after one step and all.

    All steps are of the one batch.
    """
    with mesh.use(f"data:{devices}" if devices > 1 else None):
        arguments = scaling_steps.arguments(step)
        program = compile.train_step(step.detector).lower(*arguments).compile()
        cfg, pretrained, _, batch, key = arguments
        last = program(*arguments)
        end = jax.device_get(last)
        for _ in range(steps - 1):
            last = program(cfg, pretrained, last[0], batch, key)
    needed = {"devices": devices, "pictures": step.cfg.batch_size, **needs(program)}
    return needed, end, jax.device_get(last)


def learned(end: Any) -> list[Any]:
    """The parameters at an end."""
    return jax.tree.leaves(end[0].params)


def needs(program: jax.stages.Compiled) -> dict[str, Any]:
    """What a device computes, holds and exchanges, by the compiled program."""
    found, memory = collectives.collectives(program.as_text()), program.memory_analysis()
    return {
        "flops": program.cost_analysis()["flops"],
        "bytes_accessed": program.cost_analysis()["bytes accessed"],
        "collectives": collectives.by_kind(found),
        "arrays": found,
        "memory": {
            kind: getattr(memory, f"{kind}_size_in_bytes")
            for kind in ("argument", "output", "temp", "alias")
        },
    }


def differences(one: Any, other: Any) -> dict[str, float]:
    """Between losses and between gradients of two ends of a step, by those of the first."""
    (state, metrics), (moved, found) = one, other
    loss, again = float(metrics["loss"]), float(found["loss"])
    gradients = (
        scaling_steps.gradient(state),
        [
            y
            for x, y in zip(jax.tree.leaves(state.opt), jax.tree.leaves(moved.opt), strict=True)
            if (x < 0).any()
        ],
    )
    return {"loss": abs(again - loss) / abs(loss), "gradient": scaling_steps.apart(*gradients)}


def more(few: Sequence[Any], many: Sequence[Any]) -> dict[str, Any]:
    """The arrays of pictures among what travels: those that a larger batch has more of."""
    arrays = collectives.growing(few, many)
    return {"arrays": arrays, "bytes": sum(map(collectives.size, arrays))}


def swept(name: str) -> dict[str, Any]:
    """Part 2 of one method: members on one device and on all."""
    step = scaling_steps.drawn(name, replace(SMALL[name], batch_size=PER_DEVICE))
    members = {"members": MEMBERS, "devices": []}
    for devices in (1, max(DEVICES)):
        with mesh.use(f"member:{devices}") as used:
            keys = list(jax.random.split(jax.random.key(0), MEMBERS))
            states = compile.together([step.state] * MEMBERS)
            configs, states, keys = split._members([step.cfg] * MEMBERS, states, keys)
            one = compile.jit(split._nth(step.detector, True, used), donate=2, free=True)
            last = mesh.batch(step.batch), keys, np.int32(0)
            program = one.lower(configs, mesh.placed(step.pretrained), states, *last).compile()
        members["devices"].append({"devices": devices, **needs(program)})
        members["devices"][-1].pop("arrays")
    return members


def of_paper(name: str) -> dict[str, Any]:
    """Part 3 of one method: what `cost_model.Work` has, from programs that are compiled.

    What belongs to a picture and what to a step is told apart by batches of two sizes.
    """
    few = PAPER[name].batch_size
    flops, programs = [], []
    form, cpu.on_cpu = cpu.on_cpu, lambda: False  # as an accelerator computes it
    try:
        for size in (few, 2 * few):
            step = scaling_steps.abstract(name, replace(PAPER[name], batch_size=size))
            program = scaling_steps.lowered(step)
            flops.append(program.cost_analysis()["flops"])
            programs.append(needs(program.compile()))
        whole = few * max(DEVICES)
        step = scaling_steps.abstract(name, replace(PAPER[name], batch_size=whole))
        with mesh.use(f"data:{max(DEVICES)}"):
            together = needs(scaling_steps.lowered(step).compile())
    finally:
        cpu.on_cpu = form
    arrays = together.pop("arrays")
    learned = {x.shape for x in jax.tree.leaves(step.state)}
    of_each = collectives.per_picture(arrays, whole, learned)
    bytes_of = lambda tree: sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))
    traffic = [row["bytes_accessed"] for row in programs]
    temp = [row["memory"]["temp"] for row in programs]
    state, held = bytes_of(step.state), line(temp, few)
    work = Work(
        flops=(flops[1] - flops[0]) / few,
        traffic=line(traffic, few)[0],
        fixed_traffic=line(traffic, few)[1],
        collectives=len(arrays),
        reduced=sum(one.size for one in arrays) - of_each * whole,
        reduced_per_picture=of_each,
        state=state,
        held=held[0],
        fixed_held=held[1] + 2 * state + bytes_of(step.pretrained),
    )
    programs[0].pop("arrays")
    return {
        "settings": repr(PAPER[name]),
        "work": work._asdict(),
        "one": programs[0],
        "eight": together,
    }


def work_here(step: Step, own: int) -> Work:
    """What a small step needs on the mesh in use, by its program here; for its time alone.

    Operations are counted before compilation: compiled, some are calls of a library.

    Args:
      step: on all devices.
      own: pictures of a device.
    """
    lowered = scaling_steps.lowered(step)
    found = needs(lowered.compile())
    return Work(
        flops=lowered.cost_analysis()["flops"] / step.cfg.batch_size,
        traffic=found["bytes_accessed"] / own,
        collectives=len(found["arrays"]),
        reduced=sum(one.size for one in found["arrays"]),
        fixed_traffic=0, reduced_per_picture=0, state=0, held=0, fixed_held=0,
    )  # fmt: skip


def line(values: Sequence[float], few: int) -> tuple[float, float]:
    """(slope, start) of a line through the values at `few` and twice as many; no start below 0."""
    slope = (values[1] - values[0]) / few
    return slope, max(values[0] - slope * few, 0)
