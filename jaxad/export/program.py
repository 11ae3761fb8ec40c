"""A trained detector as a portable program: predict with its state, as StableHLO."""

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import jax
import jax.export
import jax.numpy as jnp
from jaxtyping import Array, PyTree, UInt8

from jaxad import compile
from jaxad.compile.half import half
from jaxad.detector import Detector, State
from jaxad.nets.cpu import traced_for
from jaxad.ops.squares import squares

Platform = Literal["cpu", "cuda", "rocm", "tpu"]
Precision = Literal["float32", "bfloat16", "float16"]
Fit = Literal["squeeze", "pad", "crop"]
Function = Callable[[dict[str, Array], UInt8[Array, "B H W 3"]], tuple[Array, Array]]

LEARNED = ("params/", "pretrained/")  # the weights of networks, among a model's arrays


def serialize(
    detector: Detector,
    cfg: Any,
    pretrained: PyTree,
    state: State,
    platforms: Sequence[str] = ("cpu", "cuda"),
    *,
    weights: Literal["inside", "beside"] = "inside",
    precision: Precision = "float32",
    fit: Fit | None = None,
) -> bytes:
    """`predict` as bytes that any JAX of at least this version runs, without jaxad.

    The program takes uint8 images `B size size 3`, B of any number, and returns (map, score).

    Args:
      detector: the method.
      cfg: its settings.
      pretrained: {name: tree} for `cfg.weights`.
      state: trained and calibrated; its optimiser is left out.
      platforms: that it runs on: "cpu", "cuda", "rocm", "tpu". One for CPUs alone has layers in the
        form that these are fast at.
      weights: "inside" the program; or "beside" it, and then its first argument is what `arrays`
        gives, with the numbers of `rounded` where `precision` is half.
      precision: of products with learned weights, see `compile.half`.
      fit: how pictures become squares in the program, whose images are then `B H W 3` of any height
        and width; None where they are squares before. See `ops.squares`.

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
    compile.check_finite((pretrained, state._replace(opt=())))
    predict = function(detector, cfg, pretrained, state, precision, fit)
    names = arrays(pretrained, state)
    if fit is None:
        (batch,) = jax.export.symbolic_shape("batch")
        sides = (cfg.size, cfg.size)
    else:
        batch, *sides = jax.export.symbolic_shape("batch, height, width")
    images = jax.ShapeDtypeStruct((batch, *sides, 3), jnp.uint8)
    with traced_for(cpu=set(platforms) == {"cpu"}), _without_places():
        if weights == "inside":
            whole, given = (lambda images: predict(rounded(names, precision), images)), (images,)
        else:
            as_shape = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype)
            whole, given = predict, (jax.tree.map(as_shape, rounded(names, precision)), images)
        exported = jax.export.export(jax.jit(whole), platforms=list(platforms))(*given)
    return bytes(exported.serialize())


def function(
    detector: Detector,
    cfg: Any,
    pretrained: PyTree,
    state: State,
    precision: Precision = "float32",
    fit: Fit | None = None,
) -> Function:
    """What is exported: (what `rounded` gives of `arrays`, uint8 images) -> (map, score).

    It is `detector.predict`, which evaluation uses, on images as they travel. Arguments as those of
    `serialize`.
    """
    structure = jax.tree.structure((pretrained, state._replace(opt=())))
    types = {name: x.dtype for name, x in arrays(pretrained, state).items()}

    def predict(
        learned: dict[str, Array], other: dict[str, Array], images: Array
    ) -> tuple[Array, Array]:
        named = learned | other
        leaves = [named[name].astype(dtype) for name, dtype in types.items()]
        prediction = detector.predict(cfg, *jax.tree.unflatten(structure, leaves), images)
        return prediction.map, prediction.score

    computed = predict if precision == "float32" else half(predict, precision)

    def exported(named: dict[str, Array], images: Array) -> tuple[Array, Array]:
        learned = {name: x for name, x in named.items() if name.startswith(LEARNED)}
        other = {name: x for name, x in named.items() if name not in learned}
        return computed(learned, other, images if fit is None else squares(images, cfg.size, fit))

    return exported


def arrays(pretrained: PyTree, state: State) -> dict[str, Array]:
    """All that a model has learned or been given, by name: "params/student/conv1/kernel"."""
    tree = (pretrained, state._replace(opt=()))
    paths, _ = jax.tree.flatten_with_path(tree)
    found = {}
    for path, leaf in paths:
        words = re.findall(r"\w[\w.-]*", jax.tree_util.keystr(path, simple=True, separator="/"))
        name = "/".join(["pretrained", *words[1:]] if words[0] == "0" else words[1:])
        if name in found:
            raise ValueError(f"two arrays of the model are called {name!r}")
        found[name] = jnp.asarray(leaf)
    return found


def rounded(named: dict[str, Array], precision: Precision) -> dict[str, Array]:
    """Arrays of `arrays` as a program of this precision keeps them: weights of networks in half."""
    if precision == "float32":
        return named
    is_rounded = lambda name, x: name.startswith(LEARNED) and x.dtype == jnp.float32
    return {name: x.astype(precision) if is_rounded(name, x) else x for name, x in named.items()}


@contextlib.contextmanager
def _without_places() -> Iterator[None]:
    """Within it, programs do not tell where on this machine the code that they are made of lies."""
    name = "jax_traceback_in_locations_limit"
    before = getattr(jax.config, name)
    jax.config.update(name, 0)
    try:
        yield
    finally:
        jax.config.update(name, before)


def deserialize(program: bytes) -> Callable[..., tuple[Array, Array]]:
    """The function that `serialize` wrote: uint8 images -> (map, score).

    Where weights lie beside the program, (arrays, uint8 images) -> (map, score).
    """
    exported = jax.export.deserialize(bytearray(program))
    return jax.jit(exported.call, compiler_options=compile.compiler_options())
