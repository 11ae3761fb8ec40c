"""Tables of the methods without training: PatchCore, PaDiM, SPADE, Mahalanobis."""

from tables_read import FOLDERS, METRICS, Rows, by_seed, runs, spread

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
