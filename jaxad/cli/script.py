"""What every command that computes begins with."""

import contextlib
import json
import logging
import os
import pathlib
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence

import jax
from PIL import Image

from jaxad import compile, mesh
from jaxad.cli.errors import Usage, told
from jaxad.cli.run_options import Device, HostOptions
from jaxad.mesh import hosts
from jaxad.progress import printable

log = logging.getLogger(__name__)


class Printable(logging.Formatter):
    """Lines that control no terminal, whatever files are called."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record, its ends of lines kept."""
        return printable(super().format(record), lines=True)


def prepare(device: Device | None = None, others: HostOptions | None = None) -> None:
    """Plain log lines of this package, compiled programs kept between calls, the device chosen.

    Args:
      device: what to compute on; None for the best that JAX finds.
      others: which hosts to join, before anything is computed.

    Raises:
      ValueError: there is no such device, or no such host.
      TimeoutError: hosts do not answer.
    """
    lines = logging.StreamHandler()
    lines.setFormatter(Printable("%(message)s"))
    logging.basicConfig(handlers=[lines], force=True)  # absl has configured it before
    logging.getLogger("jaxad").setLevel(logging.INFO)
    logging.getLogger("absl").setLevel(logging.WARNING)
    # Pillow warns of large pictures; what is too large is refused here, in a sentence.
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
    if others is not None and others.distributed is not None:
        if device == "cpu":
            jax.config.update("jax_platforms", "cpu")
        join(others)
    elif others is not None and (others.hosts is not None or others.host is not None):
        raise Usage("--hosts and --host belong to --distributed ADDRESS:PORT")
    if device is not None:
        choose(device)
    compile.enable_cache()


def join(others: HostOptions) -> None:
    """Joins the other hosts; from then on the first one alone speaks of what goes well.

    Raises:
      ValueError: the options name no place where hosts meet.
      TimeoutError: hosts do not answer.
    """
    hosts.place(others.distributed or "", others.hosts, others.host)
    # The runtime prints to standard output from below Python: that is for results alone.
    results = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8", errors="backslashreplace")
    os.dup2(2, 1)
    sys.stdout = results
    log.info("waiting for the other hosts, %g s at most", others.patience)
    hosts.start(others.distributed or "", others.hosts, others.host, others.patience)
    if not hosts.primary():
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, for good
        logging.getLogger("jaxad").setLevel(logging.WARNING)
    log.info("%d hosts", hosts.count())


@contextlib.contextmanager
def devices(text: str | None, batch_size: int = 0, axis: str = "data") -> Iterator[None]:
    """Within it, what is computed runs on the devices of a mesh.

    Args:
      text: of --mesh; None for all devices, where that works.
      batch_size: which they have to divide; 0 where batches are filled up.
      axis: of the mesh, where the options say nothing; see `mesh.chosen`.

    Raises:
      ValueError: there are fewer, or the batch does not divide.
    """
    with mesh.use(mesh.chosen(text, batch_size, axis)):
        yield


def choose(device: Device) -> None:
    """Lets JAX compute on this kind of device; before anything is computed.

    Raises:
      ValueError: JAX computes on another: this machine has none of the kind.
    """
    if device == "cpu":  # where there is an accelerator, JAX takes that unless it is told
        jax.config.update("jax_platforms", "cpu")
    if jax.default_backend() != device:
        raise Usage(f"--device {device}: there is none here; JAX has {jax.default_backend()}")


def run(function: Callable[[Sequence[str]], None]) -> None:
    """Calls a script's main function with the words of its command line, and exits.

    Errors end as those of the command do, in one sentence; see `jaxad.cli.errors`.
    """
    sys.exit(told(function, sys.argv[1:]))


def read_rows(file: pathlib.Path, before: int | None = None) -> list[dict]:
    """The rows of a curve; only those of steps before `before`; none where there is no file."""
    rows = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    return [row for row in rows if before is None or row["step"] < before]
