"""Tables across methods, of what things cost, and the index of docs/results."""

from tables_of_distillation import EFFICIENTAD, REVERSE, STFPM
from tables_of_export import farthest
from tables_read import (
    FOLDERS,
    METRICS,
    Rows,
    by_seed,
    mean_of,
    models,
    runs,
    spread,
    stored,
    summary,
)

STUDENTS = "Uninformed Students, teacher `pdn_small`"
MKD = "MKD, teacher SqueezeNet 1.0, a clone narrower inside (16 channels)"
TITLES = {
    "efficientad": "EfficientAD",
    "uninformed_students": "Uninformed Students",
    "stfpm": "STFPM",
    "reverse_distillation": "reverse distillation",
    "mkd": "MKD",
}
UNIAD = "uniad_cookies_magnetic_tile_elpv"
CPU_FORMS = "bench_cpu_forms/epyc_2_cores_jax_0.10.2"


def decisions() -> str:
    """How often simulated cards are right, at worst."""
    covered = [one["rate_covered"] for one in stored("false_alarms")["simulated"]]
    return f"the stated interval covers the false-alarm rate in {min(covered):.3f} of cards or more"


def index() -> Rows:
    """The pages, and one number of each."""
    real = models(UNIAD, "unified")["image_auroc"]
    reverse = mean_of([runs(REVERSE[data])["image_auroc"] for data in FOLDERS])
    on_cookies = {
        "efficientad": runs(EFFICIENTAD["cookies"], 2),
        "diffusionad": runs("diffusionad_cookies_guided", 2),
        "stfpm": runs(STFPM["cookies"]),
        "reverse_distillation": runs(REVERSE["cookies"]),
        "mkd": runs("mkd_cookies"),
        "uninformed_students": runs("uninformed_students_cookies"),
        "patchcore": runs("patchcore_cookies"),
    }
    cookies = {page: f"{spread(of['image_auroc'])} on cookies" for page, of in on_cookies.items()}
    daad = spread(models("daad_workpieces")["image_auroc"])
    memory = stored("bench_memory_256_px")["resident_gb"]
    requests = stored("service")["models"]["autoencoder"]["load"]["requests_a_second"]
    apart = max(one["float64"]["gradient"] for one in stored("scaling")["methods"].values())
    return [
        ["page", "headline number (image AUROC, mean ± standard deviation over seeds)"],
        [
            "[PatchCore, PaDiM, SPADE, Mahalanobis](memory.md)",
            f"{cookies['patchcore']}: PatchCore, 256 px; its layers were chosen on these folders",
        ],
        ["[EfficientAD](efficientad.md)", f"{cookies['efficientad']}: 256 px, 1000 steps"],
        [
            "[UniAD](uniad.md)",
            f"{spread(real)}, mean of three real folders, one model; features chosen on them",
        ],
        ["[DiffusionAD](diffusionad.md)", f"{cookies['diffusionad']}: guided, 64 px, 600 steps"],
        [
            "[STFPM](stfpm.md)",
            f"{cookies['stfpm']}: 256 px, 100 epochs; it flatters, says the page",
        ],
        [
            "[Reverse distillation](reverse_distillation.md)",
            f"{cookies['reverse_distillation']}: 256 px, 40 epochs",
        ],
        ["[MKD](mkd.md)", f"{cookies['mkd']}: SqueezeNet 1.0, 601 epochs"],
        [
            "[Uninformed Students](uninformed_students.md)",
            f"{cookies['uninformed_students']}: 128 px, 100 epochs",
        ],
        [
            "[DAAD, MemAE, autoencoder](daad.md)",
            f"{daad}, DAAD, mean of five categories of workpieces: 64 px, 300 steps",
        ],
        [
            "[Comparisons](comparison.md)",
            f"{spread(reverse)}, reverse distillation, mean of three real folders",
        ],
        ["[Decisions and predictions](decisions.md)", decisions()],
        [
            "[Exported programs](export.md)",
            f"maps of a detector's bundle within {farthest():.1e} of their range",
        ],
        ["[The service](serving.md)", f"{requests:.0f} requests a second, half of them hostile"],
        ["[Speed and memory](speed.md)", f"{memory:.2f} GB for 50,000 pictures of 256 px"],
        [
            "[Many devices](scaling.md)",
            f"gradients of eight devices differ from one's by {apart:.1e} at most, in float64",
        ],
    ]


def cookies() -> Rows:
    """All methods that have a result on cookies, each in its own setting."""
    of = {
        "EfficientAD, 256 px, 1000 steps, 2 seeds": runs(EFFICIENTAD["cookies"], 2),
        "UniAD, 224 px, one model for three folders": models(UNIAD, "unified", "cookies"),
        "DiffusionAD guided, 64 px, 600 steps, 2 seeds": runs("diffusionad_cookies_guided", 2),
        "DiffusionAD one step, 64 px, 600 steps, 2 seeds": runs("diffusionad_cookies_one_step", 2),
        "STFPM, 256 px, 100 epochs": runs(STFPM["cookies"]),
        "STFPM, 256 px, 200 epochs": runs("stfpm_cookies_200_epochs"),
        "STFPM, 256 px, 100 epochs of batches of 8": runs("stfpm_cookies_batch_8"),
        "reverse distillation, 256 px, 40 epochs": runs(REVERSE["cookies"]),
        f"{STUDENTS}, 128 px": runs("uninformed_students_cookies"),
        f"{MKD}, 128 px": runs("mkd_cookies"),
    }
    return summary("method", {"": of})


def distillation_folders() -> Rows:
    """STFPM and reverse distillation on tiles and solar cells."""
    of = {"STFPM": STFPM, "reverse distillation": REVERSE}
    groups = {data: {name: runs(files[data]) for name, files in of.items()} for data in FOLDERS[1:]}
    tiles = summary("method", {"magnetic_tile": groups["magnetic_tile"]})
    cells = summary("method", {"elpv": groups["elpv"]}, ("image_auroc",))
    return [[*left, *right[1:]] for left, right in zip(tiles, cells, strict=True)]


def distillation_means() -> Rows:
    """Image AUROC of STFPM and reverse distillation, seed by seed, and the mean of the folders."""
    rows = [["method", *FOLDERS, "mean of the three", "by seed"]]
    for name, files in (("STFPM", STFPM), ("reverse distillation", REVERSE)):
        several = [runs(files[data])["image_auroc"] for data in FOLDERS]
        mean = mean_of(several)
        rows.append([name, *(by_seed(values) for values in several), spread(mean), by_seed(mean)])
    return rows


def workpieces() -> Rows:
    """Methods on all categories of workpieces, 64 px, a model for each."""
    of = {
        "DAAD, `--adversarial false`": models("daad_workpieces"),
        STUDENTS: models("uninformed_students_workpieces"),
        MKD: models("mkd_workpieces"),
        "autoencoder": models("autoencoder_workpieces"),
    }
    return summary("method", {"": of})


def one_budget() -> Rows:
    """The methods of distillation and EfficientAD with as many steps, and with as much time."""
    found = stored("compare_distillation_cookies")["rows"]
    by_steps, by_seconds = (
        {row["method"]: row for row in found if row["budget"].endswith(unit)}
        for unit in ("steps", "seconds")
    )
    names = list(METRICS.values())
    heads = [f"100 steps: {names[0]}", *names[1:], "90 s: steps", *names]
    rows = [["method", "teacher", "s a step", *heads]]
    for method, row in by_steps.items():
        timed = by_seconds[method]
        rows.append([TITLES[method], row["teacher"], f"{row['seconds'] / row['steps']:.2f}"])
        rows[-1] += [spread(row[metric]) for metric in METRICS]
        rows[-1] += [str(timed["steps"]), *(spread(timed[metric]) for metric in METRICS)]
    return rows


def memory() -> Rows:
    """What a run takes that learns from many pictures."""
    rows = [["50,000 pictures of", "resident memory", "opening", "50 steps of training"]]
    for size in (64, 256):
        found = stored(f"bench_memory_{size}_px")
        seconds = found["seconds"]
        times = [f"{seconds[part]:.1f} s" for part in ("opening", "training")]
        rows.append([f"{size} px", f"{found['resident_gb']:.2f} GB", *times])
    return rows


def cpu_forms() -> Rows:
    """The forms that operations take on a CPU, against their libraries'."""
    rows = [["form", "case", "part", "library's form", "CPU form", "ratio"]]
    for row in stored(CPU_FORMS)["rows"]:
        times = [f"{row[name]:.2f} ms" for name in ("plain_ms", "cpu_ms")]
        rows.append([row["form"], row["case"], row["part"], *times, f"{row['ratio']:.2f}"])
    return rows
