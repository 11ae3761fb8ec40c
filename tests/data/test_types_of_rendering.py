"""Shapes and types of what draws, which other tests leave unchecked for speed."""

import subprocess
import sys

# The hook keeps compiled modules by names that do not tell which ones it changed; those of the
# other tests, which it did not change, are not to be taken.
PROGRAM = """
import sys

import grain, jaxtyping, scipy.ndimage

sys.pycache_prefix, sys.dont_write_bytecode = sys.argv[1], True
jaxtyping.install_import_hook("jaxad.data.rendering", "beartype.beartype")

from jaxad.data.rendering import outlines
from jaxad.data.workpieces import CATEGORIES, Workpieces

try:
    outlines.disc("wide")
except jaxtyping.TypeCheckError:
    print("checked")
for category in CATEGORIES:
    drawn = Workpieces(category, "test", good=1, per_defect=1, size=64, seed=0)
    print(category, len([drawn[index] for index in range(len(drawn))]) > 5)
"""


def test_one_of_each_workpiece_and_defect_is_drawn_with_the_types_that_are_declared(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    first, *rest = done.stdout.splitlines()
    assert first == "checked"
    assert rest
    assert all(line.endswith(" True") for line in rest), rest
