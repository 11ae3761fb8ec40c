"""The table of ONNX files beside the runs that they were made of."""

from tables_read import Rows, stored


def export_onnx() -> Rows:
    """Of each detector: batch, and maps, scores and labels of two runtimes beside its run's."""
    found = stored("onnx")["methods"]
    runtimes = next(list(row["runtimes"]) for row in found.values() if row["runtimes"])
    heads = [f"{what}, {name}" for name in runtimes for what in ("map", "score")]
    rows = [["method", "opset", "batch", *heads, "maps within 1e-4", "labels that differ"]]
    for name, row in found.items():
        if "error" in row:
            empty = [""] * (len(rows[0]) - 2)
            rows.append([f"`{name}`", f"not converted: {row['error']}", *empty])
            continue
        several = [row["runtimes"][runtime] for runtime in runtimes]
        numbers = [f"{one[what]:.1e}" for one in several for what in ("map", "score")]
        close = ", ".join(f"{one['close']}" for one in several)
        labels = ", ".join(str(one["labels"]) for one in several)
        count = several[0]["pictures"]
        batch = row["batch"] if row["batch"] == "any" else f"{row['batch']}: {row['why']}"
        cells = [f"`{name}`", str(row["opset"]), str(batch), *numbers]
        rows.append([*cells, f"{close} of {count}", f"{labels} of {count}"])
    return rows
