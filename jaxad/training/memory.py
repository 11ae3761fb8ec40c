"""Memory for pictures: a stated limit, given out before anything is read."""

import logging

from jaxad.compile import machine
from jaxad.data.pictures import Resized, cost
from jaxad.data.pipeline import MEMORY
from jaxad.data.source import Source
from jaxad.detector import Pictures

log = logging.getLogger(__name__)

# Of the machine's memory: what a run keeps pictures in at most, where nobody says how much, and
# what pictures and features may take together.
SMALL, SHARE = 1 / 8, 1 / 2


class Budget:
    """Bytes that a run may keep pictures in; first come, first served.

    Attributes:
      limit: of all together.
      left: not yet given out.
    """

    def __init__(self, limit: int | None = None):
        """Of so many bytes; None for `MEMORY`, or less on a small machine.

        Raises:
          MemoryError: that is more than half of this machine's memory.
        """
        limit = int(min(MEMORY, SMALL * machine())) if limit is None else limit
        self.limit = self.left = limit
        check(limit, f"memory={limit} bytes for pictures", "give less; what does not fit is read")

    def pictures(self, source: Source, size: int) -> Pictures:
        """The pictures of a source: in memory if they fit, otherwise read whenever asked for."""
        need = cost(source, size)
        if need > self.left:
            log.info(
                "%d pictures are read whenever they are needed: they would take %.3g GB, of which "
                "%.3g are left", len(source), need / 1e9, self.left / 1e9,
            )  # fmt: skip
            return Resized(source, size)
        self.left -= need
        return Resized(source, size)[:]


def check(size: int, what: str, way_out: str) -> None:
    """Raises MemoryError if `size` bytes are more than half of this machine's memory."""
    if size > (limit := SHARE * machine()):
        raise MemoryError(
            f"{what} would take {size / 1e9:.3g} GB, more than half of this machine's memory "
            f"({limit / 1e9:.3g} GB): {way_out}"
        )
