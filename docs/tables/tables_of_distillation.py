"""Tables of the methods whose students imitate a teacher, EfficientAD among them."""

from tables_read import (
    AUROC,
    CATEGORIES,
    FOLDERS,
    METRICS,
    Metrics,
    Rows,
    by_seed,
    mean_of,
    members,
    models,
    number,
    runs,
    spread,
    stored,
    summary,
)

# How the files of runs begin; the seed follows.
STFPM = {data: f"stfpm_{data}" for data in FOLDERS}
REVERSE = {data: f"reverse_distillation_{data}_40_epochs" for data in FOLDERS}
EFFICIENTAD = {data: f"efficientad_{data}_1000_steps" for data in FOLDERS}
TILES = "magnetic_tile"


def efficientad_quickstart() -> Rows:
    """What `jaxad quickstart` finds, by kind of defect."""
    several = [
        stored(f"quickstart_seed_{seed}")["categories"]["plate"]["kinds"] for seed in range(3)
    ]
    of = {
        kind: {metric: [kinds[kind][metric] for kinds in several] for metric in METRICS}
        for kind in ("structural", "logical")
    }
    return summary("defects", {"": of}, seeds=True)


def efficientad_curves() -> Rows:
    """EfficientAD over training: two seeds of cookies, one of the other folders."""
    first, second, tiles, cells = (
        stored(f"{EFFICIENTAD[data]}_seed_{seed}_curve")
        for data, seed in (("cookies", 0), ("cookies", 1), (TILES, 0), ("elpv", 0))
    )
    steps = [str(point["step"]) for point in first]
    both = [
        " / ".join(spread([one[metric], other[metric]]) for metric in AUROC)
        for one, other in zip(first, second, strict=True)
    ]
    return [
        ["image AUROC / pixel AUROC after", *steps[:-1], f"{steps[-1]} steps: the result"],
        ["cookies, seed 0", *along(first)],
        ["cookies, seed 1", *along(second)],
        ["cookies, mean ± standard deviation of the two", *both],
        ["magnetic_tile, seed 0", *along(tiles)],
        ["elpv, seed 0 (no masks)", *along(cells)],
    ]


def along(curve: list[dict]) -> list[str]:
    """The AUROCs at each point of a curve, those that there are."""
    return [
        " / ".join(number(point[metric]) for metric in AUROC if point[metric] is not None)
        for point in curve
    ]


def efficientad_folders() -> Rows:
    """All metrics of EfficientAD's last states."""
    of = {data: runs(EFFICIENTAD[data], 2 if data == "cookies" else 1) for data in FOLDERS}
    return summary("data", {"": of}, seeds=True)


def efficientad_defects() -> Rows:
    """Types of defects on tiles, EfficientAD."""
    return summary("defect", {"": defects(EFFICIENTAD[TILES], 1)}, tuple(AUROC))


def distillation_defects() -> Rows:
    """Types of defects on tiles, STFPM and reverse distillation."""
    of = {"STFPM": defects(STFPM[TILES], 3), "reverse distillation": defects(REVERSE[TILES], 3)}
    return summary("defect", of, tuple(AUROC))


def defects(name: str, seeds: int) -> dict[str, Metrics]:
    """The metrics of each type of defect on tiles."""
    several = [
        stored(f"{name}_seed_{seed}")["categories"][TILES]["defects"] for seed in range(seeds)
    ]
    return {
        defect: {metric: [one[defect][metric] for one in several] for metric in AUROC}
        for defect in several[0]
    }


def efficientad_trained() -> Rows:
    """EfficientAD's p_hard and penalty."""
    settings = {
        "p_hard 0.99, penalty": {"p_hard": "0.99", "penalty": "True"},
        "p_hard 0": {"p_hard": "0.0"},
        "p_hard 0.9": {"p_hard": "0.9"},
        "p_hard 0.999": {"p_hard": "0.999"},
        "p_hard 0.9999": {"p_hard": "0.9999"},
        "no penalty": {"penalty": "False"},
    }
    return efficientad_sweep("trained", "training", settings)


def efficientad_maps() -> Rows:
    """How EfficientAD's maps are normalised."""
    settings = {
        "quantiles 0.9, 0.995 (paper)": {"map_norm": "quantile", "q_a": "0.9", "q_b": "0.995"},
        "0.8, 0.9": {"q_a": "0.8", "q_b": "0.9"},
        "0.5, 0.95": {"q_a": "0.5", "q_b": "0.95"},
        "0.98, 0.998": {"q_a": "0.98", "q_b": "0.998"},
        "mean and deviation": {"map_norm": "gaussian"},
        "not normalised": {"map_norm": "none"},
    }
    return efficientad_sweep("maps", "maps", settings)


def efficientad_sweep(first: str, part: str, settings: dict[str, dict[str, str]]) -> Rows:
    """One of EfficientAD's two sweeps, on workpieces and on cookies."""
    groups = {
        data: {
            label: members(f"sweep_efficientad_{data}_{part}", **setting)
            for label, setting in settings.items()
        }
        for data in ("workpieces", "cookies")
    }
    return summary(first, groups, tuple(AUROC), compared=True)


def stfpm_cookies() -> Rows:
    """STFPM on cookies: as long as by default, longer, and with smaller batches."""
    of = {
        "100 epochs": runs("stfpm_cookies"),
        "200 epochs, `--steps 200`": runs("stfpm_cookies_200_epochs"),
        "100 epochs, `--batch-size 8 --steps 400`": runs("stfpm_cookies_batch_8"),
    }
    return summary("STFPM", {"": of}, seeds=True)


def stfpm_folders() -> Rows:
    """STFPM on three folders."""
    return folders("STFPM", STFPM)


def reverse_distillation_folders() -> Rows:
    """Reverse distillation on three folders."""
    return folders("reverse distillation", REVERSE)


def folders(first: str, files: dict[str, str]) -> Rows:
    """A method on three folders, and their mean, which is one of image AUROCs only."""
    of = {data: runs(file) for data, file in files.items()}
    mean = mean_of([metrics["image_auroc"] for metrics in of.values()])
    rows = summary(first, {"": of}, seeds=True)
    return [*rows, ["mean of the three", spread(mean), "", "", by_seed(mean)]]


def stfpm_layers() -> Rows:
    """STFPM's layers and learning rates."""
    whole = "layer1,layer2,layer3"
    some = ("layer1", "layer2", "layer3", "layer1,layer2", "layer1,layer3", "layer2,layer3")
    settings = [(whole, "0.4"), *((layers, "0.4") for layers in some)]
    settings += [(whole, lr) for lr in ("0.1", "0.2", "0.8")]
    of = {
        f"{layers.replace('layer', '').replace(',', ', ')}; {lr}": members(
            "sweep_stfpm_cookies", layers=layers, lr=lr
        )
        for layers, lr in settings
    }
    return summary("layers; rate", {"": of}, compared=True, seeds=True)


def mkd_cookies() -> Rows:
    """MKD on cookies."""
    return summary("MKD", {"": {"cookies": runs("mkd_cookies")}}, seeds=True)


def students_cookies() -> Rows:
    """Uninformed Students on cookies."""
    of = {"cookies": runs("uninformed_students_cookies")}
    return summary("Uninformed Students", {"": of}, seeds=True)


def mkd_workpieces() -> Rows:
    """MKD on workpieces, by category."""
    return workpieces("MKD", "mkd_workpieces")


def students_workpieces() -> Rows:
    """Uninformed Students on workpieces, by category."""
    return workpieces("Uninformed Students", "uninformed_students_workpieces")


def workpieces(first: str, name: str) -> Rows:
    """A model for each category of workpieces, and the mean of all."""
    return summary(
        first, {"": {category: models(name, category=category) for category in CATEGORIES}}
    )
