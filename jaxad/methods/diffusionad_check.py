"""Settings of DiffusionAD that cannot work, told before anything compiles."""

from typing import Any

from jaxad.ops.diffusion import LEAST_LINEAR
from jaxad.synthesis.recipe import STRIPS


def check(cfg: Any) -> None:
    """Raises ValueError for settings of `diffusionad.Config` that cannot work; says what would."""
    _check_networks(cfg)
    _check_times(cfg)
    if cfg.top > cfg.size**2:
        raise ValueError(f"top={cfg.top}: expected {cfg.size**2} pixels of a map or fewer")
    if cfg.opacity_low > cfg.opacity_high:
        raise ValueError(
            f"opacity_low={cfg.opacity_low} is above opacity_high={cfg.opacity_high}: exchange them"
        )


def _check_networks(cfg: Any) -> None:
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
    if not cfg.t_boundary < cfg.t_end <= end:
        raise ValueError(
            f"t_boundary={cfg.t_boundary} and t_end={cfg.t_end} leave no range of small or large "
            f"timesteps: expected t_boundary < t_end <= timesteps={end}"
        )
    for name in ("t_small", "t_large"):
        if getattr(cfg, name) >= end:
            raise ValueError(f"{name}={getattr(cfg, name)}: expected less than timesteps={end}")
    if cfg.restoration == "guided" and cfg.t_small > cfg.t_large:
        raise ValueError(f"t_small={cfg.t_small} is above t_large={cfg.t_large}: exchange them")
    if cfg.restoration == "iterative" and cfg.iterations > cfg.t_small + 1:
        raise ValueError(
            f"iterations={cfg.iterations}: expected at most one for each timestep from "
            f"t_small={cfg.t_small} to 0"
        )
