"""Scripts as modules, and folders of pictures for them."""

import importlib.util
import pathlib
import sys

import numpy as np
from PIL import Image

EXPERIMENTS = pathlib.Path(__file__).parent.parent / "experiments"


def script(name, folder=EXPERIMENTS):
    """A script, experiments/<name>.py by default, loaded anew."""
    module_name = f"{name}_script"  # not the module of the same name in jaxad.methods
    spec = importlib.util.spec_from_file_location(module_name, folder / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # its dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def category(folder, normal=5, masks=True, seed=0):
    """Pictures of a bright square that moves, in MVTec AD layout; two have a hole."""
    rng = np.random.default_rng(seed)
    for part, count in (("train/good", normal), ("test/good", 2), ("test/hole", 2)):
        (folder / part).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(40, 60, (48, 48, 3), np.uint8)
            left = rng.integers(10, 14)
            pixels[left : left + 24, left : left + 24] += 120
            if "hole" in part:
                pixels[18:24, 18:24] = 0
            Image.fromarray(pixels).save(folder / part / f"{i}.png")
    if masks:
        mask = np.zeros((48, 48), np.uint8)
        mask[18:24, 18:24] = 255
        (folder / "ground_truth" / "hole").mkdir(parents=True)
        for i in range(2):
            Image.fromarray(mask).save(folder / "ground_truth" / "hole" / f"{i}_mask.png")
    return folder
