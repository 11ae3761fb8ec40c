"""Which devices are used, and what is split over them."""

import contextlib
import logging
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
from jax.sharding import AxisType, Mesh

from jaxad.mesh import hosts

log = logging.getLogger(__name__)

AXES = ("member", "data", "model")  # members of a sweep, pictures of a batch, large parameters
WRITTEN = "expected such as data:8 or member:4,data:2"

_used: list[Mesh | None] = []


def parse(text: str) -> dict[str, int]:
    """The axes that a text such as "data:4,model:2" names, with their sizes.

    Raises:
      ValueError: it is written otherwise, an axis is unknown or comes twice.
    """
    axes: dict[str, int] = {}
    for part in text.split(","):
        found = re.fullmatch(r"\s*([a-z]+)\s*:\s*([0-9]+)\s*", part)
        if not found or int(found[2]) < 1:
            raise ValueError(f"mesh {text!r} (--mesh): {WRITTEN}")
        if found[1] not in AXES:
            raise ValueError(
                f"mesh {text!r} (--mesh): there is no axis {found[1]!r}; axes are {', '.join(AXES)}"
            )
        if found[1] in axes:
            raise ValueError(f"mesh {text!r} (--mesh): the axis {found[1]!r} comes twice")
        axes[found[1]] = int(found[2])
    return axes


def make(axes: str | Mapping[str, int], devices: Sequence[Any] | None = None) -> Mesh:
    """A mesh of as many devices as the axes have places.

    Args:
      axes: {axis: size}, or a text such as "data:8"; see `parse`.
      devices: to take them from; by default all of JAX, or of a host that has left the others its
        own.

    Raises:
      ValueError: there are fewer devices; or some of another host's would not be used.
    """
    wanted = parse(axes) if isinstance(axes, str) else dict(axes)
    there = _devices() if devices is None else list(devices)
    need = math.prod(wanted.values())
    said = ",".join(f"{name}:{size}" for name, size in wanted.items())
    if need > len(there):
        raise ValueError(
            f"mesh {said} (--mesh) wants {need} devices, but there are {len(there)} "
            f"({there[0].device_kind}); the largest would be data:{len(there)}"
        )
    if len({device.process_index for device in there[:need]}) < hosts.count():
        raise ValueError(
            f"mesh {said} (--mesh) uses {need} of {len(there)} devices, none of some hosts: "
            f"expected all, such as data:{len(there)}"
        )
    # Auto: XLA decides within a program where intermediate results lie.
    return jax.make_mesh(
        tuple(wanted.values()), tuple(wanted), (AxisType.Auto,) * len(wanted),
        devices=there[:need],
    )  # fmt: skip


def chosen(text: str | None, batch_size: int, axis: str = "data") -> Mesh | None:
    """The mesh that a command is to use; None for one device.

    Args:
      text: as `parse` wants it; None for all devices along `axis` where that works.
      batch_size: of the training, which `data` has to divide.
      axis: where nothing is said.

    Raises:
      ValueError: as `make`; or the batch does not divide, and the text or many hosts want it to.
    """
    count = len(_devices())
    if text is None:
        if count == 1:
            return None
        if axis == "data" and batch_size % count and hosts.count() == 1:
            log.info(
                "batches of %d do not divide by the %d devices: one computes; --batch-size %d or "
                "--mesh data:%d would use more", batch_size, count, _above(batch_size, count),
                _divisor(batch_size, count),
            )  # fmt: skip
            return None
        text = f"{axis}:{count}"
        log.info("%d devices along %s (--mesh %s)", count, axis, text)
    mesh = make(text)
    if axis == "data" and batch_size and mesh.shape.get("member", 1) > 1:
        raise ValueError(
            f"mesh {text} (--mesh): the axis member is for the members of a sweep; a single run "
            f"wants data:{mesh.size}"
        )
    check_divides(batch_size, mesh.shape.get("data", 1))
    return None if mesh.size == 1 else mesh


def check_batch(batch_size: int) -> None:
    """Looks at whether every device of the mesh in use gets as many pictures of a batch.

    Args:
      batch_size: 0 where nothing is trained: all else is filled up.

    Raises:
      ValueError: it does not; the message says which sizes would do.
    """
    check_divides(batch_size, size("data"))


def check_divides(batch_size: int, parts: int) -> None:
    """As `check_batch`, of so many devices.

    Raises:
      ValueError: as `check_batch`.
    """
    if batch_size % parts:
        fewer = batch_size - batch_size % parts
        near = " or ".join(str(n) for n in (fewer, fewer + parts) if n)
        raise ValueError(
            f"batches of {batch_size} do not divide by data:{parts} (--mesh): give --batch-size "
            f"{near}, or --mesh data:{_divisor(batch_size, parts)}"
        )


@contextlib.contextmanager
def use(mesh: Mesh | str | None) -> Iterator[Mesh | None]:
    """Within it, what is compiled runs over this mesh; None for one device.

    It holds for all threads of the process. On many hosts all have to do the same within it.

    Raises:
      ValueError: as `make`.
    """
    made = make(mesh) if isinstance(mesh, str) else mesh
    _used.append(made)
    try:
        yield made
    finally:
        _used.pop()


def current() -> Mesh | None:
    """The mesh in use; None for one device."""
    return _used[-1] if _used else None


def size(axis: str) -> int:
    """The length of an axis of the mesh in use; 1 where it has none."""
    mesh = current()
    return 1 if mesh is None else mesh.shape.get(axis, 1)


def _devices() -> list[Any]:
    """Those of all hosts; of a host that has left the others its own."""
    return jax.devices() if hosts.count() == jax.process_count() else jax.local_devices()


def _divisor(number: int, most: int) -> int:
    """The largest divisor that is no larger than `most`."""
    return max(n for n in range(1, most + 1) if number % n == 0)


def _above(number: int, parts: int) -> int:
    return -(-number // parts) * parts
