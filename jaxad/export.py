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
    """
    state = state._replace(opt=())
    compile.check_finite((pretrained, state))

    def predict(images: Array) -> tuple[Array, Array]:
        prediction = detector.predict(cfg, pretrained, state, compile.unit(images))
        return prediction.map, prediction.score

    (batch,) = jax.export.symbolic_shape("batch")
    images = jax.ShapeDtypeStruct((batch, cfg.size, cfg.size, 3), "uint8")
    exported = jax.export.export(jax.jit(predict), platforms=list(platforms))(images)
    return bytes(exported.serialize())


def deserialize(program: bytes) -> Callable[[Array], tuple[Array, Array]]:
    """The function that `serialize` wrote: uint8 images -> (map, score)."""
    exported = jax.export.deserialize(bytearray(program))
    return jax.jit(exported.call, compiler_options=compile.compiler_options())
