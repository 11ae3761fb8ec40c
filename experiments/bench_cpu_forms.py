"""Which forms of `jaxad.nets.cpu` a CPU still needs: each against its library's form.

    python experiments/bench_cpu_forms.py [OUT.json]

Both run in turns, forward and gradient, at shapes that the networks here have; the best of several
turns counts. The ratio is the CPU form's time over the plain one's: 0.1 means that the CPU form is
ten times as fast. A form whose ratios are all at least 0.9 is no longer needed, and a line says so.
Takes two minutes on two cores. Look at `uptime` first: a busy neighbour moves ratios too.
"""

import functools
import os
import pathlib
import time
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxad.cli import script
from jaxad.cli.options import asked, expected, leading
from jaxad.compile import compiler_options
from jaxad.nets.cpu import FORMS, Form
from jaxad.nets.transformer import dropped
from jaxad.sweep.table import circumstances
from jaxad.training.record import write_json

TURNS, SECONDS = 30, 20.0  # of one comparison, whichever is reached first; two turns at least
AS_FAST = 0.9

Shape = tuple[int, ...]
NHWC = lax.ConvDimensionNumbers((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2))


def convolved(form: Callable, x: jax.Array, kernel: jax.Array, padding: int = 0) -> jax.Array:
    """A convolution of stride 1."""
    return form(x, kernel, (1, 1), ((padding, padding),) * 2, dimension_numbers=NHWC)


def depthwise(side: int, stride: int = 1) -> Callable:
    """A depthwise convolution whose kernel has this side, with half of it as padding."""

    def by(form: Callable, x: jax.Array, kernel: jax.Array) -> jax.Array:
        sides = ((side // 2,) * 2,) * 2
        options = {"dimension_numbers": NHWC, "feature_group_count": x.shape[-1]}
        return form(x, kernel, (stride, stride), sides, **options)

    return by


def padded(padding: int) -> Callable:
    """A convolution with so much padding."""
    return lambda form, x, kernel: convolved(form, x, kernel, padding)


def attended(form: Callable, q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    """Attention without dropout, from queries, keys and values."""
    return form(jnp.einsum("bqhd,bkhd->bhqk", q, k) / q.shape[-1] ** 0.5, v, lambda x: x)


def attended_with_dropout(form: Callable, q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    """The same with dropout, whose random bytes both forms draw."""
    drop = lambda weights: dropped(weights, 0.1, jax.random.key(0))
    return form(jnp.einsum("bqhd,bkhd->bhqk", q, k) / q.shape[-1] ** 0.5, v, drop)


def last_layers(form: Callable, x: jax.Array, *kernels: jax.Array) -> jax.Array:
    """What follows the second convolution of a network of 17-pixel patches."""

    def layers(x: jax.Array) -> jax.Array:
        for kernel in kernels:
            x = jax.nn.leaky_relu(convolved(lax.conv_general_dilated, x, kernel))
        return x

    return form(layers, x)


def normalised(form: Callable, *arrays: jax.Array) -> jax.Array:
    """Batch norm in training."""
    return form(*arrays, 1e-5)[0]


def group_normalised(form: Callable, x: jax.Array) -> jax.Array:
    """Group norm by 32 groups, but for scale and bias."""
    centred = x - form(x, 32)
    return centred * lax.rsqrt(form(jnp.square(centred), 32) + 1e-5)


CASES: tuple[tuple[str, str, Callable, tuple[Shape, ...]], ...] = (
    ("conv", "EfficientAD's decoder: k 4, pad 2", padded(2), ((1, 63, 63, 64), (4, 4, 64, 64))),
    ("conv", "padded PDN: k 4, pad 3", padded(3), ((1, 32, 32, 128), (4, 4, 128, 256))),
    ("depthwise", "EfficientNet, stage3: 5 x 5", depthwise(5), ((8, 32, 32, 240), (5, 5, 1, 240))),
    ("depthwise", "MobileNetV2, first: 3 x 3", depthwise(3), ((8, 128, 128, 32), (3, 3, 1, 32))),
    ("depthwise", "its second: 3 x 3, stride 2", depthwise(3, 2),
     ((8, 128, 128, 96), (3, 3, 1, 96))),
    ("max_pool", "ResNet's stem: 3 x 3, stride 2", lambda form, x: form(x, 3, 2, 1),
     ((8, 128, 128, 64),)),
    ("max_pool", "cloner: 2 x 2, stride 2", lambda form, x: form(x, 2, 2, 0), ((8, 64, 64, 64),)),
    ("batch_norm", "ResNet, layer1", normalised, ((8, 64, 64, 64), (64,), (64,))),
    ("batch_norm", "ResNet, layer3", normalised, ((8, 16, 16, 256), (256,), (256,))),
    ("group_mean", "U-Net, first level", group_normalised, ((2, 64, 64, 64),)),
    ("group_mean", "U-Net, last level", group_normalised, ((2, 16, 16, 256),)),
    ("gathered", "UniAD: 8 heads of 32 channels", attended, ((8, 196, 8, 32),) * 3),
    ("gathered", "UniAD: the same with dropout", attended_with_dropout, ((8, 196, 8, 32),) * 3),
    ("smallest", "64 patches of 17 px", last_layers,
     ((64, 8, 8, 256), (5, 5, 256, 256), (4, 4, 256, 128))),
)  # fmt: skip


def main(words: Sequence[str]) -> None:
    """Times, prints, stores."""
    places, rest = leading(words)
    asked(rest, "python experiments/bench_cpu_forms.py [OUT.json]", __doc__)
    outs = expected(places, "OUT.json") if places else []
    print(f"jax {jax.__version__} on {jax.default_backend()}, load {os.getloadavg()[0]:.1f}")
    print(f"{'':48}{'':10}{'plain ms':>10}{'CPU ms':>10}{'ratio':>8}")
    rows, load = [], os.getloadavg()
    for name in FORMS:
        rows += (found := measured(name))
        for row in found:
            label = f"{name:12}{row['case']:36}{row['part']:10}"
            print(f"{label}{row['plain_ms']:10.2f}{row['cpu_ms']:10.2f}{row['ratio']:8.2f}")
        if not needed(found):
            print("  delete: replace the Form in jaxad/nets/cpu.py by its plain function")
    for out in map(pathlib.Path, outs):
        found = {
            "turns": TURNS,
            "seconds": SECONDS,
            "rows": rows,
            "needed": {name: needed([r for r in rows if r["form"] == name]) for name in FORMS},
            "hardware": {"processor": processor(), "cores": os.cpu_count(), "load_before": load},
            "compiler_options": compiler_options(),
            "made_with": circumstances(),
        }
        out.parent.mkdir(parents=True, exist_ok=True)
        write_json(out, found)


def measured(name: str) -> list[dict]:
    """Forward and gradient of each case of a form, in both forms."""
    rows = []
    for form, label, function, shapes in CASES:
        if form == name:
            for part, (plain, fast) in seconds(FORMS[name], function, shapes).items():
                row = {"form": name, "case": label, "shapes": shapes, "part": part}
                rows.append(
                    {**row, "plain_ms": 1e3 * plain, "cpu_ms": 1e3 * fast, "ratio": fast / plain}
                )
    return rows


def seconds(form: Form, function: Callable, shapes: tuple[Shape, ...]) -> dict[str, list[float]]:
    """What the plain form and the CPU form take of each part."""
    rng = np.random.default_rng(0)
    arrays = [jnp.asarray(rng.standard_normal(shape), jnp.float32) for shape in shapes]
    forward = [functools.partial(function, one) for one in form]
    shape = jax.eval_shape(forward[0], *arrays).shape
    weight = jnp.asarray(rng.standard_normal(shape), jnp.float32)
    backward = [functools.partial(gradient, one) for one in forward]
    return {"forward": in_turns(forward, arrays), "gradient": in_turns(backward, [weight, *arrays])}


def gradient(function: Callable, weight: jax.Array, *arrays: jax.Array) -> tuple[jax.Array, ...]:
    """What a training step needs of a layer: the gradients of its weighed values."""
    return jax.vjp(function, *arrays)[1](weight)


def in_turns(functions: list[Callable], arrays: list[jax.Array]) -> list[float]:
    """The fastest run of each, in seconds, after one that compiles."""
    programs = [jax.jit(function, compiler_options=compiler_options()) for function in functions]
    for program in programs:
        jax.block_until_ready(program(*arrays))
    best, end = [float("inf")] * len(programs), time.perf_counter() + SECONDS
    for turn in range(TURNS):
        if turn >= 2 and time.perf_counter() > end:
            break
        for i, program in enumerate(programs):
            start = time.perf_counter()
            jax.block_until_ready(program(*arrays))
            best[i] = min(best[i], time.perf_counter() - start)
    return best


def needed(rows: list[dict]) -> bool:
    """Whether the CPU form wins anywhere."""
    return any(row["ratio"] < AS_FAST for row in rows)


def processor() -> str:
    """What the system calls it."""
    info = pathlib.Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), "unknown")


if __name__ == "__main__":
    script.run(main)
