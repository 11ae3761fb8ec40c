"""Training: one loop for every detector, in memory (`fit`) or in a folder, resumable (`run`)."""

from jaxad.training.fitting import fit, run

__all__ = ["fit", "run"]
