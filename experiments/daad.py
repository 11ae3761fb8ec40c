"""DAAD+ (Hou et al., ICCV 2021), a model for each category.

    python experiments/daad.py DATA RUN [--epochs 200 ...]

`--adversarial false` is DAAD. No code of the authors is public, and what the paper leaves open is
our choice, as jaxad/methods/daad.py says: none of its figures is claimed. Ours, and those of what
it is compared with (`jaxad train memae`, `jaxad train autoencoder`): docs/results/daad.md.
"""

from jaxad.cli import train
from jaxad.cli.run_options import RunOptions
from jaxad.methods import daad

if __name__ == "__main__":
    train.recipe(daad.DETECTOR, daad.Config(), RunOptions(epochs=200.0))
