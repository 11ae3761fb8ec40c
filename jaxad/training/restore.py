"""From the folder of a finished run back to what it learned."""

import os
import pathlib
from typing import Any, NamedTuple

from jaxtyping import PyTree

from jaxad.detector import Detector, State, replace
from jaxad.export.manifest import is_bundle
from jaxad.export.opened import opened
from jaxad.nets.extractors import load_for
from jaxad.training import record as records
from jaxad.training.checkpoint import abstract_state, model_in
from jaxad.training.named import detector as named


class Finished(NamedTuple):
    """What a finished run learned, ready to predict.

    Attributes:
      detector: the method.
      cfg: its settings.
      pretrained: {name: tree} for `cfg.weights`.
      state: calibrated, without optimiser.
      record: what `run.json` says.
    """

    detector: Detector
    cfg: Any
    pretrained: PyTree
    state: State
    record: dict

    @property
    def model(self) -> str:
        """What tells this model's scores from another's: the name that a decision card gives it."""
        return self.record.get("model") or records.model(self.pretrained, self.state)


def finished(folder: str | os.PathLike) -> Finished:
    """Reads the model of a run, with the method, settings and weights that its record names.

    Of a bundle, the detector predicts by the bundle's program, and cannot be trained.

    Args:
      folder: of a run that `run` or the command `jaxad train` completed; or of a bundle.

    Raises:
      FileNotFoundError: there is no such folder, no run in it, or the run has no model yet; or
        weights are missing.
      ValueError: the record or the model is damaged, the method is unknown here, or weights of the
        same name are other ones than the run had.

    >>> import jax, jaxad, tempfile
    >>> from jaxad.data import workpieces
    >>> from jaxad.methods import autoencoder
    >>> cfg = autoencoder.Config(size=64, batch_size=2, steps=2, widths=(4, 8))
    >>> data = workpieces.load("plate", size=64, train=4, heldout=2, test=(2, 1))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     learned = jaxad.run(autoencoder.DETECTOR, cfg, {}, data, jax.random.key(0), folder)
    ...     detector, cfg, pretrained, state, record = finished(folder)
    >>> detector.name, cfg.steps, record["method"]
    ('autoencoder', 2, 'autoencoder')
    """
    path = pathlib.Path(folder).expanduser().absolute()
    if is_bundle(path):
        found = opened(path)
        record = records.read(path) or {}
        return Finished(*found[:4], {**record, "model": found[4]})
    detector, cfg, record = recorded(path)
    if not has_model(path):
        raise FileNotFoundError(
            f"the run in {path} is not finished: it has no model; start its command again"
        )
    pretrained = load_for(cfg)
    for name, tree in pretrained.items():
        if records.fingerprint(tree) != record["pretrained"].get(name):
            raise ValueError(
                f"the weights {name!r} are not those that the run in {path} was trained with: "
                "give these back their place, or train anew"
            )
    state = model_in(path, abstract_state(detector, cfg, pretrained))
    return Finished(detector, cfg, pretrained, state, record)


def has_model(folder: pathlib.Path) -> bool:
    """Whether a folder holds a model: that of a finished run, or a bundle's."""
    return (folder / "model").is_dir() or is_bundle(folder)


def recorded(folder: str | os.PathLike) -> tuple[Detector, Any, dict]:
    """Method, settings and record of a run, finished or not.

    Raises:
      FileNotFoundError: there is no such folder, or no run in it.
      ValueError: the record is damaged, or the method or a setting unknown here.
    """
    path = pathlib.Path(folder).expanduser().absolute()
    if not path.is_dir():
        raise FileNotFoundError(f"there is no run folder {path}")
    record = records.read(path)
    if record is None or "method" not in record:
        inside = sorted(file.parent.name for file in path.glob(f"*/{records.FILE}"))
        more = f", but there are some in it, {', '.join(inside)}: name one" if inside else ""
        raise FileNotFoundError(
            f"{path} is not the folder of a run: it has no {records.FILE} of one{more}"
        )
    detector = named(record["method"])
    return detector, _config(detector, record["settings"], path), record


def _config(detector: Detector, settings: dict, path: pathlib.Path) -> Any:
    """The config with recorded settings; JSON has lists where configs have tuples."""
    given = {n: tuple(x) if isinstance(x, list) else x for n, x in settings.items()}
    try:
        return replace(detector.Config(), **given)
    except ValueError as error:
        raise ValueError(
            f"the run in {path} was trained with a version of {detector.name} that has other "
            f"settings: {error}"
        ) from error
