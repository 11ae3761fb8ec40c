"""How much memory there is, and errors before it runs out."""

import math
import os

import jax

SHARE = 1 / 2  # of the memory that a single thing may take


def check_fits(size: int, what: str, way_out: str) -> None:
    """Raises MemoryError if `size` bytes are more than half of the device's memory.

    Args:
      size: bytes.
      what: needs them, for the message.
      way_out: what to set, for the message.
    """
    device = jax.local_devices()[0]
    stats = device.memory_stats() or {}
    there = stats.get("bytes_limit", machine())
    if size > SHARE * there:
        raise MemoryError(
            f"{what} would take {size / 1e9:.3g} GB, more than half of the memory of "
            f"{device.device_kind} ({there / 1e9:.3g} GB): {way_out}"
        )


def machine() -> float:
    """Bytes of this machine's memory; infinite where the system does not say."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):  # another system
        return math.inf
