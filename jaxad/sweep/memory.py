"""How many members fit into memory at once."""

import logging
import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from jaxad import compile, mesh
from jaxad.detector import Detector
from jaxad.training import checkpoint

log = logging.getLogger(__name__)

SHARE = 0.9  # of the free memory; the rest is for what the runtime keeps beside the programs
GIB = 2**30


def members_at_once(
    detector: Detector,
    cfg: Any,
    pretrained: PyTree,
    batch: Callable[[], dict],
    count: int,
    asked: int | None,
) -> int:
    """How many of `count` members train at once, on all devices together.

    What a member needs is its state and, where members run side by side, the activations of its
    step, by the compiled step's own analysis. On a CPU they run in turns, so one at a time is as
    fast as any number.

    Args:
      batch: () -> one, as the pipeline makes it.
      count: of members with these static settings.
      asked: by the user; halved until it fits. None: chosen.

    Raises:
      ValueError: `asked` is below 1.
    """
    if asked is not None and asked < 1:
        raise ValueError(f"at_once={asked}: expected 1 or more members")
    in_turns, devices = compile.executor() is compile.IN_TURNS, mesh.size("member")
    on = f" on each of {devices} devices" if devices > 1 else ""
    if in_turns and (asked is None or asked <= devices):
        log.info("members train one at a time%s, each by the one compiled step", on)
        return devices
    # Of one device, the most loaded one.
    count, asked = -(-count // devices), None if asked is None else -(-asked // devices)
    need, free = member_bytes(detector, cfg, pretrained, batch), SHARE * free_bytes()
    if asked is None:
        chosen = int(min(max(free // need, 1), count))
    else:
        chosen = min(asked, count)
        while chosen > 1 and chosen * need > free:
            chosen //= 2
    if need > free:
        log.warning(
            "a member needs %.3g GiB of which %.3g are free: it trains alone%s, and may not fit",
            need / GIB, free / GIB, on,
        )  # fmt: skip
    elif asked is not None and chosen < min(asked, count):
        log.warning(
            "at_once=%d needs %.3g GiB of which %.3g are free: %d members at once%s instead",
            asked, min(asked, count) * need / GIB, free / GIB, chosen, on,
        )  # fmt: skip
    else:
        log.info("%d of %d members at once%s, %.3g GiB each", chosen, count, on, need / GIB)
    return chosen * devices


def member_bytes(
    detector: Detector, cfg: Any, pretrained: PyTree, batch: Callable[[], dict]
) -> int:
    """What one more member needs while it trains."""
    state = checkpoint.abstract_state(detector, cfg, pretrained)
    # Twice: a stacked state is written anew while the one before is still there.
    need = 2 * sum(int(np.prod(x.shape)) * x.dtype.itemsize for x in jax.tree.leaves(state))
    if compile.executor() is compile.IN_TURNS or not cfg.steps:
        return need
    found = compile.step_memory(detector, cfg, pretrained, state, batch(), jax.random.key(0))
    return need + found.temp_size_in_bytes


def free_bytes() -> int:
    """Free memory of the device that computes."""
    device = jax.local_devices()[0]
    stats = device.memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats["bytes_in_use"]
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
