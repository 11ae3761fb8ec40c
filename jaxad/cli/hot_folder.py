"""A folder that pictures are written into while it is watched."""

import logging
import time
from collections.abc import Iterator
from pathlib import Path

from jaxad.data import walk

SECONDS = 1.0  # between two looks
GONE = ": the watched folder is not there any more"
log = logging.getLogger(__name__)

Size = tuple[int, int]  # bytes, and time of change in nanoseconds


class HotFolder:
    """Files of a folder, and of those in it, once they have stopped growing.

    A file is taken when two looks, a second apart, find it of the same size and time of change.

    Args:
      folder: to watch; may be empty.
      seconds: between two looks.
    """

    def __init__(self, folder: Path, seconds: float = SECONDS) -> None:
        self._folder, self._seconds = folder, seconds
        self._growing: dict[Path, Size] = {}
        self._taken: dict[Path, Size] = {}
        self._told: set[str] = set()

    def settled(self) -> list[Path]:
        """The files that have stopped growing since the look before, each given once.

        A file that is written anew later is given again.

        Raises:
          FileNotFoundError: the folder has been removed.
        """
        if not self._folder.is_dir():
            raise FileNotFoundError(f"{self._folder}{GONE}")
        now: dict[Path, Size] = {}
        if (listed := self._listed()) is None:
            return []
        for path in listed:
            try:
                found = path.stat()
            except OSError:  # moved on by its owner since the listing, or a link to nowhere
                continue
            now[path] = (found.st_size, found.st_mtime_ns)
        self._taken = {path: size for path, size in self._taken.items() if path in now}
        ready = [
            path for path, size in now.items()
            if size[0] and self._growing.get(path) == size and self._taken.get(path) != size
        ]  # fmt: skip
        self._growing = now
        self._taken |= {path: now[path] for path in ready}
        return ready

    def _listed(self) -> list[Path] | None:
        """The pictures; None where a folder inside was just removed, or may not be read."""
        try:
            return walk.list_images(self._folder, recursive=True, strict=False)
        except OSError as error:
            if not self._folder.is_dir():
                raise FileNotFoundError(f"{self._folder}{GONE}") from None
            if str(error) not in self._told:
                log.warning("%s cannot be listed, and is looked at again: %s", self._folder, error)
            self._told.add(str(error))
            return None

    def __iter__(self) -> Iterator[list[Path]]:
        """What has settled at each look, for ever; nothing at most of them."""
        while True:
            yield self.settled()
            time.sleep(self._seconds)
