"""Tables of what travels between devices, and of the time that is predicted from it."""

from typing import Any

from tables_read import Rows, stored

TITLES = {
    "efficientad": "EfficientAD",
    "uniad": "UniAD",
    "feature_reconstruction": "feature reconstruction",
    "diffusionad": "DiffusionAD",
    "autoencoder": "autoencoder",
    "memae": "MemAE",
    "daad": "DAAD",
    "uninformed_students": "Uninformed Students",
    "stfpm": "STFPM",
    "reverse_distillation": "reverse distillation",
    "mkd": "MKD",
}
SHOWN = (1, 2, 4, 8, 16, 64, 256, 1024)  # devices
ASSUMPTIONS = {  # of the cost model: meaning, factor, unit, source
    "peak": ("operations, TF32", 1e12, "TFLOP/s", "NVIDIA H200 data sheet: 989 with sparsity"),
    "achieved": ("share of them that is reached", 1, "", "assumed"),
    "memory_bandwidth": ("memory bandwidth", 1e12, "TB/s", "NVIDIA H200 data sheet"),
    "traffic": ("share of it that is reached", 1, "", "assumed"),
    "memory": ("memory", 1e9, "GB", "NVIDIA H200 data sheet"),
    "usable": ("share of it that is used", 1, "", "as `jaxad sweep`"),
    "node": ("devices joined by NVLink", 1, "", "NVIDIA DGX H200 data sheet"),
    "nvlink": ("NVLink, one direction", 1e9, "GB/s", "the same, 900 both directions together"),
    "network": ("network, a device and direction", 1e9, "GB/s", "the same, 400 Gb/s adapters"),
    "link": ("share of both that is reached", 1, "", "assumed"),
    "start": ("start of a collective", 1e-6, "µs", "NCCL, `src/graph/tuning.cc`: tree, LL128"),
    "hop": ("a hop over NVLink", 1e-6, "µs", "the same"),
    "network_hop": ("a hop over the network", 1e-6, "µs", "the same"),
}


def scaling_equal() -> Rows:
    """Whether eight devices come to what one does, and what travels for it."""
    rows = [[
        "method", "loss", "gradient", "gradient, float64", "parameters, 20 steps", "reductions",
        "KB", "other collectives", "of pictures", "repeated",
    ]]  # fmt: skip
    for name, found in stored("scaling")["methods"].items():
        one, eight = found["fixed"][0], found["fixed"][-1]
        kinds = dict(eight["collectives"])
        reduced = kinds.pop("all-reduce", {"count": 0, "bytes": 0})
        repeated = eight["devices"] * eight["flops"] / one["flops"] - 1
        rows.append([
            TITLES[name], f"{eight['loss']:.1e}", f"{eight['gradient']:.1e}",
            f"{found['float64']['gradient']:.1e}", f"{eight['drift']:.1e}",
            str(reduced["count"]),
            f"{reduced['bytes'] / 1e3:.1f}",
            others(kinds),
            ", ".join(f"`{array}`" for array in found["of_pictures"]["arrays"]) or "none",
            f"{max(repeated, 0):.0%}",
        ])  # fmt: skip
    return rows


def others(kinds: dict[str, Any]) -> str:
    """How many collectives of each kind, and their bytes."""
    return ", ".join(f"{x['count']} {kind}, {x['bytes']} B" for kind, x in kinds.items()) or "none"


def scaling_memory() -> Rows:
    """What a device holds: of a batch that stays, and of one that grows."""
    found = stored("scaling")
    devices = [row["devices"] for row in next(iter(found["methods"].values()))["fixed"]]
    rows = [["method"]]
    rows[0] += [f"8 pictures, {n} device{'s' * (n > 1)}" for n in devices]
    rows[0] += [f"2 a device, {n}" for n in devices]
    for name, one in found["methods"].items():
        cells = [megabytes(row) for row in (*one["fixed"], *one["grows"])]
        rows.append([TITLES[name], *cells])
    return rows


def megabytes(row: dict[str, Any]) -> str:
    """Arguments, results that do not take their place, and everything between, in MB."""
    memory = row["memory"]
    size = memory["argument"] + memory["output"] - memory["alias"] + memory["temp"]
    return f"{size / 1e6:.2f}"


def scaling_members() -> Rows:
    """Members of a sweep on one device and on eight."""
    rows = [["method", "members", "arguments, 1 device", "8 devices", "collectives", "bytes"]]
    for name, found in stored("scaling")["sweeps"].items():
        one, eight = found["devices"]
        kinds = eight["collectives"]
        rows.append([
            TITLES[name], str(found["members"]),
            *(f"{row['memory']['argument'] / 1e6:.2f} MB" for row in (one, eight)),
            ", ".join(f"{x['count']} {kind}" for kind, x in kinds.items()) or "none",
            str(sum(x["bytes"] for x in kinds.values())),
        ])  # fmt: skip
    return rows


def scaling_paper() -> Rows:
    """The steps of the papers' sizes, as their programs have them."""
    rows = [[
        "method", "pictures a device", "GFLOP a picture", "GB moved a picture", "reductions",
        "MB reduced", "and KB a picture", "state, MB", "held a picture, MB", "repeated on 8",
    ]]  # fmt: skip
    found = stored("scaling")
    for name, paper in found["paper"].items():
        work = paper["work"]
        repeated = paper["eight"]["flops"] / paper["one"]["flops"] - 1
        rows.append([
            TITLES[name], str(found["predicted"][name]["per_device"]), f"{work['flops'] / 1e9:.1f}",
            f"{work['traffic'] / 1e9:.2f}", str(work["collectives"]),
            f"{work['reduced'] / 1e6:.1f}", f"{work['reduced_per_picture'] / 1e3:.0f}",
            f"{work['state'] / 1e6:.1f}",
            f"{work['held'] / 1e6:.0f}", f"{max(repeated, 0):.0%}",
        ])  # fmt: skip
    return rows


def scaling_assumed() -> Rows:
    """What the model assumes of a machine."""
    machine, rows = stored("scaling")["machine"], [["option", "", "value", "source"]]
    for name, (meaning, factor, unit, source) in ASSUMPTIONS.items():
        value = f"{machine[name] / factor:.4g} {unit}".strip()
        rows.append([f"`--{name.replace('_', '-')}`", meaning, value, source])
    return rows


def scaling_grows() -> Rows:
    """Predicted: every device has a batch of its own."""
    return predicted("grows")


def scaling_fixed() -> Rows:
    """Predicted: the same batch on any number of devices."""
    return predicted("fixed")


def predicted(kind: str) -> Rows:
    """A row for each number of devices: a step's time, pictures a second, efficiency."""
    several = stored("scaling")["predicted"]
    rows = [["devices"]]
    for name, found in several.items():
        batch = found["per_device" if kind == "grows" else "fixed_batch"]
        whole = f"{batch} a device" if kind == "grows" else f"{batch:,} in all"
        rows[0] += [f"{TITLES[name]}, {whole}: ms a step", "pictures/s", "efficiency"]
    for devices in SHOWN:
        rows.append([f"{devices:,}"])
        for found in several.values():
            (row,) = (row[kind] for row in found["rows"] if row["devices"] == devices)
            rows[-1] += [f"{1e3 * row['seconds']:.3g}", f"{row['images_per_second']:,.0f}"]
            rows[-1] += [f"{row['efficiency']:.2f}"]
    rows.append(["below 0.5 from"])
    for found in several.values():
        stops = found["stops_paying"][kind]
        rows[-1] += ["", "", f"{stops:,} devices" if stops else "not up to 1,024"]
    return rows


def scaling_sweeps() -> Rows:
    """Predicted: 10,000 members."""
    several = stored("scaling")["predicted"]
    rows = [["devices"]]
    for name, found in several.items():
        most = found["members_that_fit"]
        rows[0] += [f"{TITLES[name]}, at most {most:,} at once: days", "rounds", "efficiency"]
    for devices in SHOWN:
        rows.append([f"{devices:,}"])
        for found in several.values():
            (row,) = (row["sweep"] for row in found["rows"] if row["devices"] == devices)
            days = row["seconds"] / 86_400
            rows[-1] += [f"{days:,.3g}" if days < 1000 else f"{days:,.0f}", f"{row['rounds']:,}"]
            rows[-1] += [f"{row['efficiency']:.2f}"]
    return rows
