"""Tables of what cards promise, and of how fast and how steadily pictures are predicted."""

from tables_read import Rows, stored

TITLES = {"efficientad": "EfficientAD-S", "patchcore": "PatchCore"}


def false_alarms() -> Rows:
    """Simulated cards: how often what they state is so."""
    rows = [
        [
            "target",
            "normal pictures",
            "cards whose interval covers the rate",
            "... the count",
            "mean rate",
        ]
    ]
    for one in stored("false_alarms")["simulated"]:
        covered = (f"{one[name]:.3f}" for name in ("rate_covered", "count_covered"))
        rate = f"{100 * one['mean_rate']:.2f} %"
        rows.append([f"{100 * one['target']:.0f} %", str(one["normals"]), *covered, rate])
    return rows


def rendered_alarms() -> Rows:
    """Cards of one model on rendered pictures."""
    rows = [
        ["target", "false alarms by card", "stated", "cards inside", "of cards drawn at random"]
    ]
    for one in stored("false_alarms")["rendered"]:
        low, high = one["stated"]
        rows.append(
            [
                f"{100 * one['target']:.0f} %",
                ", ".join(map(str, one["alarms"])),
                f"{low:.0f} to {high:.0f}",
                f"{one['covered']} of {len(one['alarms'])}",
                f"{one['drawn_covered']:.3f}",
            ]
        )
    return rows


def predicting() -> Rows:
    """The command beside its parts."""
    names = ("reading", "computing", "rows", "start")
    ratios = ["over start and slowest part", "with overlays"]
    rows = [["method", "pictures", *names, "whole command", *ratios]]
    for method, title in TITLES.items():
        one = stored(f"bench_predict_{method}")["methods"][method]
        parts = [one[name] for name in ("reading", "computing", "rows")]
        ratio = one["whole"] / (one["start"] + max(parts))
        drawn = one["whole with overlays"]
        of = drawn / (one["start"] + max(*parts, one["overlays"]))
        cells = [f"{one[name]:.2f} s" for name in (*names, "whole")]
        overlays = f"{drawn:.2f} s, {of:.2f}; they alone {one['overlays']:.2f} s"
        rows.append([title, str(one["pictures"]), *cells, f"{ratio:.2f}", overlays])
    return rows


def many_files() -> Rows:
    """Memory over many files, and what a killed process leaves."""
    found = stored("predict_many")
    quarters = ", ".join(f"{resident / 1e6:.0f}" for resident in found["resident"])
    return [
        ["", ""],
        ["files", f"{found['options']['files']:,}, in {found['seconds']:.0f} s"],
        ["resident memory by quarter", f"{quarters} MB"],
        ["last quarter over second", f"{found['last_over_second']:.3f}"],
        ["killed at", f"{', '.join(f'{rows:,}' for rows in found['killed_at'])} rows"],
        [
            "rows lost, repeated, different",
            f"{found['lost']}, {found['repeated']}, {found['different']}",
        ],
        ["rows without their mask", str(found["without_mask"])],
    ]
