"""What every method computes on the CPU, for accelerators to be compared with.

    python tests/gpu/gpu_reference.py [--rounded BITS]

Writes tests/gpu/cpu_numbers.json: at the tiny settings of the tests, from fixed keys and pictures,
the loss terms of three train steps, the state after the first and the third, and the maps and
scores before and after them; of methods without steps, the maps and scores. A tree is told by one
number a leaf, its product with a fixed vector of signs: the squared differences of these numbers,
summed, are expected to be the trees' squared distance. Takes two to four minutes on two cores.

With --rounded nothing is written: the same is computed with the operands of every product and
convolution rounded to so many bits of mantissa, 22 for a float32 that lost its last, 10 for
TensorFloat-32, 7 for bfloat16, and it prints how far that is from the stored numbers. The
tolerances of tests/gpu/test_gpu.py come from there.
"""

import argparse
import dataclasses
import json
import pathlib
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree, UInt8

from jaxad import compile
from jaxad.detector import Detector, State, takes_no_steps
from jaxad.methods import DETECTORS
from jaxad.sweep.table import circumstances
from jaxad.training import fitting

ROOT = pathlib.Path(__file__).resolve().parents[2]
STORED = ROOT / "tests" / "gpu" / "cpu_numbers.json"
COMMAND = "python tests/gpu/gpu_reference.py"
STEPS = 3
# Of the tiny settings' learning rates, which are so high that after two steps rounding is seen.
RATE = 0.1
COUNTS = ("accuracy", "items_used")  # what a threshold decides jumps where rounding crosses it

Numbers = dict[str, Any]
Row = tuple[str, float, str]  # a quantity, its relative distance, and where


class Subject(NamedTuple):
    """All that a method's numbers depend on, the same on every machine."""

    detector: Detector
    cfg: Any
    pretrained: PyTree
    state: State  # measured, before the first step
    batches: list[dict[str, np.ndarray]]
    key: Array  # of the steps


def subject(name: str, **settings: Any) -> Subject:
    """A method at the tiny settings of the tests, with some of them replaced."""
    from tiny_settings import TINY

    row = TINY[name]()
    rates = {k: v * RATE for k, v in vars(row.cfg).items() if k.endswith("lr")}
    detector, cfg = DETECTORS[name], dataclasses.replace(row.cfg, **{**rates, **settings})
    pretrained = row.pretrained(jax.random.key(7))
    train = pictures(4, cfg.size, 1)
    state = fitting.begun(detector, cfg, pretrained, train, jax.random.key(0))
    count, streams = cfg.batch_size, [stream.name for stream in detector.streams(cfg)]
    batches = [
        {
            "image": pictures(count, cfg.size, 10 + step),
            "index": np.arange(count, dtype=np.int32),
            **{stream: pictures(count, cfg.size, 20 + step) for stream in streams},
        }
        for step in range(STEPS if detector.train_step is not takes_no_steps else 0)
    ]
    return Subject(detector, cfg, pretrained, state, batches, jax.random.key(2))


def pictures(count: int, size: int, seed: int) -> UInt8[np.ndarray, "n size size 3"]:
    """Noise on coarse squares. Of numpy, only the raw bits are promised to stay what they are."""
    coarse = raw_bytes(seed, (count, size // 8, size // 8, 3)).repeat(8, 1).repeat(8, 2)
    return np.uint8(32) + coarse // 2 + raw_bytes(seed + 100, coarse.shape) // 4


def raw_bytes(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """Bytes of a generator's stream."""
    words = np.random.PCG64(seed).random_raw(int(np.prod(shape)))
    return (words >> np.uint64(56)).astype(np.uint8).reshape(shape)


def numbers(given: Subject) -> Numbers:
    """What is stored of a method: one program after the other, none in a loop primitive."""
    detector, cfg, pretrained, state, batches, key = given
    found: Numbers = {"prediction before": predicted(given, state)}
    state = jax.tree.map(jnp.copy, state)  # steps are donated theirs
    terms = []
    for step, batch in enumerate(batches, 1):
        state, metrics = compile.IN_TURNS.steps(detector, cfg, pretrained, state, [batch], key)
        terms.append({name: float(value[0]) for name, value in metrics.items()})
        if step in (1, STEPS):
            found[f"state {step}"] = sketches(state, given.state.params)
    names = terms[0] if terms else ()
    found["terms"] = {
        name: [term[name] for term in terms] for name in names if not name.endswith(COUNTS)
    }
    found["prediction after"] = predicted(given, state)
    return found


def predicted(given: Subject, state: State) -> dict[str, Any]:
    """Map and scores of fixed pictures, of which half have a painted square."""
    detector, cfg, pretrained = given[:3]
    calibrated = detector.calibrate(cfg, pretrained, state, pictures(4, cfg.size, 2))
    images = pictures(4, cfg.size, 3)
    square = slice(cfg.size // 3, cfg.size // 3 + cfg.size // 4)
    images[2:, square, square] = (20, 120, 200)
    found = compile.predict(detector)(cfg, pretrained, calibrated, images)
    map_ = np.asarray(found.map, np.float64)
    return {
        "map": [map_.mean(), map_.std(), projection(map_) / map_.size**0.5],
        "score": np.asarray(found.score, np.float64).tolist(),
    }


def sketches(state: State, start: PyTree) -> dict[str, dict[str, Any]]:
    """Of each kind of numbers in a state, such as Adam's first moments, a sketch.

    Of the parameters, of how they moved from `start`.
    """
    moved = jax.tree.map(np.subtract, *jax.device_get((state.params, start)))
    kinds: dict[str, list] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(state._replace(params=moved)):
        words = re.findall(r"\.(\w*[a-z]\w*)", name := jax.tree_util.keystr(path))
        kind = words[0] if words[0] == words[-1] else f"{words[0]} {words[-1]}"
        kinds.setdefault(kind, []).append((name, np.asarray(leaf, np.float64)))
    return {
        kind: {
            "norm": float(np.sqrt(sum(np.square(leaf).sum() for _, leaf in leaves))),
            "leaves": {name: projection(leaf) for name, leaf in leaves},
        }
        for kind, leaves in kinds.items()
    }


def projection(leaf: np.ndarray) -> float:
    """The product with a fixed vector of signs."""
    signs = np.random.PCG64(0).random_raw(leaf.size) >> np.uint64(63)
    return float(np.where(signs, 1.0, -1.0) @ leaf.ravel())


def compact(found: Numbers) -> Numbers:
    """As stored: seven digits, and leaves in their order, without their names."""
    if isinstance(found, dict):
        return {k: compact(list(v.values()) if k == "leaves" else v) for k, v in found.items()}
    return [compact(x) for x in found] if isinstance(found, list) else float(f"{found:.7g}")


def rounded(bits: int) -> None:
    """From now on operands of products and convolutions have so many bits of mantissa."""

    def narrow(bind: Callable) -> Callable:
        less = lambda x: jax.lax.reduce_precision(x, 8, bits) if x.dtype == np.float32 else x
        return lambda one, other, **rest: bind(less(one), less(other), **rest)

    for primitive in (jax.lax.dot_general_p, jax.lax.conv_general_dilated_p):
        primitive.bind = narrow(primitive.bind)


def differences(found: Numbers, stored: Numbers) -> dict[str, tuple[float, str]]:
    """How far each quantity is from its stored value, relative to that, and where it is farthest.

    Terms by their largest value in the three steps, trees by their norm, maps by their standard
    deviation over pixels, scores by the largest.
    """
    rows = []
    for name, values in stored["terms"].items():
        off = np.abs(np.subtract(found["terms"][name], values)) / (np.abs(values).max() or 1.0)
        rows += [("terms 1", off[0], name), (f"terms 2-{STEPS}", off[1:].max(), name)]
    for step in (1, STEPS):
        if f"state {step}" in stored:  # a method without steps has none
            rows += state_differences(found[f"state {step}"], stored[f"state {step}"], step)
    for when in ("before", "after"):
        now, then = (x[f"prediction {when}"] for x in (found, stored))
        off = np.abs(np.subtract(now["map"], then["map"])).max() / then["map"][1]
        rows.append((f"map {when}", off, f"mean, deviation and projection are {now['map']}"))
        off = np.abs(np.subtract(now["score"], then["score"])).max() / np.abs(then["score"]).max()
        rows.append((f"score {when}", off, f"scores are {now['score']}"))
    return farthest(rows)


def farthest(rows: list[Row]) -> dict[str, tuple[float, str]]:
    """Of each quantity the row that is farthest off; what is not finite is infinitely far."""
    found: dict[str, tuple[float, str]] = {}
    for quantity, off, where in rows:
        off = float(off) if np.isfinite(off) else float("inf")
        found[quantity] = max(found.get(quantity, (-1.0, "")), (off, where))
    return found


def state_differences(found: Numbers, stored: Numbers, step: int) -> list[Row]:
    """A row for each kind of numbers in a state."""
    rows = []
    for kind, sketch in stored.items():
        leaves = found[kind]["leaves"]
        off = np.subtract(list(leaves.values()), sketch["leaves"])
        where = f"{kind}, most in {list(leaves)[int(np.abs(off).argmax())]}"
        rows.append(
            (f"{kind.split()[0]} {step}", np.linalg.norm(off) / (sketch["norm"] or 1.0), where)
        )
    return rows


def text(stored: dict[str, Any]) -> str:
    """As JSON, a line for each quantity."""
    lines = lambda inner, indent: ",\n".join(f"{indent}{json.dumps(k)}: {v}" for k, v in inner)
    methods = [
        (name, "{\n" + lines([(k, json.dumps(v)) for k, v in found.items()], "   ") + "\n  }")
        for name, found in stored["numbers"].items()
    ]
    made = json.dumps(stored["made_with"])
    return f'{{\n "made_with": {made},\n "numbers": {{\n{lines(methods, "  ")}\n }}\n}}\n'


def main(words: Sequence[str]) -> None:
    """Computes, then stores or compares."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounded", type=int, metavar="BITS")
    bits = parser.parse_args(words).rounded
    jax.config.update("jax_platforms", "cpu")
    sys.path.insert(0, str(ROOT / "tests"))
    if bits is not None:
        rounded(bits)
        stored = json.loads(STORED.read_text(encoding="utf-8"))["numbers"]
        for name in DETECTORS:
            for quantity, (off, where) in differences(numbers(subject(name)), stored[name]).items():
                print(f"{name:24}{quantity:16}{off:9.1e}  {where}", flush=True)
        return
    found = {name: compact(numbers(subject(name))) for name in DETECTORS}
    made_with = {"command": COMMAND, **circumstances()}
    STORED.write_text(text({"made_with": made_with, "numbers": found}), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
