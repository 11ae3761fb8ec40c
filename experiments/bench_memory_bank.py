"""How long it takes to choose a memory bank and to search it: `jaxad.ops.coreset`, `neighbours`.

    python experiments/bench_memory_bank.py [OUT.json] [--vectors 200000 --chosen 10000 ...]

1. Selection of a coreset from many vectors: seconds without compilation, the covering radius (the
   largest distance of a vector to what was chosen), and the process's largest memory.
2. The same on fewer vectors beside the plain rule, which reads all vectors for each choice:
   seconds, radii, and how many choices agree before rounding parts them. The plain rule at full
   size, `--plain-vectors 200000 --plain-chosen 10000`, takes minutes.
3. Search of 1024 queries in the bank beside the bare product of both, and beside
   `torch.cdist(q, m).min(1)` where torch is at hand: in this Python or in that of `--torch-python`.
   They take turns, torch in a process of its own, and the fastest run of each counts.

Random vectors; takes half a minute on two cores. Look at `uptime` first: a neighbour moves ratios.
"""

import functools
import importlib.util
import os
import pathlib
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxad import compile
from jaxad.cli import script
from jaxad.cli.options import asked, expected, leading
from jaxad.detector import config, static
from jaxad.ops import coreset, neighbours
from jaxad.sweep.table import circumstances
from jaxad.training.record import write_json

TORCH = """
import sys, time, torch
queries, rows, width = map(int, sys.argv[1:])
queries, rows = torch.randn(queries, width), torch.randn(rows, width)
for line in sys.stdin:
    start = time.perf_counter()
    torch.cdist(queries, rows).min(1)
    print(time.perf_counter() - start, flush=True)
"""


@config
class Options:
    """Settings of the benchmark."""

    vectors: int = static(200_000, 1)  # to choose from
    chosen: int = static(10_000, 1)  # rows of the bank
    width: int = static(152, 1)  # numbers in each; as of EfficientNet-Lite0's stages 3 and 5
    queries: int = static(1024, 1)
    candidates: int = static(2048, 1)  # of `coreset.greedy`
    plain_vectors: int = static(50_000, 1)  # of the comparison with the plain rule
    plain_chosen: int = static(2_000, 1)
    rounds: int = static(15, 1)  # of the search
    torch_python: str | None = static(None)  # a Python that has torch; none for this one


def main(words: Sequence[str]) -> None:
    """Measures, prints, stores."""
    places, rest = leading(words)
    usage = "python experiments/bench_memory_bank.py [OUT.json]"
    (options,) = asked(rest, usage, __doc__, script=Options())
    outs = expected(places, "OUT.json") if places else []
    load = os.getloadavg()
    print(f"jax {jax.__version__} on {jax.default_backend()}, load {load[0]:.1f}")
    found = {"selection": selection(options), "plain": beside_plain(options)}
    found["search"] = search(options)
    for out in map(pathlib.Path, outs):
        made_with = {"load_before": load, "cores": os.cpu_count(), **circumstances()}
        settings = {name: x for name, x in vars(options).items() if name != "torch_python"}
        write_json(out, {**settings, **found, "made_with": made_with})


def mixture(count: int, width: int) -> jax.Array:
    """Vectors of 300 kinds, each of few dimensions and a scale of its own, as features are."""
    rng, kinds = np.random.default_rng(0), 300
    parts = []
    for size in rng.multinomial(count, np.full(kinds, 1 / kinds)):
        centre, scale = rng.standard_normal(width), np.exp(rng.standard_normal() / 2)
        directions = scale * rng.standard_normal((8, width)) / 8
        vectors = centre + rng.standard_normal((size, 8)) @ directions
        parts.append(np.float32(vectors + 0.05 * rng.standard_normal((size, width))))
    return jnp.asarray(rng.permutation(np.concatenate(parts)))


def greedy(vectors: jax.Array, size: int, candidates: int) -> coreset.Coreset:
    """The library's selection, which begins with the first row."""
    first = coreset.from_row(0, len(vectors))
    return coreset.greedy(vectors, size, first, candidates=candidates)


def plain(vectors: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
    """The plain rule from the first row: what is chosen, and the covering radius."""
    vectors = vectors - vectors.mean(0)
    squares = jnp.square(vectors).sum(1)

    def choose(i: jax.Array, carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        indexes, distances, farthest = carry
        new = squares + squares[farthest] - 2 * vectors @ vectors[farthest]
        distances = jnp.minimum(distances, new).at[farthest].set(0)
        return indexes.at[i].set(farthest), distances, jnp.argmax(distances).astype(jnp.int32)

    start = jnp.zeros(size, jnp.int32), jnp.full(len(vectors), jnp.inf), jnp.int32(0)
    indexes, distances, _ = jax.lax.fori_loop(0, size, choose, start)
    return indexes, jnp.sqrt(distances.max())


def timed(function: Callable, vectors: jax.Array) -> tuple[float, Any]:
    """Seconds without compilation, and the result."""
    program = compile.jit(function).lower(vectors).compile()
    start = time.perf_counter()
    result = jax.block_until_ready(program(vectors))
    return time.perf_counter() - start, result


def selection(options: Options) -> dict:
    """Part 1."""
    vectors = mixture(options.vectors, options.width)
    choose = functools.partial(greedy, size=options.chosen, candidates=options.candidates)
    seconds, chosen = timed(choose, vectors)
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9  # Linux: KiB
    radius = float(chosen.radius)
    print(
        f"{chosen.count} of {options.vectors} x {options.width}: {seconds:.1f} s, "
        f"radius {radius:.4f}, {resident:.2f} GB at most"
    )
    return {"seconds": seconds, "radius": radius, "resident_gb": resident}


def beside_plain(options: Options) -> dict:
    """Part 2."""
    size, vectors = options.plain_chosen, mixture(options.plain_vectors, options.width)
    choose = functools.partial(greedy, size=size, candidates=options.candidates)
    seconds, chosen = timed(choose, vectors)
    plain_seconds, (indexes, radius) = timed(functools.partial(plain, size=size), vectors)
    agreeing = int(np.argmin(np.append(np.asarray(chosen.indexes) == indexes, False)))
    print(
        f"{size} of {options.plain_vectors}: {seconds:.2f} s, radius {chosen.radius:.5f}; "
        f"plain rule {plain_seconds:.2f} s, radius {radius:.5f}; {agreeing} choices agree"
    )
    return {
        "seconds": seconds,
        "radius": float(chosen.radius),
        "plain_seconds": plain_seconds,
        "plain_radius": float(radius),
        "agreeing": agreeing,
    }


def search(options: Options) -> dict[str, float]:
    """Part 3: the fastest run of each, in seconds."""
    rng = np.random.default_rng(0)
    draw = lambda count: jnp.asarray(rng.standard_normal((count, options.width)), jnp.float32)
    queries, rows = draw(options.queries), draw(options.chosen)
    bank = compile.jit(neighbours.bank)(rows)
    product = compile.jit(lambda queries, rows: queries @ rows.T)
    nearest = compile.jit(neighbours.nearest)
    tasks = {
        "product": lambda: product(queries, rows).block_until_ready(),
        "nearest": lambda: nearest(bank, queries).block_until_ready(),
    }
    best = dict.fromkeys(tasks, float("inf"))
    sizes = [str(x) for x in (options.queries, options.chosen, options.width)]
    torch = in_torch(TORCH, sizes, options.torch_python)
    for _ in range(options.rounds + 1):  # the first compiles; its times are never the fastest
        for name, task in tasks.items():
            start = time.perf_counter()
            task()
            best[name] = min(best[name], time.perf_counter() - start)
        if torch is not None:
            best["torch"] = min(best.get("torch", float("inf")), torch())
    print(f"{options.queries} queries among {options.chosen} x {options.width}:")
    for name, seconds in best.items():
        print(f"  {name}: {1e3 * seconds:.1f} ms, {seconds / best['product']:.2f} of the product")
    return best


def in_torch(code: str, arguments: Sequence[str], python: str | None) -> Callable[[], float] | None:
    """A function that runs a task in torch and gives its seconds; None without torch.

    Args:
      code: of a process that does the task for every line it reads, and prints its seconds.
      arguments: of the process.
      python: one that has torch; None for this one, if it has.
    """
    if python is None and importlib.util.find_spec("torch") is None:
        return None
    child = subprocess.Popen(
        [python or sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdin is not None
    assert child.stdout is not None
    stdin, stdout = child.stdin, child.stdout

    def run() -> float:
        stdin.write("\n")
        stdin.flush()
        return float(stdout.readline())

    return run


if __name__ == "__main__":
    script.run(main)
