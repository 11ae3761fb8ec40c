"""What a bundle asks of whoever uses it elsewhere, in words: its README, its list of steps."""

from collections.abc import Mapping
from typing import Any

FITS = {
    "squeeze": "Resize it to {size} x {size} pixels, whatever its shape",
    "pad": "Lay it on the middle of a black square whose side is the longer one of the picture, "
    "and resize that to {size} x {size} pixels",
    "crop": "Take the square in its middle whose side is the shorter one of the picture, and "
    "resize that to {size} x {size} pixels",
}
RESIZED = ", bilinear with antialiasing where it shrinks, as Pillow's BILINEAR does."
INSIDE = "The program does the resizing: it takes pictures of any size, all of one batch alike."
NORMALISED = (
    "Give it as uint8, 0 to 255, in the order batch, rows, columns, RGB. The program divides by "
    "255 and does all further normalisation itself: do none before."
)


def steps(entry: Mapping[str, Any], size: int, inside: bool) -> list[str]:
    """From a file to what the program takes, one sentence or two for each step.

    Args:
      entry: of a category, as in `preprocessing.json`.
      size: side in pixels of what the detector sees.
      inside: whether the program resizes.
    """
    bits = entry["bits"]
    highest = f"{2**bits - 1}, the highest number of {bits} bits," if bits else "the highest number"
    said = [
        "Read the picture as RGB of 8 bits: grey is repeated three times, palettes are looked up, "
        "transparent pixels are laid over black.",
        f"If its numbers have more than 8 bits, scale them so that {highest} "
        f"{'' if bits else 'that the format can hold '}becomes 255, and round.",
        "Turn it as its EXIF orientation says."
        if entry["orientation"] == "exif"
        else "Leave it as it is stored, whatever its EXIF orientation says.",
    ]
    if entry["region"] is not None:
        said.append(
            f"Make it black where {entry['region']} is black; a picture has the size of that file."
        )
    if inside:
        said.append(INSIDE)
    else:
        said.append(FITS[entry["fit"]].format(size=size) + RESIZED)
    return [*said, NORMALISED]


def readme(content: Mapping[str, Any]) -> str:
    """The bundle's README.md, from its manifest."""
    size = content["size"]
    sections = [
        f"# {content['method']}: an image anomaly detector\n\n"
        f"Exported by jaxad {content['jaxad']} with JAX {content['jax']}. It says of a picture how "
        "much it departs from the normal ones that it learned from (`score`), and where (`map`).",
        "## What is here\n\n" + _table(content["contents"]),
        _preprocessing(content),
        "## What comes out\n\n"
        f"- `map`: float32, batch x {size} x {size}, unscaled; higher is more anomalous. Resize it "
        "to the picture's own size, bilinear, to lay it over the picture.\n"
        "- `score`: float32, one of each picture; higher is more anomalous.\n\n"
        "A picture is called anomalous if its score is above `categories`, NAME, `limits`, `score` "
        "in `card.json`; a pixel, if its value is above `limits`, `pixel`. The threshold lies "
        "outside the program: another card is another file, never another program.",
        "## Use it\n\n```\n" + content["use"] + "\n```",
        "## Licences\n\n"
        + _table({"weights " + n: x for n, x in content["licences"]["weights"].items()})
        + f"- data: {content['licences']['data']}\n",
        "## Checksums\n\n`bundle.json` has the SHA-256 of each file. They show damage, such as of "
        "a copy that broke off. They do not show who made the bundle: take bundles from people you "
        "trust, for a program is run.",
    ]
    return "\n\n".join(section.strip() for section in sections) + "\n"


def _table(rows: Mapping[str, str]) -> str:
    return "".join(f"- `{name}`: {text}\n" for name, text in rows.items())


def _preprocessing(content: Mapping[str, Any]) -> str:
    several = content["preprocessing"]
    parts = ["## What goes in\n"]
    for name, one in several.items():
        if len(several) > 1:
            parts.append(f"\nPictures of {name}:\n")
        parts += [f"{number}. {step}" for number, step in enumerate(one["steps"], start=1)]
    return "\n".join(parts)
