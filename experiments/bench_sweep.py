"""What a member of a sweep costs, against runs of their own.

    python experiments/bench_sweep.py [--steps 200 --repeats 3]

1. Eight settings (4 learning rates, 2 p_hard) of a small EfficientAD in one sweep, against eight
   processes one after the other without a compilation cache; imports and compilation included.
2. A step of four members of the whole EfficientAD-S at 256 px, against four times a single step.
3. The same for the small variant, and what `vmap`, `lax.map` and unrolling cost on this device: the
   choice that `compile.steps_of_many` makes for it.

Random pictures and weights; nothing is read or written. Takes about ten minutes on two cores.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxad import compile, sweep
from jaxad.cli import script
from jaxad.cli.options import asked
from jaxad.data.source import Data
from jaxad.detector import State, config, replace, static
from jaxad.methods import efficientad
from jaxad.nets.pdn import PDN
from jaxad.ops.stacked import stack
from jaxad.training import fitting

SMALL = efficientad.Config(
    size=64, autoencoder_kernel=2, autoencoder_width=16, student_width=32, lr=1e-3, p_hard=0.99
)
RATES, SHARES = (3e-4, 1e-3, 2e-3, 3e-3), (0.9, 0.99)
MEMBERS = 4


@config
class Options:
    """Settings of the benchmark."""

    steps: int = static(200, 1)  # of each member of part 1
    repeats: int = static(3, 1)  # of each time that is measured


class Noise:
    """Pictures of noise in memory."""

    has_masks = has_regions = False
    records = ()

    def __init__(self, count: int, size: int):
        """`count` pictures."""
        self.images = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)

    def __len__(self) -> int:
        """How many."""
        return len(self.images)

    def __getitem__(self, index: int) -> dict:
        """A picture."""
        image = self.images[index]
        return {"image": image, "mask": np.zeros_like(image[..., 0]), "label": 0, "index": index}

    def regions(self, index: int) -> list:
        """None."""
        return []


def main(words: Sequence[str]) -> None:
    """Prints three tables."""
    if words[:1] == ["alone"]:
        return alone(*words[1:])
    (options,) = asked(words, "python experiments/bench_sweep.py", __doc__, script=Options())
    device = jax.devices()[0]
    print(f"jax {jax.__version__} on {device.device_kind} ({device.platform})\n")
    whole_sweep(options)
    print("\n| four members | four single steps | members at once | ratio |\n|---|---|---|---|")
    for name, cfg in (("S, 256 px", efficientad.Config()), ("small, 64 px", SMALL)):
        single, together = four_members(cfg, options.repeats)
        print(
            f"| {name} | {MEMBERS * single * 1e3:.0f} ms | {together * 1e3:.0f} ms "
            f"| {together / single / MEMBERS:.2f} |",
            flush=True,
        )
    print("\n| four members, small, in one program | against four single steps |\n|---|---|")
    for name, ratio in other_ways(options.repeats).items():
        print(f"| {name} | {ratio:.2f} |", flush=True)


def whole_sweep(options: Options) -> None:
    """Part 1."""
    command = [sys.executable, __file__, "alone", str(options.steps)]
    rates, shares = (",".join(map(str, values)) for values in (RATES, SHARES))
    one = clock(lambda: subprocess.run([*command, rates, shares], check=True))
    several = clock(
        lambda: [
            subprocess.run([*command, str(lr), str(p_hard)], check=True)
            for lr in RATES
            for p_hard in SHARES
        ]
    )
    print(f"8 settings, {options.steps} steps, small: one sweep {one:.0f} s, ", end="")
    print(f"8 processes {several:.0f} s, ratio {one / several:.2f}", flush=True)


def alone(steps: str, rates: str, shares: str) -> None:
    """What a process of part 1 does: a sweep of the given values, one or many."""
    cfg = replace(SMALL, steps=int(steps))
    data = Data(Noise(32, cfg.size), Noise(4, cfg.size), streams={"aux": Noise(32, cfg.size)})
    settings = {"lr": rates.split(","), "p_hard": shares.split(",")}
    configs = sweep.grid(cfg, **{name: list(map(float, x)) for name, x in settings.items()})
    key = jax.random.key(0)
    if len(configs) == 1:
        done = fitting.fit(efficientad.DETECTOR, configs[0], teacher(cfg), data, key)
    else:
        done = sweep.fit(efficientad.DETECTOR, configs, teacher(cfg), data, key[None])
    jax.block_until_ready(done)


def four_members(cfg: efficientad.Config, repeats: int) -> tuple[float, float]:
    """Seconds of a single step, and of one step of four members; their turns interleave."""
    configs, states, batch, keys = ready(cfg)
    single = jax.tree.map(jnp.copy, states[0])
    together = stack(states)
    del states
    step, pretrained = compile.train_step(efficientad.DETECTOR), teacher(cfg)

    def once() -> None:
        nonlocal single
        single, _ = step(configs[0], pretrained, single, batch, keys[0])
        jax.block_until_ready(single)

    def all_members() -> None:
        nonlocal together
        together, _ = compile.steps_of_many(
            efficientad.DETECTOR, configs, pretrained, together, [[batch] * MEMBERS], keys
        )
        jax.block_until_ready(together)

    once(), all_members()
    times = [(clock(once), clock(all_members), clock(once)) for _ in range(repeats)]
    before, members, after = np.median(times, 0)
    return float(before + after) / 2, float(members)


def other_ways(repeats: int) -> dict[str, float]:
    """Four members in one program, as ratios to four single steps."""
    configs, states, batch, keys = ready(SMALL)
    # Arguments, not constants: XLA would compute the teacher's features while it compiles.
    shared = teacher(SMALL), jax.tree.map(jnp.asarray, batch)
    stacked = stack(configs), stack(states), jnp.stack(keys)

    def step(shared: tuple, cfg: efficientad.Config, state: State, key: jax.Array) -> State:
        pretrained, batch = shared
        return compile.step(efficientad.DETECTOR, cfg, pretrained, state, batch, key)[0]

    axes = (None, 0, 0, 0)
    ways: dict[str, Callable] = {
        "vmap": compile.TOGETHER.each(step, axes),
        "lax.map": lambda shared, *stacked: jax.lax.map(lambda row: step(shared, *row), stacked),
        "lax.map, two at once": lambda shared, *stacked: jax.lax.map(
            lambda row: step(shared, *row), stacked, batch_size=2
        ),
        "unrolled": compile.IN_TURNS.each(step, axes),
    }
    one = compile.jit(step)
    row = shared, configs[0], states[0], keys[0]
    jax.block_until_ready(one(*row))
    ratios = {}
    for name, way in ways.items():
        compiled = compile.jit(way)
        run = lambda compiled=compiled: jax.block_until_ready(compiled(shared, *stacked))
        run()
        times = [
            (clock(lambda: jax.block_until_ready(one(*row))), clock(run)) for _ in range(repeats)
        ]
        single, several = np.median(times, 0)
        ratios[name] = float(several / single / MEMBERS)
    return ratios


def ready(cfg: efficientad.Config) -> tuple[tuple, list[State], dict, list[jax.Array]]:
    """Settings, states, one batch, keys."""
    configs = sweep.grid(cfg, lr=RATES)
    images = Noise(4, cfg.size).images
    keys = list(jax.random.split(jax.random.key(0), MEMBERS))
    begun = partial(fitting.begun, efficientad.DETECTOR, cfg, teacher(cfg), images)
    image = images[: cfg.batch_size]
    batch = {"image": image, "aux": image, "index": np.arange(cfg.batch_size, dtype=np.int32)}
    return configs, [begun(key) for key in keys], batch, keys


def teacher(cfg: efficientad.Config) -> dict:
    """A teacher of random weights."""
    image = jnp.zeros((1, 64, 64, 3))
    return {cfg.weights[0]: PDN(cfg.medium, cfg.channels).init(jax.random.key(1), image)}


def clock(run: Callable) -> float:
    """Seconds."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


if __name__ == "__main__":
    script.run(main)
