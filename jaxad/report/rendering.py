"""Pages from templates: one HTML file each, that loads nothing from anywhere else."""

import base64
import functools
import json
import pathlib
from typing import Any

import jinja2
from markupsafe import Markup

from jaxad import whole
from jaxad.progress import printable

FOLDER = pathlib.Path(__file__).parent / "templates"


def write(path: pathlib.Path, template: str, **values: Any) -> pathlib.Path:
    """Writes a page whole or not at all, and returns its path.

    Args:
      path: of the page.
      template: its file's name in `templates`.
      values: what the template is about; texts are escaped.

    Raises:
      OSError: the page cannot be written.
    """
    text = _environment().get_template(template).render(**values)
    with whole.written(path) as part:
        part.write_text(text, encoding="utf-8", errors="replace")
    return path


@functools.cache
def _environment() -> jinja2.Environment:
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda x: printable(x) if type(x) is str else x,
    )
    found.filters |= {"json": in_script, "webp": webp_url, "base64": _base64}
    found.globals["file"] = _file
    return found


def in_script(value: Any) -> Markup:
    """A value as JSON that may stand within a <script>: nothing in it can end that."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)


def webp_url(content: bytes) -> Markup:
    """A WebP picture as the address of itself."""
    return Markup("data:image/webp;base64,") + _base64(content)


def _base64(content: bytes) -> Markup:
    return Markup(base64.b64encode(content).decode())


def _file(name: str) -> Markup:
    """A style or script beside the templates, to stand in the page itself."""
    return Markup((FOLDER / name).read_text(encoding="utf-8"))
