"""What distillation costs on this machine, against the arithmetic it needs.

    python experiments/bench_distillation.py [--students 3 --steps 20 ...]

1. A training step of an STFPM student (ResNet-18 to its third stage, 256 px, a batch of 8) on
   cached features of the teacher, against its floor: the operations of its convolutions over the
   rate of a float32 matrix product in the same run. Settings are STFPM's.
2. The students of Uninformed Students trained as one ensemble, against one process for each:
   imports and compilation included.

`--steps` are those of each student of the second part. Random weights and pictures; nothing is read
or written. Takes a few minutes on two cores.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from bench_efficientad import against_floor, interleaved, matrix_product
from jaxtyping import PyTree

from jaxad import compile
from jaxad.cli import script
from jaxad.cli.options import asked
from jaxad.detector import config, replace, static
from jaxad.methods import stfpm, uninformed_students
from jaxad.nets import extractors
from jaxad.nets.patch_network import PatchNetwork
from jaxad.training import fitting

STUDENT = stfpm.Config(extractor="resnet18", weights=("random",), batch_size=8, steps=20)
ENSEMBLE = uninformed_students.Config(size=128, weights=("random",), dense=False)
PATCH = 33


@config
class Options:
    """Settings of the benchmark."""

    students: int = static(3, 1)  # of the ensemble


def main(words: Sequence[str]) -> None:
    """Prints both comparisons."""
    if words[:1] == ["alone"]:
        return alone(*map(int, words[1:]))
    usage = "python experiments/bench_distillation.py"
    options, cfg = asked(words, usage, __doc__, script=Options(), settings=STUDENT)
    device = jax.devices()[0]
    print(f"jax {jax.__version__} on {device.device_kind} ({device.platform}); {cfg}\n")
    student_step(cfg)
    ensemble(options.students, cfg.steps)


def student_step(cfg: stfpm.Config) -> None:
    """Part 1."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (cfg.batch_size, cfg.size, cfg.size, 3), np.uint8)
    network = extractors.extractor(cfg.extractor).network({})
    image = jnp.zeros((1, cfg.size, cfg.size, 3))
    pretrained = {"random": jax.jit(network.init)(jax.random.key(1), image)}
    state = fitting.begun(stfpm.DETECTOR, cfg, pretrained, images, jax.random.key(0))
    features = compile.of_pictures(stfpm.embed)(cfg, pretrained, images)
    batch = {
        "image": images,
        "index": np.arange(cfg.batch_size, dtype=np.int32),
        "features": jax.tree.map(lambda x: np.asarray(x, np.float16), features),
    }
    step, key = compile.train_step(stfpm.DETECTOR), jax.random.key(2)

    def train() -> jax.Array:
        nonlocal state
        state, metrics = step(cfg, pretrained, state, batch, key)
        return metrics["loss"]

    seconds = interleaved({"product": matrix_product(), "student step": train})
    print(against_floor({"student step": student_flops(cfg)}, seconds))


def student_flops(cfg: stfpm.Config) -> float:
    """Forward, and backward at twice the cost, but no gradient is needed of the images."""
    network = extractors.extractor(cfg.extractor).network({})
    image = jax.ShapeDtypeStruct((cfg.batch_size, cfg.size, cfg.size, 3), "float32")
    variables = jax.eval_shape(network.init, jax.random.key(0), image)
    each = convolution_flops(network.apply, variables, image)
    return 3 * sum(each) - each[0]


def convolution_flops(function: Callable, *arguments: PyTree) -> list[float]:
    """Two operations for each product of every convolution in a function, in their order."""

    def found(equations: Sequence) -> Iterator[float]:
        for equation in equations:
            if equation.primitive.name == "conv_general_dilated":
                (result,), kernel = equation.outvars, equation.invars[1].aval.shape
                outputs = kernel[equation.params["dimension_numbers"].rhs_spec[0]]
                yield 2.0 * np.prod(result.aval.shape) * np.prod(kernel) / outputs
            for inner in equation.params.values():
                if hasattr(inner, "jaxpr"):
                    yield from found(inner.jaxpr.eqns)

    return list(found(jax.make_jaxpr(function)(*arguments).eqns))


def ensemble(students: int, steps: int) -> None:
    """Part 2."""
    command = [sys.executable, __file__, "alone"]
    run = lambda count: subprocess.run([*command, str(count), str(steps)], check=True)
    together = clock(lambda: run(students))
    apart = clock(lambda: [run(1) for _ in range(students)])
    print(
        f"\n{students} students, {steps} steps, {ENSEMBLE.size} px, patches of "
        f"{PATCH}: one ensemble {together:.1f} s, {students} processes {apart:.1f} s, "
        f"ratio {together / apart:.2f}"
    )


def alone(students: int, steps: int) -> None:
    """What a process of part 2 does."""
    cfg = replace(ENSEMBLE, students=students, steps=steps)
    teacher = PatchNetwork(PATCH).init(jax.random.key(1), jnp.zeros((1, PATCH, PATCH, 3)))
    pretrained = {"random": teacher}
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (cfg.batch_size, cfg.size, cfg.size, 3), np.uint8)
    batch = {"image": images, "index": np.arange(cfg.batch_size, dtype=np.int32)}
    detector, keys = uninformed_students.DETECTOR, jax.random.split(jax.random.key(0))
    state = fitting.begun(detector, cfg, pretrained, images, keys[0])
    state, _ = compile.steps(detector, cfg, pretrained, state, [batch] * steps, keys[1])
    jax.block_until_ready(state)


def clock(run: Callable) -> float:
    """Seconds."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


if __name__ == "__main__":
    script.run(main)
