"""What a command can be told beside a detector's settings; a comment is a line of its help."""

import pathlib
from typing import Literal

from jaxad.data.reading import OnBadImage
from jaxad.detector import config, static
from jaxad.training.selection import Select
from jaxad.training.writers import Log

Device = Literal["cpu", "gpu", "tpu"]


@config
class DeviceOptions:
    """What computes."""

    device: Device | None = static(None)  # the kind; none: the best there is
    mesh: str | None = static(None)  # such as data:8 or data:4,model:2; none: all devices


@config
class HostOptions:
    """Many hosts that train together: the same command on each, with a run folder that all see."""

    distributed: str | None = static(None)  # auto, slurm, mpi, gke, tpu, or ADDRESS:PORT of host 0
    hosts: int | None = static(None, 1)  # how many there are; with an address
    host: int | None = static(None, 0)  # which of them this is, from 0; with an address
    patience: float = static(60.0, above=0)  # seconds to wait for the others at the start


@config
class RunOptions:
    """How it is trained."""

    epochs: float | None = static(None, above=0)  # in place of --steps: passes over the pictures
    seed: int = static(0, 0)  # of everything random, the held-out pictures included
    save_every: int = static(500, 1)  # steps between checkpoints
    curve: bool = static(False)  # measure the test pictures at every checkpoint: curve.json
    select: Select = static("last")  # the result: the last state, or that of least held-out loss
    target_fpr: float = static(0.01, above=0, below=1)  # false alarms that the card aims at
    folds: int | None = static(None, 0)  # of a cross-fit card; none: 5 if it costs little; 0: never
    cache: str = static("none")  # frozen features: "memory", a folder, or "none": in every step
    workers: int = static(0, 0)  # processes that read pictures; 0 reads in threads
    log: Log = static("none")  # the metrics go there too: RUN/tensorboard, or Weights & Biases


@config
class DataOptions:
    """What it learns from."""

    normal: str | None = static(None)  # folder of normal pictures, in place of DATA
    test: str | None = static(None)  # beside --normal: folder of anomalous ones, or of such folders
    test_normal: str | None = static(None)  # beside --normal: folder of normal ones to test on
    masks: str | None = static(None)  # beside --test: folder of their masks
    unified: bool = static(False)  # one model for all categories together
    heldout: float = static(0.1, above=0, below=1)  # to hold out of normal ones, if DATA does not
    on_bad_image: OnBadImage = static("error")  # "skip" leaves damaged files out, and lists them
    aux: str | None = static(None)  # folder of other pictures, for methods that want some
    foreground_masks: str | None = static(None)  # folder of objects' masks; none: estimated
    rendered: int = static(200, 1)  # of `workpieces`: pictures to learn from
    rendered_test: tuple[int, int] = static((40, 8), 0)  # ... to test on: good, of each defect


def folder_of(word: str) -> pathlib.Path:
    """The folder that a word of a command names, by a path that ends in its name."""
    path = pathlib.Path(word).expanduser()
    return path if path.name not in ("", "..") else path.resolve()
