"""Tables of the methods without training: PatchCore, PaDiM, SPADE, Mahalanobis."""

from tables_read import FOLDERS, METRICS, Rows, by_seed, runs, spread, stored

TITLES = {
    "patchcore": "PatchCore",
    "padim": "PaDiM",
    "spade": "SPADE",
    "mahalanobis": "Mahalanobis",
}
SEEDS = {"patchcore": 3}  # one of the others


def memory_folders() -> Rows:
    """All metrics on the three real folders."""
    rows = [["method", "data", *METRICS.values(), "image AUROC by seed"]]
    for method, title in TITLES.items():
        for data in FOLDERS:
            found = runs(f"{method}_{data}", SEEDS.get(method, 1))
            cells = [spread(found[metric]) for metric in METRICS]
            rows.append([title, data, *cells, by_seed(found["image_auroc"])])
    return rows


def backbones() -> Rows:
    """Forward passes beside PyTorch's, and a whole prediction beside EfficientAD-S's."""
    found = stored("bench_backbones")
    rows = [["", "here, ms", "beside it, ms", "ratio"]]
    beside = [(name, x["jax"], x["torch"], "PyTorch") for name, x in found["forward"].items()]
    of = found["predict"]
    beside.append(("predict of PatchCore", of["patchcore"], of["efficientad"], "EfficientAD-S"))
    for name, here, there, what in beside:
        row = [f"`{name}`" if "_" in name else name, f"{1e3 * here:.0f}"]
        rows.append([*row, f"{1e3 * there:.0f} ({what})", f"{here / there:.2f}"])
    return rows


def memory_bank() -> Rows:
    """The choice of a memory bank and the search in it."""
    found = stored("bench_memory_bank")
    chosen, plain, search = found["selection"], found["plain"], found["search"]
    size = f"{found['chosen']:,} of {found['vectors']:,} vectors of {found['width']} numbers"
    same = (found["plain_chosen"], found["plain_vectors"]) == (found["chosen"], found["vectors"])
    assert same, "the plain rule is compared at full size"
    of = f"nearest of {found['chosen']:,} rows for {found['queries']:,} patches"
    return [
        ["", "seconds", ""],
        [f"choosing {size}", f"{chosen['seconds']:.1f}", f"radius {chosen['radius']:.4f}"],
        [
            "the same by the plain rule",
            f"{plain['plain_seconds']:.0f}",
            f"radius {plain['plain_radius']:.4f}; rounding parts the choices after "
            f"{plain['agreeing']:,}",
        ],
        [
            of,
            f"{search['nearest']:.3f}",
            f"{search['nearest'] / search['product']:.2f} of the product",
        ],
        ["PyTorch's `cdist().min(1)`", f"{search['torch']:.3f}", "in turns with it"],
    ]


def lite_students() -> Rows:
    """Methods that train, on the same features: cookies, one seed."""
    titles = {
        "reverse_distillation": "reverse distillation",
        "stfpm": "STFPM",
        "uniad": "UniAD",
        "mkd": "MKD",
        "uninformed_students": "Uninformed Students, teacher `pdn_free`",
    }
    rows = [["method", *METRICS.values()]]
    for name, title in titles.items():
        found = runs(f"lite_{name}_cookies", 1)
        rows.append([title, *(spread(found[metric]) for metric in METRICS)])
    return rows
