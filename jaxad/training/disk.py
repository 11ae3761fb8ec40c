"""What Orbax does with a folder, made to hold: any name, read back, failures told in a sentence."""

import contextlib
import errno
import functools
import glob
import logging
import os
import pathlib
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator

import jax
import numpy as np
from absl import logging as absl_logging
from etils import epath
from jaxtyping import PyTree

from jaxad import mesh
from jaxad.mesh import hosts
from jaxad.training import record as records

UNREADABLE = (ValueError, OSError, KeyError, TypeError)  # what Orbax raises of damaged files
CODE = re.compile(r"os_error_code='(\d+)'")  # in what TensorStore says of the system's errors
CLOUDS = re.compile(r"/(gs|s3|az|hf)(/|$)")  # folders that etils takes for those of a cloud
FULL = os.strerror(errno.ENOSPC)
CLOSED = "Event loop is closed"  # what asyncio says to who comes too late


class Literal(type(epath.Path())):  # pyright: ignore[reportGeneralTypeIssues]
    """A path for Orbax whose own signs are no pattern.

    Orbax finds the parts of a checkpoint by a pattern below its folder, and takes `[`, `*` and `?`
    in the folder's name for pattern, too: it would leave parts out without a word.
    """

    def glob(self, pattern: str) -> Iterator["Literal"]:
        """The files below that match, in no order."""
        return (self / found for found in glob.glob(pattern, root_dir=os.fspath(self)))


@contextlib.contextmanager
def saving_to(folder: pathlib.Path) -> Iterator[None]:
    """Within it something is saved by Orbax, or written otherwise.

    Raises:
      OSError: the system did not let it; the message names the folder and says what to do.
    """
    _hush()
    try:
        yield
    except Exception as error:
        if hosts.is_of_another_host(error):  # what Orbax waited for in vain: no fault of the disk
            raise
        why = _of_the_system(error)
        if why is None:
            raise
        raise OSError(
            f"cannot save to {folder} ({why}); free some space or mend its permissions "
            "and start the same command again: it continues from the checkpoints before"
        ) from error


def read_back(saved: PyTree, read: Callable[[PyTree], PyTree], folder: pathlib.Path) -> None:
    """Looks whether what was just saved can be read, and is what was saved.

    Args:
      saved: on any device; it is left as it is.
      read: arrays like those of a tree -> what is in the folder.
      folder: for the message.

    Raises:
      OSError: it cannot be read or is something else.
    """
    blank = jax.tree.map(lambda x: np.empty(x.shape, x.dtype), saved)  # read to the host's memory
    there = records.fingerprint(mesh.fetched(saved))
    try:
        same = records.fingerprint(read(blank)) == there
        why = None if same else "it is not what was saved"
    except UNREADABLE as error:
        why = in_short(error)
    if why is not None:
        raise OSError(
            f"what was just saved to {folder} cannot be read back ({why}): its disk does not keep "
            "what is written; give a run folder in another place and start the command again"
        )


def in_short(error: Exception) -> str:
    """What an error says first: Orbax goes on for pages."""
    return (str(error).partition("\n")[0] or type(error).__name__)[:200]


def _of_the_system(error: BaseException) -> str | None:
    """What the system said, if an error in saving is one of its own; None if not."""
    code = CODE.search(str(error))
    if code:
        return os.strerror(int(code[1]))
    if isinstance(error, OSError):
        return error.strerror or in_short(error)
    # Of the device's memory too, but that is no ValueError.
    if isinstance(error, ValueError) and "RESOURCE_EXHAUSTED" in str(error):
        return FULL if FULL in str(error) else in_short(error)
    return None


def _hush() -> None:
    """From now on a failure to save is said once, by its exception, not a hundred times before.

    It stays so: writing that had been begun when another part failed may end much later.
    """
    for logger in (absl_logging.get_absl_logger(), logging.getLogger("asyncio")):
        logger.addFilter(_is_news)
    warnings.filterwarnings("ignore", "coroutine 'async_serialize", RuntimeWarning)  # of Orbax
    if getattr(sys.unraisablehook, "func", None) is not _unless_nobody_waits:
        sys.unraisablehook = functools.partial(_unless_nobody_waits, sys.unraisablehook)


def _unless_nobody_waits(
    before: Callable[["sys.UnraisableHookArgs"], object], found: "sys.UnraisableHookArgs"
) -> None:
    """`sys.unraisablehook`, but for TensorStore's writes that end when Orbax has given them up."""
    if not (isinstance(found.exc_value, RuntimeError) and str(found.exc_value) == CLOSED):
        before(found)


def _is_news(line: logging.LogRecord) -> bool:
    """Whether a line of a log is not the traceback of an error that Orbax raises as well."""
    error = line.exc_info[1] if line.exc_info else None
    if isinstance(error, OSError):  # perhaps of somebody else
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        return not any("orbax" in pathlib.Path(frame.f_code.co_filename).parts for frame in frames)
    return error is None or _of_the_system(error) is None
