"""Mirror images when predicting."""

import functools
from typing import Any, Literal

import jax.numpy as jnp
from jaxtyping import PyTree

from jaxad.detector import Detector, Images, Prediction, State, config, static
from jaxad.ops.terms import total
from jaxad.wrappers.around import Around, of_inside

FLIPS = {"none": ((),), "horizontal": ((), (2,)), "both": ((), (2,), (1,), (1, 2))}


@functools.cache
def flipped(detector: Detector) -> Detector:
    """Predicts mirror images too, and takes the mean of maps and scores.

    Setting `flips`: "horizontal", "both" (four images) or "none".

    >>> from jaxad.methods import stfpm
    >>> flipped(stfpm.DETECTOR).Config(flips="both").lr
    0.4
    """

    @config
    class Config(Around):
        """Settings of the detector inside, and which mirror images it sees."""

        inside: Any = detector.Config()
        flips: Literal["none", "horizontal", "both"] = static("horizontal")

    def predict(cfg: Any, pretrained: PyTree, state: State, images: Images) -> Prediction:
        views = []
        for axes in FLIPS[cfg.flips]:
            flipped = jnp.flip(images, axes)
            map, score, parts = detector.predict(cfg.inside, pretrained, state, flipped)
            views.append(Prediction(jnp.flip(map, axes), score, parts))
        map, score = total(view.map for view in views), total(view.score for view in views)
        return Prediction(map / len(views), score / len(views), views[0].parts)

    return of_inside(detector)._replace(
        name=f"flipped({detector.name})", Config=Config, predict=predict
    )
