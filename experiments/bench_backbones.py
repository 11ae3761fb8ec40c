"""Frozen networks beside PyTorch's, and a whole prediction of PatchCore beside EfficientAD-S's.

    python experiments/bench_backbones.py [OUT.json] [--torch-python PYTHON ...]

1. Forward pass of EfficientNet-Lite0, Lite2 and MobileNetV2 up to their last convolution, 8
   pictures of 256 pixels, beside the same layers in torch (eager, channels last, inference mode)
   where torch is at hand: in this Python or in that of `--torch-python`.
2. `predict` of one picture: PatchCore with Lite0 and a full bank, and EfficientAD-S.

Random weights. They take turns, torch in a process of its own, and the fastest run of each counts.
Takes two minutes on two cores. Look at `uptime` first: a neighbour moves ratios.
"""

import json
import os
import pathlib
import time
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from bench_memory_bank import in_torch

from jaxad import compile
from jaxad.cli import script
from jaxad.cli.options import asked, expected, leading
from jaxad.detector import config, static
from jaxad.methods import efficientad, patchcore
from jaxad.nets import efficientnet_lite, mobilenet
from jaxad.nets.pdn import PDN
from jaxad.sweep.table import circumstances
from jaxad.training.record import write_json

TORCH = """
import json, sys, time, torch
from torch import nn

def conv(inputs, outputs, kernel, stride=1, groups=1):
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)

class Block(nn.Module):
    def __init__(self, inputs, expansion, outputs, kernel, stride):
        super().__init__()
        inner, layers = inputs * expansion, []
        if expansion != 1:
            layers += [conv(inputs, inner, 1), nn.BatchNorm2d(inner), nn.ReLU6(True)]
        layers += [conv(inner, inner, kernel, stride, inner), nn.BatchNorm2d(inner), nn.ReLU6(True)]
        self.layers = nn.Sequential(*layers, conv(inner, outputs, 1), nn.BatchNorm2d(outputs))
        self.shortcut = stride == 1 and inputs == outputs
    def forward(self, x):
        return x + self.layers(x) if self.shortcut else self.layers(x)

blocks, count, size = json.loads(sys.argv[1]), *map(int, sys.argv[2:])
layers, inputs = [conv(3, 32, 3, 2), nn.BatchNorm2d(32), nn.ReLU6(True)], 32
for expansion, outputs, kernel, stride in blocks:
    layers.append(Block(inputs, expansion, outputs, kernel, stride))
    inputs = outputs
layers += [conv(inputs, 1280, 1), nn.BatchNorm2d(1280), nn.ReLU6(True)]
network = nn.Sequential(*layers).eval().to(memory_format=torch.channels_last)
images = torch.rand(count, 3, size, size).to(memory_format=torch.channels_last)
with torch.inference_mode():
    for line in sys.stdin:
        start = time.perf_counter()
        network(images)
        print(time.perf_counter() - start, flush=True)
"""

Blocks = list[tuple[int, int, int, int]]  # expansion, channels, kernel, stride


@config
class Options:
    """Settings of the benchmark."""

    pictures: int = static(8, 1)  # of a forward pass
    size: int = static(256, 256)  # their side in pixels; EfficientAD needs as many
    rounds: int = static(12, 1)
    torch_python: str | None = static(None)  # a Python that has torch; none for this one


def main(words: Sequence[str]) -> None:
    """Measures, prints, stores."""
    places, rest = leading(words)
    usage = "python experiments/bench_backbones.py [OUT.json]"
    (options,) = asked(rest, usage, __doc__ or "", script=Options())
    outs = expected(places, "OUT.json") if places else []
    load = os.getloadavg()
    print(f"jax {jax.__version__} on {jax.default_backend()}, load {load[0]:.1f}")
    found = {"forward": forward(options), "predict": predict(options)}
    for out in map(pathlib.Path, outs):
        made_with = {"load_before": load, "cores": os.cpu_count(), **circumstances()}
        settings = {name: x for name, x in vars(options).items() if name != "torch_python"}
        write_json(out, {**settings, **found, "made_with": made_with})


def networks() -> dict[str, tuple[Callable, Blocks]]:
    """{name: the module and its blocks}."""
    found = {}
    for variant in ("lite0", "lite2"):
        width, depth, _ = efficientnet_lite.SCALING[variant]
        blocks = [
            (stage.expansion, stage.channels, stage.kernel, stage.stride if i == 0 else 1)
            for stage in efficientnet_lite.stages(width, depth)
            for i in range(stage.blocks)
        ]
        found[f"efficientnet_{variant}"] = efficientnet_lite.efficientnet_lite(variant), blocks
    blocks = [
        (expansion, channels, 3, stride if i == 0 else 1)
        for expansion, channels, count, stride in mobilenet.STAGES
        for i in range(count)
    ]
    return {**found, "mobilenet_v2": (mobilenet.MobileNetV2(), blocks)}


def forward(options: Options) -> dict[str, dict[str, float]]:
    """Part 1: the fastest run of each, in seconds."""
    shape = (options.pictures, options.size, options.size, 3)
    images = jnp.asarray(np.random.default_rng(0).random(shape, np.float32))
    found = {}
    for name, (module, blocks) in networks().items():
        variables = jax.jit(module.init)(jax.random.key(0), images[:1])
        run = compile.jit(lambda variables, x, module=module: module.apply(variables, x)["head"])
        tasks = {
            "jax": lambda run=run, variables=variables: run(variables, images).block_until_ready()
        }
        found[name] = fastest(tasks, options, torch_of(options, blocks))
        said = f"{name}, {options.pictures} pictures: {1e3 * found[name]['jax']:.0f} ms"
        if "torch" in found[name]:
            torch = found[name]["torch"]
            said += f", torch {1e3 * torch:.0f}, ratio {found[name]['jax'] / torch:.2f}"
        print(said)
    return found


def predict(options: Options) -> dict[str, float]:
    """Part 2: the fastest run of each, in seconds."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (1, options.size, options.size, 3), np.uint8)
    small = jnp.zeros((1, 64, 64, 3))

    cfg = patchcore.Config(size=options.size)
    module = efficientnet_lite.efficientnet_lite("lite0")
    lite = {cfg.weights[0]: jax.jit(module.init)(jax.random.key(0), small)}
    bank = patchcore.DETECTOR.init(cfg, lite, jax.random.key(0))
    rows = jnp.asarray(rng.standard_normal(bank.stats.rows.shape, np.float32))
    full = bank._replace(stats=bank.stats._replace(rows=rows, count=jnp.int32(len(rows))))

    of_ead = efficientad.Config(size=options.size)
    teacher = {
        of_ead.weights[0]: jax.jit(PDN(channels=of_ead.channels).init)(jax.random.key(1), small)
    }
    state = efficientad.DETECTOR.init(of_ead, teacher, jax.random.key(0))._replace(opt=())

    one, other = (compile.predict(x.DETECTOR) for x in (patchcore, efficientad))
    tasks = {
        "patchcore": lambda: jax.block_until_ready(one(cfg, lite, full, image)),
        "efficientad": lambda: jax.block_until_ready(other(of_ead, teacher, state, image)),
    }
    found = fastest(tasks, options, None)
    ratio = found["patchcore"] / found["efficientad"]
    text = "  ".join(f"{name} {1e3 * seconds:.1f} ms" for name, seconds in found.items())
    print(f"predict, one picture: {text}, ratio {ratio:.2f}")
    return found


def fastest(
    tasks: dict[str, Callable], options: Options, torch: Callable[[], float] | None
) -> dict[str, float]:
    """The fastest of several runs in turns; the first compiles, and is never the fastest."""
    best = dict.fromkeys(tasks, float("inf"))
    for _ in range(options.rounds + 1):
        for name, task in tasks.items():
            start = time.perf_counter()
            task()
            best[name] = min(best[name], time.perf_counter() - start)
        if torch is not None:
            best["torch"] = min(best.get("torch", float("inf")), torch())
    return best


def torch_of(options: Options, blocks: Blocks) -> Callable[[], float] | None:
    """The network in torch; None without it."""
    arguments = [json.dumps(blocks), str(options.pictures), str(options.size)]
    return in_torch(TORCH, arguments, options.torch_python)


if __name__ == "__main__":
    script.run(main)
