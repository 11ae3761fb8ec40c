"""A hook of MkDocs: links that leave docs/ lead to copies of these files in the site.

Pages are written so that their links hold in a clone, where `../jaxad/detector/contract.py` is a
file. In the site such a file lies under `repository/`: pictures, code and JSON as they are, pages
of Markdown as pages, whose links are followed in their turn.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel

ROOT = Path(__file__).resolve().parents[2]
PREFIX = "repository/"
LINK = re.compile(r"(?<=\]\()([^)\s#]+)")
FENCE = re.compile(r"^(```|~~~).*?^\1`*$", re.MULTILINE | re.DOTALL)
AWAY = re.compile(r"[a-z]+:|/")  # of a scheme, or from the root of a host


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the files that pages link to."""
    for name in _outside(list(files)):
        files.append(
            File.generated(
                config,
                PREFIX + name,
                abs_src_path=str(ROOT / name),
                inclusion=InclusionLevel.NOT_IN_NAV,
            )
        )
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links of a page as they are in the site."""
    return relinked(markdown, page.file.src_uri)


def relinked(markdown: str, page: str) -> str:
    """A page's text whose links to files of the repository are links within the site.

    Args:
      markdown: the text; blocks of code stay as they are.
      page: its place in the site's sources, "results/uniad.md" or "repository/SECURITY.md".
    """
    parts, end = [], 0
    changed = lambda text: LINK.sub(lambda found: _within(found[0], page), text)
    for fence in FENCE.finditer(markdown):
        parts += [changed(markdown[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*parts, changed(markdown[end:])])


def _outside(pages: list[File]) -> list[str]:
    """Files of the repository that are not in docs/, and that pages link to; directly or not."""
    ahead = [(file.src_uri, file.abs_src_path) for file in pages if file.is_documentation_page()]
    found: dict[str, None] = {}
    while ahead:
        page, place = ahead.pop()
        for name in _targets(Path(place or "").read_text(encoding="utf-8"), page):
            if name not in found:
                found[name] = None
                if name.endswith(".md"):
                    ahead.append((PREFIX + name, str(ROOT / name)))
    return list(found)


def _targets(markdown: str, page: str) -> Iterator[str]:
    for link in LINK.findall(FENCE.sub("", markdown)):
        name = _target(link, page)
        if name and not name.startswith("docs/") and (ROOT / name).is_file():
            yield name


def _target(link: str, page: str) -> str | None:
    """The place in the repository that a link leads to; None for one that leads elsewhere."""
    if AWAY.match(link):
        return None
    return posixpath.normpath(posixpath.join(posixpath.dirname(_place(page)), link))


def _place(page: str) -> str:
    """Where a page of the site lies in the repository."""
    return page.removeprefix(PREFIX) if page.startswith(PREFIX) else f"docs/{page}"


def _within(link: str, page: str) -> str:
    name = _target(link, page)
    if name is None or not (ROOT / name).is_file():
        return link  # as it is: if it is dead, MkDocs says so
    inside = name.removeprefix("docs/") if name.startswith("docs/") else PREFIX + name
    return posixpath.relpath(inside, posixpath.dirname(page) or ".")
