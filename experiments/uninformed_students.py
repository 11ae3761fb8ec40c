"""Uninformed Students (Bergmann et al., CVPR 2020), a model for each category.

    python experiments/uninformed_students.py DATA RUN [--epochs 100 ...]

The teachers see patches of 17, 33 and 65 pixels; ours, which experiments/distill_patch_teacher.py
trained, lie in checkpoints/. On two cores `--weights pdn_small --dense false --size 128` is for
hours instead of days. The paper reports an AUPRO@0.3 of 0.914 on MVTec AD with its own teachers;
ours: docs/results/uninformed_students.md.
"""

from jaxad.cli import train
from jaxad.cli.run_options import RunOptions
from jaxad.methods import uninformed_students

if __name__ == "__main__":
    train.recipe(
        uninformed_students.DETECTOR,
        uninformed_students.Config(weights=("patch_17", "patch_33", "patch_65")),
        RunOptions(epochs=100.0, cache="memory"),
    )
