"""What the compile layer's choices are worth on this machine.

    python experiments/bench_compile.py

1. A convolution and its gradients with and without the CPU option of `jaxad.compile`. A ratio near
   1 means that this jaxlib no longer needs it.
2. Gradient steps of a convolution in a host loop and in a scan: why a CPU gets a host loop.
3. The weight gradient of a padded convolution, padded by itself and beforehand.

Takes ten seconds on two cores.
"""

import time
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import lax

from jaxad.cli import script
from jaxad.cli.options import asked
from jaxad.compile import CPU_OPTIONS, compiler_options


def convolve(x: jax.Array, w: jax.Array, padding: int = 0) -> jax.Array:
    """A convolution that pads by itself."""
    pads = [(padding, padding)] * 2
    return lax.conv_general_dilated(x, w, (1, 1), pads, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def padded_before(x: jax.Array, w: jax.Array, padding: int) -> jax.Array:
    """The same, padded beforehand."""
    return convolve(jnp.pad(x, ((0, 0), (padding,) * 2, (padding,) * 2, (0, 0))), w)


def seconds(function: Callable, *arguments: jax.Array, rounds: int = 3) -> float:
    """The fastest of some runs, after one that compiles."""
    best = float("inf")
    for turn in range(rounds + 1):
        start = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        if turn:
            best = min(best, time.perf_counter() - start)
    return best


def main(words: Sequence[str]) -> None:
    """Prints the three comparisons."""
    asked(words, "python experiments/bench_compile.py", __doc__)
    print(f"jax {jax.__version__} on {jax.default_backend()}; options in use: {compiler_options()}")
    keys = jax.random.split(jax.random.key(0), 4)
    x = jax.random.normal(keys[0], (1, 126, 126, 128))
    w = jax.random.normal(keys[1], (4, 4, 128, 256)) * 0.02
    loss = lambda x, w: (convolve(x, w) ** 2).mean()
    for name, function in (("forward", convolve), ("gradients", jax.grad(loss, (0, 1)))):
        plain = seconds(jax.jit(function), x, w)
        print(f"1. convolution, {name}: {1e3 * plain:.0f} ms by default", end="")
        if jax.default_backend() == "cpu" and compiler_options():
            ours = seconds(jax.jit(function, compiler_options=CPU_OPTIONS), x, w)
            print(f", {1e3 * ours:.0f} ms with the option: {plain / ours:.1f} times faster", end="")
        print()

    x, w = jax.random.normal(keys[2], (4, 32, 32, 32)), jax.random.normal(keys[3], (3, 3, 32, 32))
    gradient = jax.grad(lambda w: (convolve(x, w, 1) ** 2).mean())
    once = lambda w: w - 1e-3 * gradient(w)
    step = jax.jit(once, compiler_options=compiler_options())
    scan = jax.jit(
        lambda w: lax.scan(lambda w, _: (once(w), None), w, length=4)[0],
        compiler_options=compiler_options(),
    )

    def loop(w: jax.Array) -> jax.Array:
        for _ in range(4):
            w = step(w)
        return w

    looped, scanned = seconds(loop, w), seconds(scan, w)
    print(
        f"2. four steps: host loop {1e3 * looped:.1f} ms, scan {1e3 * scanned:.1f} ms "
        f"({scanned / looped:.0f} times)"
    )

    x, w = jax.random.normal(keys[2], (1, 64, 64, 32)), jax.random.normal(keys[3], (4, 4, 32, 32))
    for name, function in (("by itself", convolve), ("beforehand", padded_before)):
        gradient = jax.grad(lambda w, f=function: (f(x, w, 2) ** 2).mean())
        taken = seconds(jax.jit(gradient, compiler_options=compiler_options()), w)
        print(f"3. weight gradient, padded {name}: {1e3 * taken:.1f} ms")


if __name__ == "__main__":
    script.run(main)
