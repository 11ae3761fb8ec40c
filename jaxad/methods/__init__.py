"""Every method there is: the only list of them."""

from jaxad.detector import Detector
from jaxad.methods import (
    autoencoder,
    daad,
    diffusionad,
    efficientad,
    feature_reconstruction,
    memae,
    mkd,
    reverse_distillation,
    stfpm,
    uniad,
    uninformed_students,
)

DETECTORS: dict[str, Detector] = {
    "efficientad": efficientad.DETECTOR,
    "uniad": uniad.DETECTOR,
    "feature_reconstruction": feature_reconstruction.DETECTOR,
    "autoencoder": autoencoder.DETECTOR,
    "memae": memae.DETECTOR,
    "daad": daad.DETECTOR,
    "diffusionad": diffusionad.DETECTOR,
    "uninformed_students": uninformed_students.DETECTOR,
    "stfpm": stfpm.DETECTOR,
    "reverse_distillation": reverse_distillation.DETECTOR,
    "mkd": mkd.DETECTOR,
}
