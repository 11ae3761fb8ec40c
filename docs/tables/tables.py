"""Prints the tables of docs/results and docs/methods, from stored files and from the settings.

    python docs/tables/tables.py [--check]

A table stands on its page between `<!-- table: NAME -->` and `<!-- end -->`; NAME is that of a
function in a file tables_of_*.py. Other pages have some too. All are rewritten in place. With
--check nothing is: of each table that is not what its files say, page and name are printed, and the
exit status is 1. Results are those in experiments/results, settings those of the methods' configs.
"""

import argparse
import pathlib
import re
import sys
from collections.abc import Callable

import tables_of_comparison as comparison
import tables_of_data as of_data
import tables_of_decisions as decisions
import tables_of_distillation as distillation
import tables_of_export as of_export
import tables_of_memory as of_memory
import tables_of_methods as of_methods
import tables_of_onnx as of_onnx
import tables_of_readme as readme
import tables_of_reconstruction as reconstruction
import tables_of_scaling as scaling
import tables_of_serving as serving
from tables_read import Rows

ROOT = pathlib.Path(__file__).parents[2]
MARKED = re.compile(r"<!-- table: (\S+) -->\n(.*?)<!-- end -->", re.DOTALL)

TABLES: dict[str, Callable[[], Rows]] = {
    "methods": readme.methods,
    "index": comparison.index,
    "efficientad_quickstart": distillation.efficientad_quickstart,
    "efficientad_curves": distillation.efficientad_curves,
    "efficientad_folders": distillation.efficientad_folders,
    "efficientad_defects": distillation.efficientad_defects,
    "efficientad_trained": distillation.efficientad_trained,
    "efficientad_maps": distillation.efficientad_maps,
    "stfpm_cookies": distillation.stfpm_cookies,
    "stfpm_folders": distillation.stfpm_folders,
    "stfpm_layers": distillation.stfpm_layers,
    "reverse_distillation_folders": distillation.reverse_distillation_folders,
    "mkd_cookies": distillation.mkd_cookies,
    "mkd_workpieces": distillation.mkd_workpieces,
    "students_cookies": distillation.students_cookies,
    "students_workpieces": distillation.students_workpieces,
    "uniad_workpieces": reconstruction.uniad_workpieces,
    "uniad_three": reconstruction.uniad_three,
    "uniad_cifar10": reconstruction.uniad_cifar10,
    "uniad_parts": reconstruction.uniad_parts,
    "identical_shortcut": reconstruction.identical_shortcut,
    "diffusionad_plate": reconstruction.diffusionad_plate,
    "diffusionad_guidance": reconstruction.diffusionad_guidance,
    "diffusionad_noise": reconstruction.diffusionad_noise,
    "diffusionad_cookies": reconstruction.diffusionad_cookies,
    "daad_granularity": reconstruction.daad_granularity,
    "daad_workpieces": reconstruction.daad_workpieces,
    "daad_digits": reconstruction.daad_digits,
    "daad_mnist": reconstruction.daad_mnist,
    "daad_cifar10": reconstruction.daad_cifar10,
    "memory_folders": of_memory.memory_folders,
    "lite_students": of_memory.lite_students,
    "backbones": of_memory.backbones,
    "memory_bank": of_memory.memory_bank,
    "false_alarms": decisions.false_alarms,
    "rendered_alarms": decisions.rendered_alarms,
    "predicting": decisions.predicting,
    "many_files": decisions.many_files,
    "large_sets": of_data.large_sets,
    "memory_of_a_picture": of_data.memory_of_a_picture,
    "reports": of_data.reports,
    "export_stablehlo": of_export.export_stablehlo,
    "export_onnx": of_onnx.export_onnx,
    "service": serving.service,
    "service_hostile": serving.service_hostile,
    "cookies": comparison.cookies,
    "distillation_defects": distillation.distillation_defects,
    "distillation_folders": comparison.distillation_folders,
    "distillation_means": comparison.distillation_means,
    "one_budget": comparison.one_budget,
    "workpieces": comparison.workpieces,
    "memory": comparison.memory,
    "cpu_forms": comparison.cpu_forms,
    "scaling_equal": scaling.scaling_equal,
    "scaling_memory": scaling.scaling_memory,
    "scaling_members": scaling.scaling_members,
    "scaling_paper": scaling.scaling_paper,
    "scaling_assumed": scaling.scaling_assumed,
    "scaling_grows": scaling.scaling_grows,
    "scaling_fixed": scaling.scaling_fixed,
    "scaling_sweeps": scaling.scaling_sweeps,
    **of_methods.tables(),
}


def main(*arguments: str) -> int:
    """Rewrites the tables or, with --check, prints which differ; returns the exit status."""
    parser = argparse.ArgumentParser(description="Tables of docs/results from stored files.")
    parser.add_argument("--check", action="store_true", help="change nothing; 1 if a table differs")
    check = parser.parse_args(arguments).check
    status = 0
    for page in pages():
        if check:
            for name in different(page):
                print(f"{page}: table {name} is not what its files say")
                status = 1
        else:
            page.write_text(rewritten(page), encoding="utf-8")
    return status


def pages() -> list[pathlib.Path]:
    """The front page, two how-to pages, those of the results, and those of the methods."""
    docs = ROOT / "docs"
    several = [*sorted(docs.glob("results/*.md")), *sorted(docs.glob("methods/*.md"))]
    return [ROOT / "README.md", docs / "large_sets.md", docs / "report.md", *several]


def tables_on(page: pathlib.Path) -> dict[str, str]:
    """What stands between the markers of each table of a page, by its name.

    Raises:
      ValueError: a marker has no partner, or a name is unknown or twice on the page.
    """
    text = page.read_text(encoding="utf-8")
    found = MARKED.findall(text)
    for marker in ("<!-- table:", "<!-- end -->"):
        if text.count(marker) != len(found):
            raise ValueError(f"{page}: a table has no end or no beginning")
    names = [name for name, _ in found]
    if wrong := sorted({name for name in names if name not in TABLES or names.count(name) > 1}):
        raise ValueError(f"{page}: unknown, or twice on the page: {', '.join(wrong)}")
    return dict(found)


def different(page: pathlib.Path) -> list[str]:
    """The names of a page's tables that are not what their files say."""
    return [name for name, body in tables_on(page).items() if body != printed(name)]


def rewritten(page: pathlib.Path) -> str:
    """A page's text with its tables printed anew."""
    tables_on(page)
    return MARKED.sub(
        lambda found: f"<!-- table: {found[1]} -->\n{printed(found[1])}<!-- end -->",
        page.read_text(encoding="utf-8"),
    )


def printed(name: str) -> str:
    """A table as Markdown, with an empty line before and after it."""
    head, *rows = TABLES[name]()
    lines = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
    return "\n" + "\n".join(lines) + "\n\n"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
