"""A cluster of machines to decide on: Ray's, joined quietly, with a bound on the waiting."""

import contextlib
import importlib
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from jaxad.data.files import counted

log = logging.getLogger(__name__)

PATIENCE = 30.0  # seconds for a cluster to answer
# What Ray says, read when it is imported or started. The user's own settings come first.
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is sent to anybody
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # on stdout, about lost workers
    "RAY_BACKEND_LOG_LEVEL": "fatal",
}


class Team(NamedTuple):
    """Workers on a cluster.

    Attributes:
      size: how many there are.
      device: that each has: a processor core, or a GPU.
    """

    size: int
    device: Literal["cpu", "gpu"]


@contextlib.contextmanager
def connected(
    address: str | None = None,
    workers: int | None = None,
    device: Literal["cpu", "gpu"] | None = None,
) -> Iterator[Team]:
    """Within it there is a cluster, to which this process belongs.

    Args:
      address: "HOST:PORT" of a cluster that this machine is in; "auto": of the one that is found
        on it; "local": a new one of this machine alone. None is as Ray has it: the environment's
        `RAY_ADDRESS`, the one that is found, or a new one. Where this process is connected
        already, that is used, and stays.
      workers: how many; by default one for each device.
      device: of each worker; by default a GPU if the cluster has some.

    Raises:
      ModuleNotFoundError: Ray is not installed; the message says how it is.
      ConnectionError: there is no cluster at the address, or none that this version can talk to.
      ValueError: the cluster has not as many devices, or the address is written wrongly.
    """
    ray = library()
    if ray.is_initialized():
        yield _team(ray, workers, device)
        return
    ended = threading.Event()
    _connect(ray, address, ended)
    try:
        yield _team(ray, workers, device)
    finally:
        ray.shutdown()
        ended.set()


def library() -> Any:
    """Ray.

    Raises:
      ModuleNotFoundError: it is not installed; the message says how it is.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        return importlib.import_module("ray")
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise  # it is installed, but something that it needs is not
        text = "many machines (--on ray) need Ray: pip install 'jaxad[ray]'"
        raise ModuleNotFoundError(text, name="ray") from None


def _connect(ray: Any, address: str | None, ended: threading.Event) -> None:
    """Joins a cluster or starts one, which lives until `ended`."""
    address = address or os.environ.get("RAY_ADDRESS") or None
    if address is not None and "://" in address:
        raise ValueError(
            f"--address {address}: expected HOST:PORT of a cluster that this machine is in, or auto"
        )
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    answered, failed = threading.Event(), []

    def join() -> None:
        try:
            ray.init(address, include_dashboard=False, **options)
        except BaseException as error:
            failed.append(error)
        answered.set()
        ended.wait()  # processes that were started from a thread end with it

    # In a thread: where nobody answers Ray tries for minutes; and signals are handled as before.
    threading.Thread(target=join, daemon=True).start()
    known = address in (None, "auto", "local")  # those are on this machine
    with _silence():
        there = answered.wait(None if known else PATIENCE)
    where = "Ray" if address is None else f"--address {address}"
    if not there:
        raise ConnectionError(f"{where}: no cluster has answered within {PATIENCE:.0f} seconds")
    if failed:
        raise ConnectionError(f"{where}: {failed[0] or repr(failed[0])}") from failed[0]
    if threading.current_thread() is threading.main_thread():  # Ray prints a stack at SIGTERM
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM) or signal.SIG_DFL)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Within it nothing is written to this process's stderr.

    What goes wrong is raised. But Ray's native part says which level of logs it was asked for; and
    JAX warns of forks, those of Ray's, which become other programs at once.
    """
    sys.stderr.flush()
    before, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)
            yield
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(nowhere)


def _team(ray: Any, workers: int | None, device: Literal["cpu", "gpu"] | None) -> Team:
    there, free = ray.cluster_resources(), ray.available_resources()
    chosen = device or ("gpu" if there.get("GPU", 0) >= 1 else "cpu")
    count, idle = (int(found.get(chosen.upper(), 0)) for found in (there, free))
    size, machines = workers or count, sum(node["Alive"] for node in ray.nodes())
    name = {"cpu": "processor core", "gpu": "GPU"}[chosen]
    if size > count or not size:
        raise ValueError(
            f"{counted(max(size, 1), 'worker')} (--workers): each wants a {name}, and the cluster "
            f"has {count or 'none'} on {counted(machines, 'machine')}: give fewer, or add machines"
        )
    log.info("%s with a %s each", counted(size, "worker"), name)
    if idle < size:
        log.warning("%s of them free now: the others begin when they are", counted(idle, name))
    return Team(size, chosen)
