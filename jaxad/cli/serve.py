"""`jaxad serve BUNDLE...`: answer pictures over HTTP."""

import importlib.util
import logging
import pathlib
import time
from collections.abc import Sequence
from typing import Literal

from jaxad.bundle.warm import trusted
from jaxad.cli import script
from jaxad.cli.errors import Usage
from jaxad.cli.options import asked, leading, option
from jaxad.cli.predict import DecisionOptions, decided
from jaxad.cli.run_options import Device
from jaxad.decision import card as cards
from jaxad.detector import config, static

log = logging.getLogger(__name__)

USAGE = "jaxad serve BUNDLE|NAME=BUNDLE..."
DESCRIPTION = """Answers pictures over HTTP: POST /v1/predict, and a page at / to try them.

BUNDLE...: folders of `jaxad export`, or of runs; by its folder's name, or by NAME.

If the environment has JAXAD_TOKEN, requests have to bring it. SIGTERM or Ctrl-C ends the service
when what it has taken is answered."""
NEEDED = ("starlette", "uvicorn", "h11", "prometheus_client", "python_multipart")


@config
class AddressOptions:
    """Where it is asked."""

    host: str = static("127.0.0.1")  # which this machine alone reaches; 0.0.0.0: others too
    port: int = static(8000, 0, 65535)  # 0: a free one, which is printed
    hosts: tuple[str, ...] = static(())  # names to be asked by; none: those of this machine, or any
    log_format: Literal["text", "json"] = static("text")  # of log lines


@config
class CardOptions:
    """How is decided."""

    card: str | None = static(None)  # file of another card; with one BUNDLE
    target_fpr: float | None = static(None, above=0, below=1)  # false alarms; none: as the card has
    threshold: float | None = static(None)  # a fixed one for scores; with one BUNDLE
    pixel_threshold: float | None = static(None)  # beside --threshold: a fixed one for maps
    tiles: int | None = static(None, 8)  # cut larger pictures into squares of so many pixels
    device: Device | None = static(None)  # what computes; none: the best there is
    trust_cache: bool = static(False)  # run what lies compiled in the bundle's cache/: it is code


def main(words: Sequence[str]) -> None:
    """The verb."""
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise Usage(f"the service needs {', '.join(missing)}: pip install 'jaxad[serve]'")
    from jaxad.serve import auth, logs, models, server
    from jaxad.serve.app import application
    from jaxad.serve.limits import Limits
    from jaxad.serve.service import Service

    places, rest = leading(words)
    if not places and not rest:
        rest = ["--help"]
    where, how, limits = asked(
        rest, USAGE, DESCRIPTION, address=AddressOptions(), decision=CardOptions(),
        limits=Limits(),
    )  # fmt: skip
    if not places:
        raise Usage(f"expected the folder of a bundle or a run: {USAGE}")
    if limits.max_pictures > limits.queue:
        raise Usage("--max-pictures: more than --queue would never be taken")
    if limits.max_bytes > limits.held_bytes:
        raise Usage("--max-bytes: more than --held-bytes would never be taken")
    folders = models.named(places)
    for folder in folders.values():
        if not folder.is_dir():
            raise FileNotFoundError(f"there is no folder {folder}")
    decision = _decision(how, len(folders))
    card = pathlib.Path(how.card) if how.card is not None else None
    if card is not None:
        cards.read(card)  # or it is told once all is loaded
    token = auth.token()
    with server.bound(where.host, where.port) as place:
        script.prepare(how.device)
        if how.trust_cache:
            trusted(*folders.values())
        logs.use(where.log_format)
        near = server.is_loopback(place)
        if token is None and not near:
            log.warning(
                "whoever reaches %s may ask: no %s is set", server.address(place), auth.VARIABLE
            )
        if token is not None and len(token) < auth.SHORT:
            log.warning("%s has fewer than %d letters", auth.VARIABLE, auth.SHORT)
        hosts = where.hosts
        if not hosts and near and token is None:
            hosts = (*auth.LOOPBACK, where.host)
        service = Service(list(folders), limits)

        def load() -> None:
            began = time.monotonic()
            for name, folder in folders.items():
                with script.devices(None):
                    model = models.load(
                        name, folder, limits.batch_sizes, card=card, tiles=how.tiles,
                        decided=lambda one: decided(one, decision), max_pixels=limits.max_pixels,
                    )  # fmt: skip
                for category, one in model.predictors.items():
                    for warning in one.card.warnings(category):
                        log.warning("model %s, %s", name, warning)
                service.add(model)
            log.info("ready after %.1f s", time.monotonic() - began)

        log.info("serving %s at %s", ", ".join(folders), server.address(place))
        app = application(service, auth.Gate(token, hosts))
        server.run(place, service, app, load)
        log.info("ended")


def _decision(options: CardOptions, count: int) -> DecisionOptions:
    """The options of one model's card.

    Raises:
      Usage: they are for one model, and there are several.
    """
    for name in ("card", "threshold", "trust_cache"):
        if count > 1 and getattr(options, name) not in (None, False):
            raise Usage(f"{option(name)} belongs to one BUNDLE, and there are {count}")
    return DecisionOptions(
        card=options.card, target_fpr=options.target_fpr, threshold=options.threshold,
        pixel_threshold=options.pixel_threshold, tiles=options.tiles,
    )  # fmt: skip
