"""What every command that computes begins with."""

import json
import logging
import pathlib
import sys
import warnings
from collections.abc import Callable, Sequence

import jax
from PIL import Image

from jaxad import compile
from jaxad.cli.errors import Usage, told
from jaxad.cli.run_options import Device
from jaxad.progress import printable


class Printable(logging.Formatter):
    """Lines that control no terminal, whatever files are called."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record, its ends of lines kept."""
        return printable(super().format(record), lines=True)


def prepare(device: Device | None = None) -> None:
    """Plain log lines of this package, compiled programs kept between calls, the device chosen.

    Args:
      device: what to compute on; None for the best that JAX finds.

    Raises:
      ValueError: there is no such device.
    """
    lines = logging.StreamHandler()
    lines.setFormatter(Printable("%(message)s"))
    logging.basicConfig(handlers=[lines], force=True)  # absl has configured it before
    logging.getLogger("jaxad").setLevel(logging.INFO)
    logging.getLogger("absl").setLevel(logging.WARNING)
    # Pillow warns of large pictures; what is too large is refused here, in a sentence.
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
    if device is not None:
        choose(device)
    compile.enable_cache()


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
