"""Many hosts, each a process of JAX's distributed runtime, that do the same together.

Host 0 writes what is written, but for checkpoints, of which each writes its part. A host that dies
ends the job: the others see it by their next exchange, or at the latest by its silence.
"""

import hashlib
import json
import os
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

SILENCE = 30  # seconds after which a host counts as dead
LAST_WORDS = 3  # seconds
PATIENCE = 60.0  # seconds to wait for all hosts at the start
CLUSTERS = {"slurm": "slurm", "mpi": "ompi", "gke": "k8s", "tpu": "cloud_tpu"}
# What messages of the runtime have in them where another host is gone.
GONE = (
    "Gloo", "NCCL", "heartbeat", "coordination service", "CoordinationService", "barrier",
    "Connection reset by peer",
)  # fmt: skip


class AllInterrupted(KeyboardInterrupt):
    """All hosts have agreed to end, and have saved."""


_was = 0  # the index of this host, once it has left the others


def start(
    where: str, count: int | None = None, index: int | None = None, patience: float = PATIENCE
) -> None:
    """Joins the other hosts; before anything is computed.

    Args:
      where: "auto", one of `CLUSTERS`, or ADDRESS:PORT of host 0.
      count: of hosts; with an address.
      index: of this one, from 0; with an address.
      patience: seconds that all may take.

    Raises:
      ValueError: the place is no such, or its parts are missing; or there is no such cluster.
      TimeoutError: host 0 does not answer, or not all came.
    """
    known = place(where, count, index)
    jax.config.update("jax_enable_preemption_service", False)  # runs save at signals themselves
    if index:
        _wait_for(*_address(where), patience)
    try:
        jax.distributed.initialize(
            **known, initialization_timeout=int(patience), heartbeat_timeout_seconds=SILENCE,
            shutdown_timeout_seconds=SILENCE,
        )  # fmt: skip
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"--distributed {where}: {str(error).partition(chr(10))[0]}; this is no such cluster, "
            "or hosts are missing: give ADDRESS:PORT of host 0, --hosts and --host"
        ) from error


def place(where: str, count: int | None, index: int | None) -> dict[str, Any]:
    """What `jax.distributed.initialize` is told, of the arguments of `start`.

    Raises:
      ValueError: the place is no such, or its parts are missing.
    """
    if ":" in where:
        _address(where)
        if count is None or index is None or not 0 <= index < count:
            raise ValueError(
                f"--distributed {where}: give --hosts, how many there are, and --host, which of "
                "them this is, from 0"
            )
        known = {"coordinator_address": where, "num_processes": count, "process_id": index}
        return {**known, "cluster_detection_method": "deactivate"}
    if where in CLUSTERS:
        return {"cluster_detection_method": CLUSTERS[where]}
    if where != "auto":
        raise ValueError(
            f"--distributed {where}: expected auto, {', '.join(CLUSTERS)}, or ADDRESS:PORT of host "
            "0 with --hosts and --host"
        )
    return {}


def _address(where: str) -> tuple[str, int]:
    address, _, port = where.rpartition(":")
    if not address or not port.isdigit() or not 0 < int(port) < 2**16:
        raise ValueError(f"--distributed {where}: expected ADDRESS:PORT of host 0")
    return address.strip("[]"), int(port)


def _wait_for(address: str, port: int, patience: float) -> None:
    """JAX ends the process where nobody answers; a sentence is better."""
    began = time.monotonic()
    while True:
        try:
            socket.create_connection((address, port), timeout=2).close()
            return
        except OSError as error:
            if time.monotonic() - began > patience:
                raise TimeoutError(
                    f"host 0 does not answer at {address}:{port} since {patience:.0f} s ({error}): "
                    "is it started, with the same --distributed, and is the port open?"
                ) from error
            time.sleep(0.2)


def count() -> int:
    """How many hosts do this together; 1 after `leave`."""
    return jax.process_count() if jax.distributed.is_initialized() else 1


def index() -> int:
    """Which of them this is, from 0; as before after `leave`."""
    return jax.process_index() if jax.distributed.is_initialized() else _was


def primary() -> bool:
    """Whether this host writes: the first one, or the only one."""
    return index() == 0


def leave() -> None:
    """Parts from the other hosts, when all have come so far: from here each is alone."""
    global _was
    if count() > 1:
        _was = index()
        jax.distributed.shutdown()


def meet(name: str) -> None:
    """Waits until all hosts are here."""
    if count() > 1:
        multihost_utils.sync_global_devices(name)


def any_wants(own: bool) -> bool:
    """Whether any host does; all get the same answer at the same place of the program."""
    if count() == 1:
        return own
    return bool(np.any(multihost_utils.process_allgather(np.array(own))))


def same(record: dict[str, Any], differences: Callable[[dict, dict], list[str]]) -> None:
    """Looks at whether all hosts are to do the same.

    Args:
      record: of what a host is to do, as JSON; it is compared by its hash.
      differences: (this host's record, that of host 0) -> where they differ, in words.

    Raises:
      ValueError: a host's differs from that of host 0; the message says where, on that host.
    """
    if count() == 1:
        return
    text = json.dumps(record, sort_keys=True).encode()
    own = np.frombuffer(hashlib.sha256(text).digest(), np.uint8)
    every = np.asarray(multihost_utils.process_allgather(own))
    other = [i for i in range(count()) if (every[i] != every[0]).any()]
    if not other:
        return
    length = int(multihost_utils.broadcast_one_to_all(np.int32(len(text))))
    room = np.zeros(length, np.uint8)
    room[: len(text)] = np.frombuffer(text, np.uint8)[:length]
    first = json.loads(np.asarray(multihost_utils.broadcast_one_to_all(room)).tobytes())
    said = "; ".join(differences(json.loads(text), first)) if index() in other else ""
    names = ", ".join(f"host {i}" for i in other)
    here = f"; on host {index()}: {said} ('there' is host 0)" if said else ""
    raise ValueError(f"{names} would do something else than host 0{here}: start all alike")


def is_of_another_host(error: BaseException) -> bool:
    """Whether an error says that another host is gone."""
    return count() > 1 and any(word in str(error) for word in GONE)


def end(status: int) -> None:
    """Ends this process at once, so that hosts that wait for it see that it has gone.

    Host 0 leaves the others a moment to say what they have to: without it they end unheard.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    if primary():
        time.sleep(LAST_WORDS)
    os._exit(status)
