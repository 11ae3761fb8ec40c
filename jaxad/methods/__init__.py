"""Every method there is: the only list of them."""

from jaxad.detector import Detector
from jaxad.methods import (
    autoencoder,
    daad,
    diffusionad,
    efficientad,
    feature_reconstruction,
    mahalanobis,
    memae,
    mkd,
    padim,
    patchcore,
    reverse_distillation,
    spade,
    stfpm,
    uniad,
    uninformed_students,
)

DETECTORS: dict[str, Detector] = {
    method.DETECTOR.name: method.DETECTOR
    for method in (
        efficientad,
        uniad,
        feature_reconstruction,
        autoencoder,
        memae,
        daad,
        diffusionad,
        uninformed_students,
        stfpm,
        reverse_distillation,
        mkd,
        patchcore,
        padim,
        spade,
        mahalanobis,
    )
}
