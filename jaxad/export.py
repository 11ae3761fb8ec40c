"""A trained detector as one portable file: predict with its state baked in, as StableHLO."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.export
from jaxtyping import Array, PyTree

from jaxad import compile
from jaxad.detector import Detector, State


def serialize(
    detector: Detector,
    cfg: Any,
    pretrained: PyTree,
    state: State,
    platforms: Sequence[str] = ("cpu", "cuda"),
) -> bytes:
    """`predict` as bytes that any JAX of at least this version runs, without jaxad.

    The program takes uint8 images `B size size 3`, B of any number, and returns (map, score).

    Raises:
      FloatingPointError: a parameter is not finite.

    >>> import jax, jaxad, numpy as np
    >>> from jaxad.data import workpieces
    >>> from jaxad.methods import autoencoder
    >>> cfg = autoencoder.Config(size=64, batch_size=2, steps=2, widths=(4, 8))
    >>> data = workpieces.load("plate", size=64, train=4, heldout=2, test=(2, 1))
    >>> state = jaxad.fit(autoencoder.DETECTOR, cfg, {}, data, jax.random.key(0))
    >>> predict = deserialize(serialize(autoencoder.DETECTOR, cfg, {}, state))
    >>> map, score = predict(np.zeros((3, 64, 64, 3), np.uint8))
    >>> map.shape, score.shape
    ((3, 64, 64), (3,))
    """
    state = state._replace(opt=())
    compile.check_finite((pretrained, state))

    def predict(images: Array) -> tuple[Array, Array]:
        prediction = detector.predict(cfg, pretrained, state, images)
        return prediction.map, prediction.score

    (batch,) = jax.export.symbolic_shape("batch")
    images = jax.ShapeDtypeStruct((batch, cfg.size, cfg.size, 3), "uint8")
    exported = jax.export.export(jax.jit(predict), platforms=list(platforms))(images)
    return bytes(exported.serialize())


def deserialize(program: bytes) -> Callable[[Array], tuple[Array, Array]]:
    """The function that `serialize` wrote: uint8 images -> (map, score)."""
    exported = jax.export.deserialize(bytearray(program))
    return jax.jit(exported.call, compiler_options=compile.compiler_options())
