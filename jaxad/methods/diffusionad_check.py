"""Settings of DiffusionAD that cannot work, told before anything compiles."""

import math
from typing import Any

from jaxad.diffusion import LEAST_LINEAR
from jaxad.synthesis.recipe import STRIPS


def check(cfg: Any) -> None:
    """Raises ValueError for settings of `diffusionad.Config` that cannot work; says what would."""
    counts = ("batch_size", "steps", "tries", "width", "blocks", "heads", "groups", "period")
    for name in (*counts, "segmentation_width", "top", "iterations"):
        if getattr(cfg, name) < 1:
            raise ValueError(f"{name}={getattr(cfg, name)}: expected 1 or more")
    if cfg.weights:
        raise ValueError(f"weights={','.join(cfg.weights)}: DiffusionAD takes none")
    _check_networks(cfg)
    _check_times(cfg)
    if cfg.top > cfg.size**2:
        raise ValueError(f"top={cfg.top}: expected {cfg.size**2} pixels of a map or fewer")
    if cfg.noise_seed < 0:
        raise ValueError(f"noise_seed={cfg.noise_seed}: expected 0 or more")
    not_negative = ("noise_weight", "focal_weight", "smooth_l1_weight", "alpha", "gamma")
    in_range = {
        "lr": 0 < cfg.lr < math.inf,
        "segmentation_lr": 0 < cfg.segmentation_lr < math.inf,
        "guidance": math.isfinite(cfg.guidance),
        "anomalous": 0 <= cfg.anomalous <= 1,
        "opacity_low": 0 <= cfg.opacity_low <= cfg.opacity_high,
        "opacity_high": cfg.opacity_high <= 1,
        "decay": 0 <= cfg.decay < 1,
        **{name: 0 <= getattr(cfg, name) < math.inf for name in not_negative},
    }
    for name, fine in in_range.items():
        if not fine:
            raise ValueError(
                f"{name}={getattr(cfg, name)}: expected learning rates > 0, a finite guidance, "
                "anomalous from 0 to 1, 0 <= opacity_low <= opacity_high <= 1, decay from 0 to "
                "below 1, and weights, alpha and gamma >= 0"
            )


def _check_networks(cfg: Any) -> None:
    for name in ("multipliers", "segmentation_multipliers"):
        if min(getattr(cfg, name), default=0) < 1:
            raise ValueError(f"{name}={getattr(cfg, name)}: expected whole numbers from 1")
    levels = max(len(cfg.multipliers), len(cfg.segmentation_multipliers))
    stride = max(2 ** (levels - 1), STRIPS if cfg.objects else 1)
    if cfg.size < stride or cfg.size % stride:
        nearest = max(round(cfg.size / stride), 1) * stride
        raise ValueError(
            f"size={cfg.size} does not fit the strides of the networks and the strips of objects: "
            f"expected a multiple of {stride}, such as size={nearest}"
        )
    if cfg.width % 2:
        raise ValueError(f"width={cfg.width}: expected an even number, for sines and cosines")
    sides = [cfg.size >> level for level in range(len(cfg.multipliers))]
    if unknown := [side for side in cfg.attention if side not in sides]:
        raise ValueError(
            f"attention={','.join(map(str, unknown))}: no level has that side; there are "
            f"{', '.join(map(str, sides))} at size={cfg.size}"
        )
    for level, multiplier in enumerate(cfg.multipliers):
        channels = cfg.width * multiplier
        if channels % cfg.groups:
            raise ValueError(
                f"groups={cfg.groups} do not divide the {channels} channels of level {level}: "
                f"expected a divisor of width={cfg.width}"
            )
        attends = cfg.size >> level in cfg.attention or level == len(cfg.multipliers) - 1
        if attends and channels % cfg.heads:
            raise ValueError(
                f"heads={cfg.heads} do not divide the {channels} channels of level {level}"
            )


def _check_times(cfg: Any) -> None:
    end = cfg.timesteps
    least = LEAST_LINEAR if cfg.schedule == "linear" else 2
    if end < least:
        raise ValueError(
            f"timesteps={end}: expected {least} or more with schedule={cfg.schedule}, so that no "
            "step takes the whole image away"
        )
    if not 1 <= cfg.t_boundary < cfg.t_end <= end:
        raise ValueError(
            f"t_boundary={cfg.t_boundary} and t_end={cfg.t_end} leave no range of small or large "
            f"timesteps: expected 1 <= t_boundary < t_end <= timesteps={end}"
        )
    for name in ("t_small", "t_large"):
        if not 0 <= getattr(cfg, name) < end:
            raise ValueError(f"{name}={getattr(cfg, name)}: expected 0 to below timesteps={end}")
    if cfg.restoration == "guided" and cfg.t_small > cfg.t_large:
        raise ValueError(f"t_small={cfg.t_small} is above t_large={cfg.t_large}: exchange them")
    if cfg.restoration == "iterative" and cfg.iterations > cfg.t_small + 1:
        raise ValueError(
            f"iterations={cfg.iterations}: expected at most one for each timestep from "
            f"t_small={cfg.t_small} to 0"
        )
