"""Several pictures in one body: multipart/form-data, each part a file."""

from jaxad.serve.bodies import Upload
from jaxad.serve.failures import Refused

NAME = 255  # letters of a name that are kept
HEADERS, HEADER = 8, 4096  # of a part: how many, and the bytes of one


class Part:
    """A part while it arrives: its headers, and its bytes in one piece of memory."""

    def __init__(self) -> None:
        self.headers: dict[bytes, bytes] = {}
        self.content = bytearray()


class Parts:
    """What the parser tells, piece by piece; a piece is `data[start:end]`.

    Attributes:
      found: parts that are there in full.
      ended: whether the end of the form has been seen.
    """

    def __init__(self, most: int) -> None:
        self.found: list[Part] = []
        self.ended = False
        self._most, self._name, self._value = most, b"", b""
        self._part = Part()

    def on_part_begin(self) -> None:
        """The next part."""
        if len(self.found) == self._most:
            raise Refused(
                413, "too_many_pictures", f"the request has more than {self._most} pictures "
                "(--max-pictures)",
            )  # fmt: skip
        self._part = Part()

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        """A piece of a header's name."""
        self._name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        """A piece of what it says."""
        self._value += data[start:end]

    def on_header_end(self) -> None:
        """A header is there."""
        self._part.headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        """A piece of the file."""
        self._part.content += memoryview(data)[start:end]

    def on_part_end(self) -> None:
        """The part is there."""
        self.found.append(self._part)

    def on_end(self) -> None:
        """So is the form."""
        self.ended = True


def uploads(content: bytes, kind: str, most: int) -> list[Upload]:
    """The files of a form, in their order.

    Args:
      content: the body.
      kind: the header `Content-Type`, with the boundary.
      most: files that it may have.

    Raises:
      Refused: it is damaged, has no files, too many, or a part that is none.
    """
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import MultipartParser, parse_options_header

    boundary = parse_options_header(kind)[1].get(b"boundary")
    if not boundary:
        raise Refused(400, "bad_form", "Content-Type: multipart/form-data names no boundary")
    parts = Parts(most)
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": parts.on_part_begin,
                "on_header_field": parts.on_header_field,
                "on_header_value": parts.on_header_value,
                "on_header_end": parts.on_header_end,
                "on_part_data": parts.on_part_data,
                "on_part_end": parts.on_part_end,
                "on_end": parts.on_end,
            },
            max_header_count=HEADERS,
            max_header_size=HEADER,
        )
        parser.write(content)
        parser.finalize()
    except FormParserError as error:
        raise Refused(400, "bad_form", f"the form is damaged: {error}") from None
    if not parts.ended:
        raise Refused(400, "bad_form", "the form is cut off: its closing boundary is missing")
    if not parts.found:
        raise Refused(400, "bad_form", "the form has no pictures")
    return [_upload(part, number) for number, part in enumerate(parts.found, start=1)]


def _upload(part: Part, number: int) -> Upload:
    from python_multipart.multipart import parse_options_header

    _, given = parse_options_header(part.headers.get(b"content-disposition", b""))
    if b"filename" not in given:
        name = _text(given.get(b"name", b""))
        raise Refused(
            400,
            "bad_form",
            f"part {number} of the form ({name[:80]!r}) is no file: model, category and include "
            "belong into the address, as in /v1/predict?model=NAME",
        )
    kind, _ = parse_options_header(part.headers.get(b"content-type", b""))
    return Upload(_text(given[b"filename"])[:NAME], bytes(part.content), _text(kind))


def _text(word: bytes) -> str:
    try:
        return word.decode()
    except UnicodeDecodeError:
        return word.decode("latin-1")
