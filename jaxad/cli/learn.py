"""Models: trained in their folders, then measured and shown."""

import contextlib
import datetime
import importlib.metadata
import logging
import pathlib
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jaxtyping import PyTree

from jaxad import mesh
from jaxad.cli import script
from jaxad.cli.data import lasting, opened
from jaxad.cli.run_options import DataOptions, DeviceOptions, HostOptions, RunOptions
from jaxad.cli.script import prepare, read_rows
from jaxad.data.files import counted
from jaxad.data.reading import Reading
from jaxad.data.source import Data, Source
from jaxad.decision import card as cards
from jaxad.decision import conformal, normals
from jaxad.decision.card import Card
from jaxad.detector import Detector, State, replace
from jaxad.evaluation.evaluate import evaluate
from jaxad.evaluation.results import Evaluation, joined
from jaxad.mesh import hosts
from jaxad.nets.extractors import load_for
from jaxad.report.assess import assess
from jaxad.report.facts import facts
from jaxad.report.pages import Style, untested
from jaxad.training import record as records
from jaxad.training.epochs import steps_of
from jaxad.training.features import MEMORY
from jaxad.training.fitting import run as run_in_folder
from jaxad.training.memory import Budget
from jaxad.training.record import settings, write_json
from jaxad.training.writers import Careful, Writer, make
from jaxad.weights import store

log = logging.getLogger(__name__)

UNTESTED = (
    "There are no test pictures, so nothing was measured: neither how many defects are found nor "
    "where. What follows is what the run learned from, and what its card's normal pictures score."
)
CURVE = ("image_auroc", "pixel_auroc", "aupro_0.3")


def learn(
    detector: Detector,
    cfg: Any,
    place: str | None,
    workdir: pathlib.Path,
    run: RunOptions,
    data: DataOptions,
    reading: Reading,
    epochs: float | None,
    devices: DeviceOptions = DeviceOptions(),  # noqa: B008, frozen
    others: HostOptions = HostOptions(),  # noqa: B008
    command: str = "",
) -> None:
    """Trains a model of each category, or one of all, and measures it.

    Args:
      detector: the method.
      cfg: its settings.
      place: DATA of the command; None where `data.normal` takes its place.
      workdir: RUN of the command; several models get a folder each in it.
      run: options of the run.
      data: options of the data.
      reading: how files become pictures.
      epochs: in place of `cfg.steps`; None for these.
      devices: what computes.
      others: hosts that train together; the first one goes on alone from there.
      command: that was typed, for the record.
    """
    prepare(devices.device, others)
    normals.check(detector, cfg, run.folds)
    trained, found = [], []
    with script.devices(devices.mesh, cfg.batch_size if cfg.steps else 0):
        several = opened(detector, cfg, place, data, run.seed, workdir, reading)
        pretrained = load_for(cfg)
        for name in pretrained:
            print(f"licence of the weights {name}: {store.terms(name)}")
        for name, one in several.items():
            cfg = with_epochs(cfg, epochs, one)
            folder = workdir / name if len(several) > 1 else workdir
            pictures = counted(len(one.train), "picture")
            print(f"{name}: {detector.name} learns from {pictures}\n{cfg}")
            lay, chosen = lasting(place, data)
            about = described(
                cfg, category=name, data=lay, options=vars(chosen), seed=run.seed, command=command
            )
            with _writer(detector, cfg, name, folder, run) as writer:
                state = learned(detector, cfg, pretrained, one, run, folder, about, writer)
                trained.append(_Trained(name, cfg, one, state, folder))
                if hosts.count() == 1:
                    found.append(_finished(detector, pretrained, trained.pop(), run, writer))
    if hosts.count() > 1:
        trained = [one._replace(state=mesh.fetched(one.state)) for one in trained]
        hosts.leave()
        if not hosts.primary():
            return
        log.info("trained; the card and the report are made by the first host alone")
        with script.devices(None):
            for one in trained:
                with _writer(detector, one.cfg, one.name, one.folder, run) as writer:
                    writer.begin()  # again: it goes on
                    found.append(_finished(detector, pretrained, one, run, writer))
    evaluations = [one for one in found if one is not None]
    if len(evaluations) > 1:
        print(f"\nall categories\n{joined(evaluations)}")


class _Trained(NamedTuple):
    """A model that has no card yet, and what it learned from."""

    name: str
    cfg: Any
    data: Data
    state: State
    folder: pathlib.Path


def _writer(
    detector: Detector, cfg: Any, name: str, folder: pathlib.Path, run: RunOptions
) -> contextlib.closing[Careful]:
    """What the metrics of a category are written by, within a `with`."""
    said = settings(detector, cfg)
    said = {"method": said["method"], **said["settings"], "category": name, "seed": run.seed}
    return contextlib.closing(make(run.log, folder, said))


def _finished(
    detector: Detector, pretrained: PyTree, one: _Trained, run: RunOptions, writer: Careful
) -> Evaluation | None:
    """Makes the card, measures and shows the model, and says where."""
    name, cfg, data, state, folder = one
    card = carded(detector, cfg, pretrained, state, data, run, folder)
    title = _title(detector, cfg, name, run.seed)
    found = assessed(detector, cfg, pretrained, state, data, card, folder, title, data.train)
    if found is not None:
        measured = {f"eval/{n}": x for n, x in found.mean.items() if x is not None}
        writer.scalars(cfg.steps, measured)
    print(f"model: {folder / 'model'}\ncard: {folder / cards.FILE}")
    return found


def learned(
    detector: Detector,
    cfg: Any,
    pretrained: PyTree,
    data: Data,
    options: RunOptions,
    workdir: pathlib.Path,
    about: dict,
    writer: Writer | None = None,
) -> State:
    """Trains in a folder, or goes on there.

    Args:
      detector: the method.
      cfg: its settings.
      pretrained: {name: tree} for `cfg.weights`.
      data: what to learn from.
      options: of the run; `epochs` has become `cfg.steps` before.
      workdir: the run's folder.
      about: what else `run.json` tells.
      writer: told the metrics.
    """
    at_save = _curve(detector, cfg, pretrained, data, workdir) if options.curve else None
    return run_in_folder(
        detector, cfg, pretrained, data, jax.random.key(options.seed), workdir,
        save_every=options.save_every, workers=options.workers, cache=cache(options.cache),
        select=options.select, at_save=at_save, about=about, writer=writer,
    )  # fmt: skip


def carded(
    detector: Detector,
    cfg: Any,
    pretrained: PyTree,
    state: State,
    data: Data,
    options: RunOptions,
    workdir: pathlib.Path,
) -> Card:
    """The card of a run, made now unless its folder has one of this model already.

    Args:
      detector: the method.
      cfg: its settings.
      pretrained: {name: tree} for `cfg.weights`.
      state: trained and calibrated.
      data: what it learned from.
      options: of the run.
      workdir: the run's folder.
    """
    file = workdir / cards.FILE
    if file.exists():
        card = cards.read(file)
        if card.model == records.model(pretrained, state):  # perhaps of today's light
            if options.folds or options.target_fpr not in (cards.TARGET, card.target_fpr):
                log.warning(
                    "%s is kept, for %g false alarms: `jaxad calibrate` or `jaxad predict "
                    "--target-fpr` take another rate; delete it to have it made anew",
                    file, card.target_fpr,
                )  # fmt: skip
            return card
    card = normals.of_run(
        detector, cfg, pretrained, state, data, jax.random.key(options.seed),
        needed=conformal.needed(options.target_fpr), select=options.select, folds=options.folds,
    )  # fmt: skip
    card = card._replace(target_fpr=options.target_fpr, about=origin("the pictures of the run"))
    for warning in card.warnings():
        log.warning("%s", warning)
    cards.write(file, card)
    return card


def origin(pictures: str) -> dict[str, str]:
    """What a card tells a person of where it comes from."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"made": now, "of": pictures, "jaxad": importlib.metadata.version("jaxad")}


def cache(place: str) -> str | None:
    """Where frozen features are kept, as `training.fit` takes it."""
    return {"none": None, "memory": MEMORY}.get(place.lower(), place)


def with_epochs(cfg: Any, epochs: float | None, data: Data) -> Any:
    """The settings with as many steps as the epochs take, if a number of them is given."""
    if epochs is None:
        return cfg
    return replace(cfg, steps=steps_of(epochs, len(data.train), cfg.batch_size))


def described(cfg: Any, **said: Any) -> dict:
    """What `run.json` tells a person: where the data lay, licences of the weights, the version."""
    return {
        **said,
        "weights": {name: store.terms(name) for name in cfg.weights},
        "jaxad": importlib.metadata.version("jaxad"),
    }


def assessed(
    detector: Detector,
    cfg: Any,
    pretrained: PyTree,
    state: State,
    data: Data,
    card: Card,
    workdir: pathlib.Path,
    title: str,
    learned: Source | None,
    run: pathlib.Path | None = None,
    style: Style = Style(),  # noqa: B008, immutable
) -> Evaluation | None:
    """Measures and shows a model on its test pictures, and says where; None if there are none.

    `learned` are the pictures that it learned from, None if they are not at hand; see `assess`.
    """
    if data.test is None:
        print("no test pictures: nothing to evaluate on")
        about = facts(detector, cfg, workdir if run is None else run, data)
        page = untested(workdir / "report", title, UNTESTED, about, card)
        print(f"report: {page}")
        return None
    found = assess(
        detector, cfg, pretrained, state, data, card, workdir, title, learned, run, style
    )
    print(found)
    print(f"report: {workdir / 'report' / 'index.html'}")
    return found


def _curve(
    detector: Detector, cfg: Any, pretrained: PyTree, data: Data, workdir: pathlib.Path
) -> Callable[[int, State], None] | None:
    """Measures states that are not finished; what it says changes nothing."""
    if data.test is None:
        return None
    file, test = workdir / "curve.json", data.test
    heldout = Budget().pictures(data.heldout, cfg.size)

    def measure(step: int, state: State) -> None:
        state = detector.calibrate(cfg, pretrained, state, heldout)
        found = evaluate(detector, cfg, pretrained, state, test).as_dict()["mean"]
        if not hosts.primary():
            return
        row = {name: found[name] for name in CURVE}
        write_json(file, [*read_rows(file, before=step), {"step": step} | row])
        print(f"step {step}: " + "  ".join(f"{n} {x}" for n, x in row.items()), file=sys.stderr)

    return measure


def _title(detector: Detector, cfg: Any, name: str, seed: int) -> str:
    teacher = f"weights {', '.join(cfg.weights)}, " if cfg.weights else ""
    return f"{detector.name} on {name}: {teacher}{cfg.size} px, {cfg.steps} steps, seed {seed}"
