"""The page of a report, as HTML."""

import html
from collections.abc import Sequence
from string import Template
from typing import NamedTuple
from urllib.parse import quote

PAGE = Template("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>$title</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1640px; margin: 2em auto;
       padding: 0 1em }
pre { font-size: 13px; overflow-x: auto; background: #f5f6f7; padding: 1em }
img { max-width: 100%; height: auto; vertical-align: top }
h2 { font-size: 1.15em; margin-top: 2em }
figure { display: inline-block; width: 292px; margin: 0 14px 14px 0; vertical-align: top;
         font-size: 12px; overflow-wrap: anywhere }
figure img { width: 292px; height: 144px }
figure.wide { width: 588px }
figure.wide img { width: auto; height: 144px }
summary { cursor: pointer; margin: 2em 0 1em }
</style>
<h1>$title</h1>
<pre>$table</pre>
<h2>Scores and curves</h2>
$figures
<h2>Best and worst cases</h2>
<p>An alarm is a score above the limit of the decision card, which is made of normal pictures that
are not among these: $limits. Left the picture, right its map on the scale of all pictures here:
grey up to $low, as nine tenths of the card's normal pixels are; half way at $normal, the highest of
them; brightest from $high. The outline is the mask's.</p>
$grid
$nearest
<details>
<summary>Heat maps of $count pictures, highest score first; a click opens one</summary>
$heat_maps
</details>
</html>
""")


COMPARED = Template("""<h2>Alarms, and what is nearest to them among the normal pictures</h2>
<p>$which: the picture with its most anomalous place framed, that place, the nearest one of the
training pictures, and where it lies in its own; of methods that compare whole pictures, the two
pictures. A click opens the heat map. Where the two places look alike the alarm is probably false,
or the network sees a difference that people do not.</p>
$figures
""")


class HeatMap(NamedTuple):
    """Paths of a heat map and of its thumbnail, as seen from the page, and words about it."""

    picture: str
    thumbnail: str
    caption: str


def page(
    title: str,
    table: str,
    figures: Sequence[str],
    grid: str,
    heat_maps: Sequence[HeatMap],
    scale: Sequence[str],
    limits: str,
    nearest: Sequence[HeatMap] = (),
    alarmed: int = 0,
) -> str:
    """The whole page.

    Args:
      title: of the page.
      table: of metrics, as text.
      figures: paths of scores and curves, as seen from the page.
      grid: path of the best and worst cases.
      heat_maps: of all pictures, in the order to show.
      scale: the numbers at the lowest, middle and highest colour.
      limits: where alarms begin, in words.
      nearest: alarms beside the normal pictures nearest to them; their pictures are heat maps.
      alarmed: how many alarms there are in all.
    """
    low, normal, high = scale
    return PAGE.substitute(
        title=html.escape(title),
        table=html.escape(table),
        figures="\n".join(f'<img src="{quote(path)}" alt="{path}">' for path in figures),
        grid=f'<img src="{quote(grid)}" alt="best and worst cases">',
        count=len(heat_maps),
        heat_maps="\n".join(map(_figure, heat_maps)),
        nearest=_compared(nearest, alarmed),
        limits=html.escape(limits),
        low=low,
        normal=normal,
        high=high,
    )


def _figure(heat_map: HeatMap, kind: str = "", words: str = "heat map") -> str:
    picture, thumbnail = quote(heat_map.picture), quote(heat_map.thumbnail)
    return (
        f'<figure{kind}><a href="{picture}"><img src="{thumbnail}" alt="{words}" loading="lazy">'
        f"</a><figcaption>{html.escape(heat_map.caption)}</figcaption></figure>"
    )


def _compared(nearest: Sequence[HeatMap], alarmed: int) -> str:
    if not nearest:
        return ""
    few = len(nearest) < alarmed
    which = f"The clearest {len(nearest)} of {alarmed} alarms" if few else "The clearest first"
    return COMPARED.substitute(figures="\n".join(map(_wide, nearest)), which=which)


def _wide(heat_map: HeatMap) -> str:
    return _figure(heat_map, ' class="wide"', "the alarm beside the nearest normal place")
