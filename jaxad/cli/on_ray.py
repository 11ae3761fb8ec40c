"""`jaxad predict ... --on ray`: the same decisions by workers on a cluster."""

import contextlib
import pathlib
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

from jaxad.cli.errors import Usage
from jaxad.cli.options import given, option
from jaxad.cli.run_options import Device, folder_of
from jaxad.cli.script import prepare
from jaxad.data.reading import OnBadImage
from jaxad.decision import bulk, cluster, workers
from jaxad.decision.card import Card
from jaxad.decision.predictor import Predictor
from jaxad.detector import config, static

Rows = Callable[[Sequence[pathlib.Path]], Iterator[bulk.Row]]


@config
class ClusterOptions:
    """Where it is computed."""

    on: Literal["here", "ray"] = static("here")  # "ray": a cluster's workers; rows as Parquet too
    address: str | None = static(None)  # of the cluster, HOST:PORT or "auto"; none: found, or new
    workers: int | None = static(None, 1)  # processes with a device each; none: one for each device


class Load(NamedTuple):
    """What a worker loads: the run as it is decided about here, looked at by this machine.

    Attributes:
      run: its folder.
      card: that decides.
      options: further ones of `Predictor.load`.
      device: what computes; None: the best that the worker has.
      folders: that all machines have to have.
    """

    run: pathlib.Path
    card: Card
    options: dict[str, Any]
    device: Device | None
    folders: tuple[pathlib.Path, ...]

    def __call__(self) -> Predictor:
        """The predictor.

        Raises:
          FileNotFoundError: a folder is not there, on this machine.
          ValueError: see `Predictor.load`; or this machine has no such device.
        """
        prepare(self.device)
        for folder in self.folders:
            if not folder.is_dir():
                raise FileNotFoundError(
                    f"{folder}: there is no such folder on {socket.gethostname()}; with --on ray "
                    "all machines have to have run, pictures and results at the same places"
                )
        return Predictor.load(self.run, card=self.card, **self.options)


def load(
    predictor: Predictor,
    run: str,
    folders: Sequence[pathlib.Path],
    device: Device | None,
    max_pixels: int | None,
) -> Load:
    """What workers load, to decide as a predictor does.

    Args:
      predictor: of this process.
      run: its folder, as it was called.
      folders: that all machines have to have besides.
      device: what computes; None: the best that there is.
      max_pixels: of a picture; None for the limit of the run.
    """
    options = {
        "category": predictor.category,
        "batch_size": predictor.batch_size,
        "tiles": predictor.tiles or 0,  # as here, whatever the card says
        "max_pixels": max_pixels,
    }
    folder = folder_of(run).absolute()
    several = (folder, *(place.absolute() for place in folders))
    return Load(folder, predictor.card, options, device, several)


def check(words: Sequence[str], options: ClusterOptions, device: Device | None) -> None:
    """Looks at what can be known before anything is loaded or started.

    Args:
      words: of the command line.
      options: that they mean.
      device: that they ask for.

    Raises:
      Usage: options do not go together.
      ModuleNotFoundError: Ray is not installed.
    """
    if options.on == "here":
        for name in ("address", "workers"):
            if given(words, name):
                raise Usage(f"{option(name)} belongs to --on ray, which is not given")
        return
    if not given(words, "out"):
        raise Usage("--on ray: give --out FOLDER for the rows, which come in no order")
    for name in ("watch", "webhook", "mesh"):
        if given(words, name):
            raise Usage(f"{option(name)} is for one machine: it cannot be given with --on ray")
    if device == "tpu":
        raise Usage("--device tpu: workers of --on ray have a processor core or a GPU")
    cluster.library()


@contextlib.contextmanager
def rows(
    options: ClusterOptions,
    load: Load,
    on_bad_image: OnBadImage,
    write: bulk.Write | None,
) -> Iterator[Rows]:
    """Within it there are workers; it gives what makes rows of files, as `bulk.rows` does.

    Args:
      options: of the cluster.
      load: what each worker loads.
      on_bad_image: as for `bulk.rows`.
      write: as for `bulk.rows`.

    Raises:
      ConnectionError: there is no cluster at the address.
      ValueError: the cluster has fewer devices than there are to be workers.
    """
    kind = load.device if load.device != "tpu" else None
    size = load.options["batch_size"]
    at_once = size * max(4, -(-workers.AT_ONCE // size))  # whole batches, of which some overlap
    with cluster.connected(options.address, options.workers, kind) as team:
        if team.device == "cpu":
            load = load._replace(device="cpu")
        yield lambda paths: workers.rows(team, load, paths, on_bad_image, write, at_once)
