"""DiffusionAD as published (Zhang et al., arXiv:2303.08730), a model for each category of objects.

    python experiments/diffusionad.py DATA RUN --aux DTD_FOLDER [--foreground-masks MASKS]
    python experiments/diffusionad.py DATA RUN --aux DTD_FOLDER --objects false --foreground part

The second is for categories of textures. MASKS: one of the object in each training picture, or DATA
itself in the authors' layout; without it they are estimated and written to RUN/foreground: look at
them there, correct what is wrong, and start again with them in another folder.
experiments/show_synthetic.py shows what it learns from; `--restoration one_step`, `iterative` and
`autoencoder` are the paper's ablation. The paper reports 99.7 image AUROC on MVTec AD; ours are of
experiments/diffusionad_small.py: docs/results/diffusionad.md.
"""

from jaxad.cli import train
from jaxad.cli.run_options import RunOptions
from jaxad.methods import diffusionad

if __name__ == "__main__":
    train.recipe(
        diffusionad.DETECTOR, diffusionad.Config(foreground="masks"), RunOptions(epochs=3000.0)
    )
