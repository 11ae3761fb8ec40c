"""Every method there is: the only list of them."""

from jaxad.detector import Detector
from jaxad.methods import efficientad

DETECTORS: dict[str, Detector] = {
    "efficientad": efficientad.DETECTOR,
}
