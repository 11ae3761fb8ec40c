"""What all wrappers share: a config around a config, and a detector that is asked with it."""

from typing import Any

from jaxad.detector import Detector, takes_no_steps, unchanged


class Around:
    """What the configs of all wrappers share: they lend the settings of the one inside."""

    inside: Any

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "inside":  # nothing of Python's own is inside
            raise AttributeError(name)
        return getattr(self.inside, name)


def inside(function: Any) -> Any:
    """A function of the detector inside, asked with a config around its own."""
    return lambda cfg, *arguments: function(cfg.inside, *arguments)


def of_inside(detector: Detector) -> Detector:
    """The detector, asked with a config around its own."""
    fields = ("init", "measure", "embed", "streams", "check")
    asked = {name: inside(getattr(detector, name)) for name in fields}
    return detector._replace(
        **asked,
        train_step=where(detector.train_step, takes_no_steps, inside(detector.train_step)),
        calibrate=where(detector.calibrate, unchanged, inside(detector.calibrate)),
        heldout_loss=where(detector.heldout_loss, None, inside(detector.heldout_loss)),
        nearest=where(detector.nearest, None, inside(detector.nearest)),
    )


def where(inner: Any, absent: Any, wrapped: Any) -> Any:
    """`absent` where the detector inside lacks it, otherwise what wraps it."""
    return absent if inner is absent else wrapped
