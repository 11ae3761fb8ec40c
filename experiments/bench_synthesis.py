"""What synthetic anomalies cost, and what a prediction computes.

    python experiments/bench_synthesis.py [size=256] [batch_size=16] [key=value ...]

1. Synthesis: images/s of the compiled function on a batch; a batch's share of the training step of
   these settings (the paper's by default), of which the operations that the program implies are
   divided by the rate of a float32 matrix product measured in the same run. A real step is slower.
2. Prediction at small settings (`diffusionad.SMALL`): how often the compiled program runs each
   network's first layer, on how many images, for one image; and images/s of one step, of guided
   and of iterative restoration.

Random weights and pictures; nothing is read or written.
"""

import functools
import sys
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxad import compile
from jaxad.detector import State, override
from jaxad.methods import diffusionad

PRODUCT = 4096, 2048, 2048  # rows, inner side and columns of the reference product
RESTORATIONS = (
    ["restoration=one_step"],
    ["restoration=guided"],
    ["restoration=iterative", "iterations=10"],
    ["restoration=iterative", "iterations=100"],
)
BATCH = 8  # of predictions
IMAGE = np.zeros((1, 8, 8, 3), np.uint8)  # initial states read no pictures


def main(*settings: str) -> None:
    """Prints both parts."""
    cfg = override(diffusionad.Config(), settings)
    diffusionad.DETECTOR.check(cfg)
    device = jax.devices()[0]
    print(f"jax {jax.__version__} on {device.device_kind} ({device.platform}); {cfg}\n")
    bench_synthesis(cfg)
    bench_prediction()


def bench_synthesis(cfg: diffusionad.Config) -> None:
    """Images/s, and the share of a training step."""
    batch, key = random_batch(cfg), jax.random.key(0)
    rng = np.random.default_rng(1)
    rows, inner, columns = PRODUCT
    a, b = (jnp.asarray(rng.random(s, np.float32)) for s in ((rows, inner), (inner, columns)))
    seconds = interleaved(
        {
            "synthesis": lambda: compile.jitted(diffusionad.synthetic)(cfg, batch, key).image,
            "product": lambda: compile.jitted(jnp.matmul)(a, b),
        }
    )
    rate = 2 * np.prod(PRODUCT) / seconds["product"]
    flops = step_flops(cfg)
    floor = flops / rate
    print(
        f"synthesis: {cfg.batch_size / seconds['synthesis']:.0f} images/s at {cfg.size} px in "
        f"batches of {cfg.batch_size} ({1e3 * seconds['synthesis']:.0f} ms)\n"
        f"training step: {flops / 1e12:.1f} TFLOP, at least {floor:.1f} s at {rate / 1e9:.0f} "
        f"GFLOP/s; synthesis is at most {100 * seconds['synthesis'] / floor:.2f} % of it\n"
    )


def bench_prediction() -> None:
    """Calls of the networks, and images/s of each restoration."""
    print(f"{diffusionad.SMALL}")
    tasks = {}
    for restoration in RESTORATIONS:
        cfg = override(diffusionad.SMALL, restoration)
        state = diffusionad.init(cfg, {}, IMAGE, jax.random.key(0))._replace(opt=())
        unet, segmentation = network_calls(cfg, state)
        name = ", ".join(setting.partition("=")[2] for setting in restoration)
        print(f"{name}: for one image, U-Net on {unet}, segmentation network on {segmentation}")
        images = np.zeros((BATCH, cfg.size, cfg.size, 3), np.uint8)
        predict = functools.partial(compile.predict(diffusionad.DETECTOR), cfg, {}, state, images)
        tasks[name] = lambda predict=predict: predict().score
    print(f"\n| restoration | images/s, batch {BATCH} |\n|---|---|")
    for name, seconds in interleaved(tasks).items():
        print(f"| {name} | {BATCH / seconds:.1f} |")


def network_calls(cfg: diffusionad.Config, state: State) -> tuple[int, int]:
    """Images that U-Net and segmentation network see in the compiled prediction of one image."""
    image = np.zeros((1, cfg.size, cfg.size, 3), np.uint8)
    predict = compile.predict(diffusionad.DETECTOR)
    return first_layers(predict.lower(cfg, {}, state, image).compile().as_text())


def first_layers(program: str) -> tuple[int, int]:
    """Images that enter the first layers: convolutions of 3 (the U-Net) and of 6 channels."""
    raise NotImplementedError


def random_batch(cfg: diffusionad.Config) -> dict[str, jax.Array]:
    """Pictures and textures of noise, as the compiled step has them."""
    shape = (cfg.batch_size, cfg.size, cfg.size, 3)
    images, textures = jax.random.uniform(jax.random.key(2), (2, *shape))
    return {"image": images, "aux": textures, "foreground": jnp.ones(shape)}


def step_flops(cfg: diffusionad.Config) -> float:
    """Operations of a training step, by XLA's count of what is lowered; nothing is compiled."""
    state = jax.eval_shape(lambda key: diffusionad.init(cfg, {}, IMAGE, key), jax.random.key(0))
    batch = jax.eval_shape(lambda: {**random_batch(cfg), "features": ()})
    step = jax.jit(diffusionad.train_step)
    return step.lower(cfg, {}, state, batch, jax.random.key(1)).cost_analysis()["flops"]


def interleaved(tasks: dict[str, Callable[[], jax.Array]], rounds: int = 7) -> dict[str, float]:
    """Median seconds of each task; taken in turns, so that a slow spell hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for turn in range(rounds + 2):
        for name, task in tasks.items():
            start = time.perf_counter()
            jax.block_until_ready(task())
            if turn >= 2:  # the first two compile and warm up
                times[name].append(time.perf_counter() - start)
    return {name: float(np.median(series)) for name, series in times.items()}


if __name__ == "__main__":
    main(*sys.argv[1:])
