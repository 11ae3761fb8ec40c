"""How training and sweeps scale over devices: what travels between them, and what time that takes.

    python experiments/bench_scaling.py [--out OUT.json]
    python experiments/bench_scaling.py --measure [--out REAL.json --sizes paper --repeats 20]

Without --measure, on eight simulated devices of one processor:

1. Of every method that takes steps, with small settings: whether 1, 2, 4 and 8 devices come to the
   same loss and gradient, how many bytes travel, what a device computes and holds. No speed: the
   devices share one processor.
2. Of members of a sweep, split over the devices: the same.
3. Of EfficientAD-S, UniAD and DiffusionAD in the sizes of their papers: the same of the compiled
   program, which is not run.
4. From 3, predicted time of a step on 1 to 1024 devices, by `cost_model.py`. Its assumptions are
   options: --peak, --nvlink, --network, ...

With --measure, the same steps run on the devices that are there, and the predicted time is printed
beside the measured one. The first part takes about half an hour on two busy cores.
"""

import gc
import json
import os
import pathlib
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import cost_model
import jax
import scaling_steps
import scaling_study
from cost_model import Machine, Work
from scaling_steps import PAPER, SMALL, Step

from jaxad import compile, mesh
from jaxad.cli import script
from jaxad.cli.errors import Usage
from jaxad.cli.options import asked
from jaxad.detector import config, static
from jaxad.sweep.table import circumstances
from jaxad.training.record import write_json

COUNTS = [2**n for n in range(11)]  # devices of the predictions
FIXED = 1024  # pictures of the predicted batch that stays
SWEPT = 10_000  # members
STUDY = pathlib.Path(__file__).parent / "results" / "scaling.json"
# Programs that run once: most of the time is compilation.
FLAGS = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"


@config
class Options:
    """Settings of the study."""

    out: str = static("")  # a file for the results, as JSON
    measure: bool = static(False)  # on the devices that are there, instead of simulated ones
    sizes: Literal["small", "paper"] = static("paper")  # of what is measured
    methods: tuple[str, ...] = static(())  # none for all; of the others, the file keeps what it has
    repeats: int = static(20, 1)  # steps whose times are measured; the median counts


def main(words: Sequence[str]) -> None:
    """Studies or measures, prints and stores."""
    usage = "python experiments/bench_scaling.py"
    options, machine = asked(words, usage, __doc__, study=Options(), machine=Machine())
    if options.measure:
        found = measured(options, machine)
    else:
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAGS}"
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", max(scaling_study.DEVICES))
        found = studied(options, machine)
    if options.out:
        write_json(
            pathlib.Path(options.out),
            found | {"made_with": circumstances(), "command": " ".join([usage, *words])},
        )


def studied(options: Options, machine: Machine) -> dict[str, Any]:
    """Parts 1 to 4, as JSON."""
    methods, sweeps, paper = {}, {}, {}
    for name in chosen(options, SMALL):
        methods[name] = scaling_study.method(name)
        say(name, methods[name]["fixed"][-1])
        forget()
    for name in chosen(options, PAPER):
        sweeps[name] = scaling_study.swept(name)
        forget()
        paper[name] = scaling_study.of_paper(name)
        say(f"{name} of the paper's size", paper[name]["eight"])
        forget()
    parts = {"methods": methods, "sweeps": sweeps, "paper": paper}
    for title, there in stored(options).items():
        several = {**there, **parts[title]}
        parts[title] = {name: several[name] for name in SMALL if name in several}
    guesses = {
        name: predicted(name, Work(**row["work"]), machine) for name, row in parts["paper"].items()
    }
    return parts | {"machine": dict(vars(machine)), "predicted": guesses}


def stored(options: Options) -> dict[str, Any]:
    """What the file has of the methods that are not asked for."""
    file = pathlib.Path(options.out)
    if not (options.out and options.methods and file.exists()):
        return {}
    found = json.loads(file.read_text(encoding="utf-8"))
    return {title: found[title] for title in ("methods", "sweeps", "paper")}


def forget() -> None:
    """Lets go of compiled programs: each maps memory, and a process may have 65530 maps."""
    jax.clear_caches()
    gc.collect()


def say(name: str, row: dict[str, Any]) -> None:
    """A line of what one program exchanges."""
    kinds = ", ".join(
        f"{of['count']} {kind} of {of['bytes']:,} bytes" for kind, of in row["collectives"].items()
    )
    print(f"{name}: {kinds}", flush=True)


def chosen(options: Options, there: dict[str, Any]) -> list[str]:
    """The methods that are asked for, of those that are there.

    Raises:
      Usage: there is no such method.
    """
    if wrong := [name for name in options.methods if name not in SMALL]:
        raise Usage(f"--methods {','.join(wrong)}: expected some of {', '.join(SMALL)}")
    return [name for name in there if name in options.methods or not options.methods]


def predicted(name: str, work: Work, machine: Machine) -> dict[str, Any]:
    """Part 4 of one method: time, efficiency and rate by number of devices, and of a sweep."""
    own, rows = PAPER[name].batch_size, []
    for devices in COUNTS:
        row: dict[str, Any] = {"devices": devices}
        for title, pictures, per_device in (("grows", own, True), ("fixed", FIXED, False)):
            whole = pictures * devices if per_device else pictures
            seconds = cost_model.step_seconds(work, whole, devices, machine)
            row[title] = {
                "seconds": seconds,
                "images_per_second": whole / seconds,
                "efficiency": cost_model.efficiency(
                    work, pictures, devices, machine, per_device=per_device
                ),
            }
        spread = cost_model.sweep(work, own, PAPER[name].steps, SWEPT, devices, machine)
        rows.append(row | {"sweep": spread._asdict()})
    stops = lambda pictures, grows: cost_model.stops_paying(
        work, pictures, COUNTS, machine, per_device=grows
    )
    return {
        "per_device": own,
        "fixed_batch": FIXED,
        "rows": rows,
        "stops_paying": {"grows": stops(own, True), "fixed": stops(FIXED, False)},
        "members_that_fit": cost_model.fitting(work, own, machine),
    }


def measured(options: Options, machine: Machine) -> dict[str, Any]:
    """Measured times of steps on 1, 2, 4, ... of the devices, beside the predicted ones.

    Every device has a batch of its own. What a step of a paper's size needs is that of the stored
    study; what a small one needs, that of its program here.
    """
    settings = PAPER if options.sizes == "paper" else SMALL
    counts = [n for n in COUNTS if n <= jax.device_count()]
    print(f"{jax.device_count()} devices: {jax.devices()[0].device_kind}; {options.sizes} sizes")
    rows: list[dict[str, Any]] = []
    for name in chosen(options, settings):
        own = settings[name].batch_size
        drawn = scaling_steps.drawn(name, settings[name])
        for devices in counts:
            step = scaling_steps.resized(drawn, own * devices)
            with mesh.use(f"data:{devices}" if devices > 1 else None):
                if options.sizes == "paper":
                    work = Work(**json.loads(STUDY.read_text())["paper"][name]["work"])
                else:
                    work = scaling_study.work_here(step, own)
                seconds = seconds_of(step, options.repeats)
            guess = cost_model.step_seconds(work, own * devices, devices, machine)
            rows.append(
                {"method": name, "devices": devices, "pictures": own * devices,
                 "predicted": guess, "measured": seconds}
            )  # fmt: skip
            alone = next(row for row in rows if row["method"] == name)
            shares = {kind: alone[kind] / rows[-1][kind] for kind in ("predicted", "measured")}
            print(
                f"{name}, {devices} x {own} pictures: a step is predicted to take "
                f"{1e3 * guess:.3g} ms and takes {1e3 * seconds:.3g} ms; efficiency "
                f"{shares['predicted']:.2f} and {shares['measured']:.2f}",
                flush=True,
            )
    return {"rows": rows, "machine": dict(vars(machine))}


def seconds_of(step: Step, repeats: int) -> float:
    """The median time of a step, its batch already on the devices; the first one compiles."""
    cfg, pretrained, state, batch, key = scaling_steps.arguments(step)
    run: Callable = compile.train_step(step.detector)
    times = []
    for _ in range(repeats + 1):
        begin = time.perf_counter()
        state, metrics = run(cfg, pretrained, state, batch, key)
        jax.block_until_ready((state, metrics))
        times.append(time.perf_counter() - begin)
    return statistics.median(times[1:])


if __name__ == "__main__":
    script.run(main)
