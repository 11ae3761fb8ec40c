"""The page: a picture is dropped or a camera looked through, and its map seen."""

import functools
import pathlib

from jaxad.report import heatmap, rendering

FOLDER = pathlib.Path(__file__).parent
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
NAMES = ("page.css", "page.js", "camera.js", "show.js", "ask.js")


@functools.cache
def files() -> dict[str, tuple[bytes, str, str]]:
    """Content, type and policy of each of the page's files, by the path under which it is asked.

    They are read once, and nothing else is ever: no path of a request names a file.
    """
    style = (rendering.FOLDER / "style.css").read_text(encoding="utf-8")
    scale = f".scale {{ background: {heatmap.gradient()} }}\n"
    found = {"/": _file("index.html"), "/page/style.css": (style + scale).encode()}
    found |= {f"/page/{name}": _file(name) for name in NAMES}
    return {path: (content, _kind(path), POLICY) for path, content in found.items()}


def _kind(path: str) -> str:
    return KINDS[pathlib.PurePath("index.html" if path == "/" else path).suffix]


def _file(name: str) -> bytes:
    return (FOLDER / name).read_bytes()
