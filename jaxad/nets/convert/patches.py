"""EfficientAD's networks: patch descriptions and the autoencoder."""

from jaxad.nets.convert.layers import Arrays, conv, sequential, some

AUTOENCODER = (*(f"enconv{i}" for i in range(1, 7)), *(f"deconv{i}" for i in range(1, 9)))


def pdn(arrays: Arrays) -> dict:
    """Variables of a `nets.pdn.PDN`, small or medium, teacher or student.

    The names are those of nelson1425/EfficientAD's teacher files (an `nn.Sequential`: "0.weight",
    "3.weight", ...) or anomalib's ("conv1.weight", ...).

    Raises:
      ValueError: there are not the four convolutions of PDN-S or the six of PDN-M.
    """
    named = [f"conv{i}" for i in range(1, 7) if f"conv{i}.weight" in arrays]
    names = sequential(arrays) or named
    if len(names) not in (4, 6):
        raise ValueError(
            f"a PDN has 4 (S) or 6 (M) convolutions, these weights {len(names)}: {some(arrays)}"
        )
    return {"params": {f"conv{i}": conv(arrays, name) for i, name in enumerate(names, start=1)}}


def autoencoder(arrays: Arrays) -> dict:
    """Variables of a `nets.autoencoder.Autoencoder`.

    The names are anomalib's ("encoder.enconv1.weight", ...) or numbers of an `nn.Sequential`, as in
    nelson1425/EfficientAD.

    Raises:
      ValueError: a convolution is missing.
    """
    groups = {"en": "encoder", "de": "decoder"}
    names = sequential(arrays) or [f"{groups[name[:2]]}.{name}" for name in AUTOENCODER]
    if len(names) != len(AUTOENCODER):
        raise ValueError(f"the autoencoder has 14 convolutions, these weights have {len(names)}")
    ours = zip(AUTOENCODER, names, strict=True)
    return {"params": {name: conv(arrays, theirs) for name, theirs in ours}}
