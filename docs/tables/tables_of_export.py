"""Tables of how far exported programs are from the runs that they were made of."""

from tables_read import Rows, stored

WAYS = ("weights beside", "weights inside", "bfloat16", "float16")


def farthest() -> float:
    """The largest difference between maps of a bundle in float32 and of its run."""
    methods = stored("export")["methods"].values()
    return max(ways[way]["map"] for ways in methods for way in WAYS[:2])


def export_stablehlo() -> Rows:
    """Of each detector: maps, labels and AUROC of its bundles beside those of its run."""
    head = ["method", *(f"map, {way}" for way in WAYS)]
    rows = [[*head, "labels that differ in half", "image AUROC, bfloat16, float16"]]
    for name, ways in stored("export")["methods"].items():
        several = [ways[way] for way in WAYS]
        whole, half = several[:2], several[2:]
        assert all(one["labels"] == 0 for one in whole), name
        labels = ", ".join(str(one["labels"]) for one in half)
        changes = [one["metrics"]["image_auroc"] for one in half]
        aurocs = ", ".join(f"{after - before:+.4f}" for before, after in changes)
        maps = [f"{one['map']:.1e}" for one in several]
        rows.append([f"`{name}`", *maps, f"{labels} of {half[0]['pictures']}", aurocs])
    return rows
