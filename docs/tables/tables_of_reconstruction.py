"""Tables of the methods that reconstruct: UniAD, DiffusionAD, DAAD and the autoencoder."""

from tables_read import (
    AUROC,
    CATEGORIES,
    FOLDERS,
    METRICS,
    Metrics,
    Rows,
    by_seed,
    members,
    models,
    number,
    runs,
    spread,
    stored,
    summary,
)

PROTOCOLS = {"one for all": "unified", "one for each": "separate"}


def uniad_workpieces() -> Rows:
    """UniAD on workpieces: one model for all categories, and one for each."""
    groups = {
        about: {category: models("uniad_workpieces", protocol, category) for category in CATEGORIES}
        for about, protocol in PROTOCOLS.items()
    }
    return summary("category", groups, tuple(AUROC))


def uniad_three() -> Rows:
    """UniAD on three real categories, one model."""
    name = "uniad_cookies_magnetic_tile_elpv"
    of = {category: models(name, "unified", category) for category in (*FOLDERS, "mean")}
    return summary("category", {"": of}, tuple(AUROC), seeds=True)


def uniad_cifar10() -> Rows:
    """UniAD on CIFAR-10, five classes normal."""
    found = stored("uniad_cifar10_small")["image_auroc"]
    of = {split: {"image_auroc": values["seeds"]} for split, values in found.items()}
    return summary("classes that are normal", {"": of}, ("image_auroc",), seeds=True)


def identical_shortcut() -> Rows:
    """Whether reconstructions learn to copy."""
    curves = stored("identical_shortcut_workpieces")
    heads = ("image AUROC, last", "highest", "error of normals")
    rows = [["network", *(f"{about}: {head}" for about in PROTOCOLS for head in heads)]]
    for network in curves["unified"]:
        rows.append([network])
        for protocol in PROTOCOLS.values():
            points = curves[protocol][network]
            last, highest = points[-1], max(point["image_auroc"] for point in points)
            rows[-1] += [number(last["image_auroc"]), number(highest)]
            rows[-1].append(f"{last['heldout_loss']:.4f}")
    return rows


def uniad_parts() -> Rows:
    """UniAD's three parts, on and off."""
    parts = [
        (query, mask, jitter)
        for query in (False, True)
        for mask in (False, True)
        for jitter in (False, True)
    ]
    of = {}
    for query, mask, jitter in parts:
        label = f"{said(query)} / {said(mask)} / {said(jitter)}"
        of[label] = members(
            "sweep_uniad_workpieces",
            layer_wise_query=str(query),
            masked=",".join([str(mask)] * 3),  # of three attentions
            jitter="20.0" if jitter else "0.0",
        )
    return summary("layer-wise query / mask / jitter", {"": of}, tuple(AUROC), compared=True)


def said(there: bool) -> str:
    """Whether a part is there."""
    return "yes" if there else "no"


def diffusionad_plate() -> Rows:
    """DiffusionAD's restorations on plates."""
    labels = {
        "autoencoder": "autoencoder",
        "iterative, 10 steps": "iterative",
        "one step": "one_step",
        "one step, guided": "guided",
    }
    of = {about: plates(restoration) for about, restoration in labels.items()}
    return summary("restoration", {"": of}, compared=True)


def plates(restoration: str) -> Metrics:
    """The runs on plates with this restoration."""
    return members("sweep_diffusionad_plate", restoration=restoration)


def diffusionad_guidance() -> Rows:
    """What guidance changes on plates, seed by seed."""
    one_step, guided = plates("one_step"), plates("guided")
    rows = [["seed"], ["0"], ["1"]]
    for metric, name in METRICS.items():
        rows[0] += [f"{name}: one step", "guided", "difference"]
        for seed, row in enumerate(rows[1:]):
            before, after = one_step[metric][seed], guided[metric][seed]
            row += [number(before), number(after), f"{after - before:+.3f}"]
    return rows


def diffusionad_noise() -> Rows:
    """DiffusionAD against the scale of the noise."""
    rows = [["timestep", "error of restored normal plates", *AUROC.values()]]
    for point in stored("diffusionad_noise_plate"):
        aurocs = [number(point[metric]) for metric in AUROC]
        rows.append([f"{point['timestep']:.0f}", number(point["error"]), *aurocs])
    return rows


def diffusionad_cookies() -> Rows:
    """DiffusionAD on cookies."""
    of = {
        "guided": runs("diffusionad_cookies_guided", 2),
        "one step": runs("diffusionad_cookies_one_step", 2),
    }
    return summary("restoration", {"": of}, seeds=True)


def daad_granularity() -> Rows:
    """How finely DAAD divides."""
    rows = [["blocks a side", "error, normal", "error, anomalous", "image AUROC", "by seed"]]
    for row in stored("daad_granularity_plate")["rates"]:
        auroc = row["image_auroc"]["seeds"]
        errors = [f"{row[name]['mean']:.4f}" for name in ("normal", "anomalous")]
        rows.append([str(row["rate"]), *errors, spread(auroc), by_seed(auroc)])
    return rows


def daad_workpieces() -> Rows:
    """DAAD, with and without its adversarial part, and an autoencoder, on workpieces."""
    of = {
        "`autoencoder`": models("autoencoder_workpieces"),
        "`daad --adversarial false`": models("daad_workpieces"),
        "`daad --adversarial-weight 0.01 --alignment-weight 0.1 --lam 0.1` (DAAD+)": models(
            "daad_plus_workpieces"
        ),
        "`daad` (DAAD+ with its default weights of 1 and lambda 0.5)": models(
            "daad_plus_default_weights_workpieces"
        ),
    }
    return summary("method and settings", {"": of}, seeds=True)


def daad_digits() -> Rows:
    """DAAD and DAAD+ with the digit 3 as normal."""
    of = {
        "DAAD, 300 steps at 1e-3, 3 seeds": classes("daad_mnist_small")["3"],
        "DAAD+, 2000 steps at 2e-4, 5 seeds": classes("daad_plus_mnist_small_three_2000_steps")[
            "3"
        ],
    }
    return summary("three against the rest", {"": of}, ("image_auroc",), seeds=True)


def daad_mnist() -> Rows:
    """DAAD, one digit against the rest."""
    return summary("digit", {"": classes("daad_mnist_small")}, ("image_auroc",), seeds=True)


def daad_cifar10() -> Rows:
    """DAAD, one class of CIFAR-10 against the rest."""
    return summary("class", {"": classes("daad_cifar10_small")}, ("image_auroc",), seeds=True)


def classes(name: str) -> dict[str, Metrics]:
    """The image AUROCs of each class, and of their mean."""
    return {label: {"image_auroc": values} for label, values in stored(name)["image_auroc"].items()}
