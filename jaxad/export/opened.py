"""A bundle as a detector, so that whatever predicts with a run predicts with it."""

import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from jaxad import mesh
from jaxad.detector import Detector, Prediction, State, config, static
from jaxad.export import manifest
from jaxad.export.onnx import runner
from jaxad.weights.files import read_safetensors

WEIGHTS = "weights.safetensors"
Program = Callable[[PyTree, Array], tuple[Array, Array]]
NAMES = {"gpu": "cuda"}  # of platforms: what a device says, and what `jax.export` does


@config
class Exported:
    """The settings of a bundle: those that predicting asks for; all else is in its program."""

    size: int = static(256, 1)  # side of the squares that it sees, in pixels
    batch_size: int = static(8, 1)  # pictures in one call
    steps: int = static(0, 0, 0)  # it does not learn
    weights: tuple[str, ...] = static(())  # its own, which it carries


def opened(folder: pathlib.Path) -> tuple[Detector, Exported, dict[str, PyTree], State, str]:
    """Detector, settings, nothing pretrained, the weights as a state, and the model's fingerprint.

    The detector predicts by the bundle's program, which takes 8 bits: images that are floats are
    rounded to 255 levels. It cannot be trained.

    Raises:
      FileNotFoundError: there is no bundle, or a file of it is missing.
      ValueError: it is damaged, of a later format, or was made for other devices than this
        process computes on.
    """
    found = manifest.read(folder)
    program, weights = _program(folder, found)

    def predict(cfg: Exported, pretrained: PyTree, state: State, images: Array) -> Prediction:
        levels = jnp.round(images * 255).astype(jnp.uint8)
        return Prediction(*program(state.params, levels))

    detector = Detector(
        name=found["method"], Config=Exported, init=_init, predict=predict,
        outside=found["to"] == "onnx",
    )  # fmt: skip
    state = State(step=jnp.zeros((), jnp.int32), params=weights, stats=(), opt=())
    cfg = Exported(size=found["size"], batch_size=found["batch_size"])
    return detector, cfg, {}, state, found["model"]


def platform() -> str:
    """What this process computes on, as `jax.export` calls it: "cpu", "cuda" or "tpu"."""
    here = jax.default_backend()
    return NAMES.get(here, here)


def _init(cfg: Exported, pretrained: PyTree, key: Array) -> State:
    raise ValueError("a bundle is not trained: train the method, and export the run")


def _program(folder: pathlib.Path, found: dict[str, Any]) -> tuple[Program, dict[str, Array]]:
    """The function of (weights, uint8 images) for the devices of this process, and the weights."""
    if found["to"] == "onnx":
        return _of_onnx(folder / found["programs"]["onnx"]), {}
    here = platform()
    if here not in found["programs"]:
        raise ValueError(
            f"{folder} was made for {', '.join(found['programs'])}, and this process computes on "
            f"{here}: export it with --platforms {here}, or choose another --device"
        )
    path = folder / found["programs"][here]
    try:
        exported = jax.export.deserialize(bytearray(path.read_bytes()))
    except Exception as error:
        raise ValueError(
            f"{path} was written with JAX {found['jax']}, and JAX {jax.__version__} does not "
            f"read it: install that one or a newer one ({error})"
        ) from error
    call: Callable[..., Any] = exported.call
    if found["weights"] == "inside":
        return (lambda _, images: call(images)), {}
    (expected, _), _ = jax.tree.unflatten(exported.in_tree, exported.in_avals)
    read = read_safetensors(folder / WEIGHTS)
    return call, {n: jnp.asarray(read[n].astype(x.dtype)) for n, x in expected.items()}


def _of_onnx(path: pathlib.Path) -> Program:
    """The function of an ONNX file, computed by ONNX Runtime outside of JAX."""
    run = runner(path)

    def called(_: PyTree, images: Array) -> tuple[Array, Array]:
        map, score = run(np.asarray(mesh.fetched(images)))
        return jnp.asarray(map), jnp.asarray(score)

    return called
