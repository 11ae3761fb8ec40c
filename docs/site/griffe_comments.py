"""An extension of Griffe: docstrings become Markdown, and comments of settings are read.

Examples of docstrings, which `pytest` runs, become blocks of code. A setting of a method has its
meaning in a comment, behind it or above it, as `jaxad train METHOD --help` reads it too; they are
listed as the attributes of their class.
"""

import re
from typing import Any

import griffe

EXAMPLE = re.compile(r"(?:^ *>>> .*\n?(?:^ *\S.*\n?)*)+", re.MULTILINE)
COMMENT = re.compile(r"^\s*# ?(.*)$")


class Comments(griffe.Extension):
    """See the module."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Looks at every module, class, function and attribute once."""
        if obj.docstring is not None and ">>> " in obj.docstring.value:
            obj.docstring.value = EXAMPLE.sub(_fenced, obj.docstring.value)

    def on_class(self, *, cls: griffe.Class, **_: Any) -> None:
        """Adds the settings of a method to the docstring of their class."""
        if cls.docstring is None or not any("config" in str(x.value) for x in cls.decorators):
            return
        lines = [f"  {x.name}: {_setting(x)}" for x in cls.attributes.values() if not x.inherited]
        if lines:
            cls.docstring.value += "\n\nAttributes:\n" + "\n".join(lines)


def comment(attribute: griffe.Attribute) -> str:
    """The comment of a field: behind it, otherwise the lines of nothing else above it."""
    lines = attribute.lines_collection[attribute.filepath]
    first, last = (attribute.lineno or 1) - 1, (attribute.endlineno or attribute.lineno or 1) - 1
    _, hash_, behind = lines[last].partition("  # ")
    if hash_:
        return behind.strip()
    above: list[str] = []
    for line in reversed(lines[:first]):
        if not (found := COMMENT.match(line)):
            break
        above.insert(0, found[1])
    return " ".join(above).strip()


def _setting(attribute: griffe.Attribute) -> str:
    """Its default with its range, as the code has it, and what it means."""
    return ": ".join(filter(None, [f"`{attribute.value}`", comment(attribute)]))


def _fenced(found: re.Match[str]) -> str:
    lines = found[0].rstrip("\n").split("\n")
    width = min(len(line) - len(line.lstrip()) for line in lines)
    code = "\n".join(" " * width + line[width:] for line in lines)
    return f"{' ' * width}```pycon\n{code}\n{' ' * width}```\n"
