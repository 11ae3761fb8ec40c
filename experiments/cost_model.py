"""How long a training step takes on many devices, by arithmetic: nothing here is measured.

A step on one device takes as long as the slower of its operations and its memory traffic. Data
parallel, every device has its part of the batch, and what the compiled program reduces over all of
them (gradients, statistics of a batch) travels after the computation: no overlap is assumed. Time
between programs, reading pictures and launching kernels are left out. `bench_scaling.py` takes what
a step computes and reduces from its compiled program, and compares with a real machine.
"""

import math
from typing import NamedTuple

from jaxad.detector import Scalar, config, scalar, static


@config
class Machine:
    """What a cluster's devices and links can do; the defaults are nodes of eight NVIDIA H200.

    Rates are those of data sheets, and `achieved`, `traffic` and `link` say what share of them is
    assumed to be reached. The shares are assumptions and have no source: measure, and change them.
    """

    # NVIDIA H200 SXM data sheet: 989 TFLOP/s TF32 with sparsity, half of it without. JAX multiplies
    # float32 in TF32 on such devices by default.
    peak: Scalar = scalar(494.5e12, above=0)  # operations a second
    achieved: Scalar = scalar(0.4, above=0, most=1)  # share of `peak`; assumed
    memory_bandwidth: Scalar = scalar(4.8e12, above=0)  # bytes a second; the same data sheet
    traffic: Scalar = scalar(0.8, above=0, most=1)  # share of `memory_bandwidth`; assumed
    memory: Scalar = scalar(141e9, above=0)  # bytes; the same data sheet
    usable: Scalar = scalar(0.9, above=0, most=1)  # share of `memory`, as `jaxad sweep` takes
    node: int = static(8, 1)  # devices that are joined by NVLink; NVIDIA DGX H200 data sheet
    # The same: 900 GB/s NVLink a device, both directions together; one 400 Gb/s adapter each.
    nvlink: Scalar = scalar(450e9, above=0)  # bytes a second, one direction
    network: Scalar = scalar(50e9, above=0)  # bytes a second and device, one direction
    link: Scalar = scalar(0.8, above=0, most=1)  # share of both; assumed
    # NCCL's own model, src/graph/tuning.cc: a tree by its protocol LL128. Seconds.
    start: Scalar = scalar(14e-6, least=0)  # of every collective
    hop: Scalar = scalar(1.2e-6, least=0)  # over NVLink
    network_hop: Scalar = scalar(8.5e-6, least=0)


class Work(NamedTuple):
    """What a training step of one method computes, moves and reduces.

    Attributes:
      flops: operations for each picture.
      traffic: bytes of device memory read and written for each picture.
      fixed_traffic: bytes read and written whatever the batch, as by the optimiser.
      collectives: how many reductions over all devices a step has.
      reduced: bytes that they reduce, together.
      reduced_per_picture: bytes that they reduce in addition for each picture of the whole batch;
        a step that scales has none.
      state: bytes of everything that is learned, parameters and what the optimiser keeps.
      held: bytes of device memory for each picture while a step runs.
      fixed_held: bytes beside them while a step runs: the state, twice, frozen weights.
    """

    flops: float
    traffic: float
    fixed_traffic: float
    collectives: float
    reduced: float
    reduced_per_picture: float
    state: float
    held: float
    fixed_held: float


def compute_seconds(work: Work, pictures: float, machine: Machine) -> float:
    """A device's own part of a step on so many pictures: operations or traffic, the slower one."""
    operations = work.flops * pictures / (machine.peak * machine.achieved)
    moved = work.traffic * pictures + work.fixed_traffic
    return max(operations, moved / (machine.memory_bandwidth * machine.traffic))


def volume_seconds(size: float, devices: int, machine: Machine) -> float:
    """Reducing `size` bytes over all devices, latency apart.

    Within a node, then each device its share with the other nodes, then within the node again:
    2 (g - 1) / g of the bytes over NVLink and 2 (m - 1) / m of a g-th over the network, for m nodes
    of g devices.
    """
    within, nodes = _parts(devices, machine)
    own = 2 * (within - 1) / within * size / machine.nvlink
    across = 2 * (nodes - 1) / nodes * size / within / machine.network
    return (own + across) / machine.link


def latency_seconds(devices: int, machine: Machine) -> float:
    """One collective without bytes: its start, hops within a node, a tree over nodes and back."""
    if devices == 1:
        return 0.0
    within, nodes = _parts(devices, machine)
    tree = math.ceil(math.log2(nodes)) * machine.network_hop
    return machine.start + 2 * ((within - 1) * machine.hop + tree)


def communication_seconds(work: Work, pictures: float, devices: int, machine: Machine) -> float:
    """All collectives of a step on so many pictures in the whole batch."""
    size = work.reduced + work.reduced_per_picture * pictures
    latency = work.collectives * latency_seconds(devices, machine)
    return volume_seconds(size, devices, machine) + latency


def step_seconds(work: Work, pictures: float, devices: int, machine: Machine) -> float:
    """A step on so many pictures in the whole batch, an equal part on each device."""
    own = compute_seconds(work, pictures / devices, machine)
    return own + communication_seconds(work, pictures, devices, machine)


def efficiency(
    work: Work, pictures: float, devices: int, machine: Machine, *, per_device: bool
) -> float:
    """What share of `devices` times one device's rate of pictures all of them reach.

    Args:
      work: of a step.
      pictures: of a batch: of each device, or of all together.
      devices: how many.
      machine: what they can do.
      per_device: whether the batch grows with the devices (weak scaling) or is the same for any
        number of them (strong scaling).
    """
    whole = pictures * devices if per_device else pictures
    one = compute_seconds(work, pictures, machine) / pictures  # seconds for a picture
    return one * whole / (devices * step_seconds(work, whole, devices, machine))


def stops_paying(
    work: Work, pictures: float, counts: list[int], machine: Machine, *, per_device: bool
) -> int | None:
    """The first number of devices whose `efficiency` is below one half; None if there is none."""
    for devices in counts:
        if efficiency(work, pictures, devices, machine, per_device=per_device) < 0.5:
            return devices
    return None


class Sweep(NamedTuple):
    """How a sweep is spread over devices.

    Attributes:
      at_once: members that a device trains side by side.
      rounds: how often each device begins anew.
      seconds: until the last member is done.
      efficiency: share of the devices' time in which they train a member.
    """

    at_once: int
    rounds: int
    seconds: float
    efficiency: float


def fitting(work: Work, pictures: float, machine: Machine) -> int:
    """How many members with batches of so many pictures fit into a device's memory."""
    need = work.fixed_held + work.held * pictures
    return int(machine.memory * machine.usable // need)


def sweep(
    work: Work, pictures: float, steps: int, members: int, devices: int, machine: Machine
) -> Sweep:
    """Members of a sweep over devices, split along "member": nothing travels between them.

    Side by side, members are assumed to take as long as one after the other. No member is split:
    a device that has none left waits.

    Raises:
      ValueError: not even one member fits.
    """
    at_once = fitting(work, pictures, machine)
    if not at_once:
        raise ValueError(f"a member with batches of {pictures:g} does not fit into the memory")
    most = -(-members // devices)  # of one device
    one = steps * compute_seconds(work, pictures, machine)
    rounds = rounds_of(members, devices, at_once)
    return Sweep(min(at_once, most), rounds, most * one, members / (devices * most))


def rounds_of(members: int, devices: int, at_once: int) -> int:
    """How often each device begins anew: ceil(members / (devices * at_once))."""
    return -(-members // (devices * at_once))


def _parts(devices: int, machine: Machine) -> tuple[int, int]:
    """Devices of a node that take part, and nodes."""
    within = min(devices, machine.node)
    return within, -(-devices // within)
