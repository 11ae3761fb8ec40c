"""What EfficientAD costs, against the arithmetic it needs.

    python experiments/bench_efficientad.py [--size 256 --medium true ...]

Times one training step, the whole `predict` and the quantile, median of several, and compares them
with their floors: the floating-point operations that the layer tables imply, divided by the rate of
a float32 matrix product measured in the same run. Random weights; nothing is read or written. Takes
a few minutes on two cores, most of them to compile.
"""

import time
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxad import compile
from jaxad.cli import script
from jaxad.cli.options import asked
from jaxad.detector import check_settings, replace
from jaxad.methods import efficientad
from jaxad.nets.autoencoder import steps as decoder_sides
from jaxad.nets.pdn import PDN, cells
from jaxad.ops import quantile
from jaxad.training import fitting

PRODUCT = 4096, 2048, 2048  # rows, columns and inner side of the reference product


def main(words: Sequence[str]) -> None:
    """Prints the table."""
    usage = "python experiments/bench_efficientad.py"
    (cfg,) = asked(words, usage, __doc__, settings=efficientad.Config())
    check_settings(efficientad.DETECTOR, cfg)
    device = jax.devices()[0]
    print(f"jax {jax.__version__} on {device.device_kind} ({device.platform}); {cfg}\n")
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (cfg.batch_size, cfg.size, cfg.size, 3), np.uint8)
    small = jnp.zeros((1, 64, 64, 3))
    teacher = PDN(cfg.medium, cfg.channels, width=cfg.width).init(jax.random.key(1), small)
    pretrained = {cfg.weights[0]: teacher}
    detector = efficientad.DETECTOR

    state = fitting.begun(detector, cfg, pretrained, images, jax.random.key(0))
    predict = compile.predict(detector)
    batch = {"image": images, "aux": images, "index": np.arange(cfg.batch_size, dtype=np.int32)}
    step = compile.train_step(detector)
    key = jax.random.key(2)
    side = cells(cfg.size)
    distance = jnp.asarray(rng.random((side * side * cfg.channels,), np.float32) ** 4)

    def train() -> jax.Array:
        nonlocal state
        state, metrics = step(cfg, pretrained, state, batch, key)
        return metrics["loss"]

    tasks = {
        "product": matrix_product(),
        "train step": train,
        "predict": lambda: predict(cfg, pretrained, state, images).score,
        "quantile": lambda: compile.jit(quantile.mined_mean)(distance, 0.999),
        "sort": lambda: compile.jit(jnp.quantile)(distance, 0.999),
    }
    seconds = interleaved(tasks)
    needed = {"train step": train_flops(cfg), "predict": predict_flops(cfg)}
    print(against_floor(needed, seconds))
    share = cfg.batch_size * seconds["quantile"] / seconds["train step"]
    print(
        f"\nquantile of {distance.size} distances: {1e3 * seconds['quantile']:.1f} ms, "
        f"{100 * share:.1f} % of the step; by sorting: {1e3 * seconds['sort']:.1f} ms"
    )
    compiled = step._cache_size()
    for changed in ({"lr": 3e-4}, {"p_hard": 0.99}):
        state, _ = step(replace(cfg, **changed), pretrained, state, batch, key)
    print(f"recompilations for another lr and p_hard: {step._cache_size() - compiled}")


def interleaved(tasks: dict[str, Callable[[], jax.Array]], rounds: int = 9) -> dict[str, float]:
    """Median seconds of each task; taken in turns, so that a slow spell hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for turn in range(rounds + 2):
        for name, task in tasks.items():
            start = time.perf_counter()
            jax.block_until_ready(task())
            if turn >= 2:  # the first two compile and warm up
                times[name].append(time.perf_counter() - start)
    return {name: float(np.median(series)) for name, series in times.items()}


def matrix_product() -> Callable[[], jax.Array]:
    """The task "product", whose rate is the device's."""
    rng = np.random.default_rng(0)
    rows, inner, columns = PRODUCT
    a, b = (
        jnp.asarray(rng.random(shape, np.float32)) for shape in ((rows, inner), (inner, columns))
    )
    return lambda: compile.jit(jnp.matmul)(a, b)


def against_floor(needed: dict[str, float], seconds: dict[str, float]) -> str:
    """A table of tasks, each with the operations it needs and the seconds it took.

    Args:
      needed: operations by task.
      seconds: of these tasks and of "product".
    """
    rate = 2 * np.prod(PRODUCT) / seconds["product"]
    lines = [
        f"float32 matrix product: {rate / 1e9:.0f} GFLOP/s\n",
        "|  | GFLOP needed | floor | measured | ratio |\n|---|---|---|---|---|",
    ]
    for name, flops in needed.items():
        floor = flops / rate
        lines.append(
            f"| {name} | {flops / 1e9:.1f} | {1e3 * floor:.1f} ms | {1e3 * seconds[name]:.1f} ms "
            f"| {seconds[name] / floor:.2f} |"
        )
    return "\n".join(lines)


def pdn_flops(
    cfg: efficientad.Config, outputs: int, hidden: int, width: int | None
) -> tuple[float, float]:
    """Operations of one forward pass (tables 6 and 7), and those of its first layer."""
    width = width or (256 if cfg.medium else 128)
    first = cfg.size - 3
    second = first // 2 - 3
    third = second // 2
    layers = [(first, 4, 3, width), (second, 4, width, 2 * width)]
    if cfg.medium:
        layers += [
            (third, 1, 2 * width, 2 * width),
            (third - 2, 3, 2 * width, 2 * width),
            (third - 5, 4, 2 * width, hidden),
            (third - 5, 1, hidden, outputs),
        ]
    else:
        layers += [(third - 2, 3, 2 * width, 2 * width), (third - 5, 4, 2 * width, outputs)]
    each = [conv_flops(*layer) for layer in layers]
    return sum(each), each[0]


def autoencoder_flops(cfg: efficientad.Config) -> tuple[float, float]:
    """Operations of one forward pass (table 8), and those of its first layer."""
    narrow, wide, kernel = cfg.autoencoder_width, 2 * cfg.autoencoder_width, cfg.autoencoder_kernel
    widths = [3, narrow, narrow, wide, wide, wide]
    each = [
        conv_flops(cfg.size // 2**i, 4, widths[i - 1], widths[i]) for i in range(1, len(widths))
    ]
    each.append(conv_flops(cfg.size // 32 - kernel + 1, kernel, wide, wide))
    each += [conv_flops(side + 1, 4, wide, wide) for side in decoder_sides(cfg.size)]
    side = cells(cfg.size)
    each += [conv_flops(side, 3, wide, wide), conv_flops(side, 3, wide, cfg.channels)]
    return sum(each), each[0]


def conv_flops(side: int, kernel: int, inputs: int, outputs: int) -> float:
    """Two operations for each product of a convolution with a square output."""
    return 2.0 * side**2 * kernel**2 * inputs * outputs


def train_flops(cfg: efficientad.Config) -> float:
    """Teacher on two images, half a student on three, autoencoder on one; backward costs twice
    forward, but no gradient is needed of the images.
    """
    C = cfg.channels
    teacher, _ = pdn_flops(cfg, C, C, cfg.width)
    student, student_first = pdn_flops(cfg, C, 2 * C, cfg.student_width or cfg.width)
    autoencoder, autoencoder_first = autoencoder_flops(cfg)
    passes = 3 if cfg.penalty else 2
    one = 2 * teacher + passes * (3 * student - student_first)
    return cfg.batch_size * (one + 3 * autoencoder - autoencoder_first)


def predict_flops(cfg: efficientad.Config) -> float:
    """Teacher, whole student and autoencoder on one image each."""
    C = cfg.channels
    teacher, _ = pdn_flops(cfg, C, C, cfg.width)
    student, _ = pdn_flops(cfg, 2 * C, 2 * C, cfg.student_width or cfg.width)
    return cfg.batch_size * (teacher + student + autoencoder_flops(cfg)[0])


if __name__ == "__main__":
    script.run(main)
