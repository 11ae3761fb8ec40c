"""Whatever is sent: one sentence, no crash, nothing of the server, and no file opened."""

import builtins
import contextlib
import gzip
import io
import os
import pathlib

import pytest
from asked import PNG, file_of, huge, picture
from PIL import Image

from jaxad.data import images

FORM = "multipart/form-data; boundary=x"


def sent(client, content, kind="image/png", **headers):
    return client.post("/v1/predict", content=content, headers={"Content-Type": kind, **headers})


def refused(answer, status, code):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    found = answer.json()["error"]
    assert found["code"] == code
    return found["message"]


def animated():
    frames = [Image.fromarray(picture(i)) for i in range(3)]
    return file_of(frames[0], "GIF", save_all=True, append_images=frames[1:])


def pages():
    frames = [Image.fromarray(picture(i)) for i in range(2)]
    return file_of(frames[0], "TIFF", save_all=True, append_images=frames[1:])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        (b"some text\n" * 100, "not a picture, or of a kind that is not supported"),
        (b"\x89PNG\r\n\x1a\n", "not a picture"),
        (file_of(picture())[:4000], "truncated"),
        (file_of(picture(), "JPEG")[:600], "truncated"),
        (animated(), "it holds 3 pages or frames; save one picture a file"),
        (pages(), "it holds 2 pages or frames; save one picture a file"),
        (file_of(picture(0, (1, 9))), "9 x 1 pixels are not a picture"),
        (file_of(Image.new("F", (8, 8)), "TIFF"), "have no known range"),
        (b"%PDF-1.4 \n" * 9, "not a picture"),
    ],
)
def test_a_picture_that_cannot_be_used_is_told_in_the_words_of_predict(
    client, tmp_path, content, words
):
    message = refused(sent(client, content), 422, "unusable_picture")
    assert words in message.lower()
    path = tmp_path / "picture"
    path.write_bytes(content)
    with pytest.raises(ValueError) as error:  # noqa: PT011, whose words are compared
        images.read_image(path)
    assert str(error.value).removeprefix(f"{path}: ") == message


@pytest.mark.parametrize("size", [(60_000, 60_000), (9000, 9000), (2**31 - 1, 2**31 - 1)])
def test_a_header_that_promises_too_much_is_refused_before_decoding(client, size, monkeypatch):
    monkeypatch.setattr(images.np, "array", None)  # which decodes
    message = refused(sent(client, huge(*size)), 413, "too_many_pixels")
    assert "max_pixels=40000000" in message


def test_more_bytes_than_allowed_are_refused_before_they_are_read(client):
    async def never():
        raise AssertionError("it is read")
        yield b""

    headers = {"Content-Length": str(2**40)}
    refused(sent(client, never(), **headers), 413, "too_many_bytes")


def test_more_bytes_than_promised_are_counted_as_they_come(client, service):
    came = []

    async def endless():
        while len(came) < 1000:
            came.append(1)
            yield bytes(2**20)

    refused(sent(client, endless()), 413, "too_many_bytes")
    assert len(came) == 33  # megabytes, of which 32 are allowed
    assert service.bytes.free == service.bytes.size


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/json", "application/x-www-form-urlencoded", "imagepng", "a"]
)
def test_another_type_is_refused(client, kind):
    message = refused(sent(client, file_of(picture()), kind), 415, "unsupported_type")
    assert "application/octet-stream" in message


def test_a_compressed_body_is_refused(client):
    content = gzip.compress(file_of(picture()))
    refused(sent(client, content, **{"Content-Encoding": "gzip"}), 415, "unsupported_type")


def part(content=b"x", disposition='form-data; name="a"; filename="b"', more=""):
    return f"--x\r\nContent-Disposition: {disposition}\r\n{more}\r\n".encode() + content + b"\r\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "cut off"),
        (b"--x--\r\n", "has no pictures"),
        (b"nothing of the kind", "damaged"),
        (part(), "cut off"),
        (part() + b"--x\r\nContent-", "cut off"),
        (part(disposition="form-data; name=model") + b"--x--", "('model') is no file"),
        (part(more="A: b\r\n" * 20) + b"--x--", "header count"),
        (part(more=f"A: {'b' * 9000}\r\n") + b"--x--", "header size"),
    ],
)
def test_a_damaged_form_is_told(client, content, words):
    assert words in refused(sent(client, content, FORM), 400, "bad_form")


@pytest.mark.parametrize(
    "kind", ["multipart/form-data", f"multipart/form-data; boundary={'y' * 999}"]
)
def test_a_form_needs_a_plain_boundary(client, kind):
    refused(sent(client, part() + b"--x--", kind), 400, "bad_form")


def test_a_form_with_too_many_files_is_refused(client):
    files = [("a", (f"{i}.png", b"x")) for i in range(17)]
    message = refused(client.post("/v1/predict", files=files), 413, "too_many_pictures")
    assert "more than 16 pictures" in message


def test_the_type_of_a_part_is_looked_at_too(client):
    files = [
        ("a", ("a.html", file_of(picture()), "text/html")),
        ("b", ("b.png", file_of(picture()))),
    ]
    one, other = client.post("/v1/predict", files=files).json()["pictures"]
    assert one["error"]["code"] == "unsupported_type"
    assert "score" in other


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "/etc/passwd", "C:\\x.png", "a\x00b.png", "file:///etc/passwd", "-", "|ls",
     "ä\u202e.png", "x" * 5000],
)  # fmt: skip
def test_a_name_is_a_label_and_opens_no_file(client, name, monkeypatch):
    opened = []

    def seen(function):
        def called(path, *words, **named):  # other threads of the process open files too
            opened.append(path)
            return function(path, *words, **named)

        return called

    for module, function in ((builtins, "open"), (io, "open"), (os, "open"), (os, "stat")):
        monkeypatch.setattr(module, function, seen(getattr(module, function)))
    with contextlib.suppress(OSError, ValueError):
        os.stat(name)
    assert opened == [name]  # what is looked for would be seen
    opened.clear()
    quoted = name.replace("\\", "\\\\").replace("\x00", "%00")
    head = f'--x\r\nContent-Disposition: form-data; name="f"; filename="{quoted}"\r\n\r\n'.encode()
    if len(head) > 4096:
        head = head.replace(b"x" * 2000, b"")
    answer = sent(client, head + file_of(picture()) + b"\r\n--x--\r\n", FORM)
    monkeypatch.undo()
    assert answer.status_code == 200
    (row,) = answer.json()["pictures"]
    assert "score" in row
    assert row["name"] == name.replace("\x00", "%00").removeprefix("C:\\")[:255]
    ends = (name, name.replace("\x00", "%00"), pathlib.PurePath(name).name)
    texts = [os.fsdecode(path) for path in opened if not isinstance(path, int)]
    assert [text for text in texts if text.endswith(ends)] == []


@pytest.mark.parametrize(
    "path",
    ["/../../etc/passwd", "/page/../page.js", "/page/%2e%2e/app.py", "//etc/passwd", "/page/"],
)
def test_no_path_of_a_request_names_a_file(client, path):
    refused(client.get(path), 404, "not_found")


def test_another_method_is_told(client):
    answer = client.get("/v1/predict")
    assert refused(answer, 405, "method_not_allowed") == "expected POST, not GET"
    assert answer.headers["allow"] == "POST"


def test_no_message_has_a_path_of_the_server(client, run):
    texts = [sent(client, huge()).text, sent(client, b"no").text, client.get("/v1/models").text]
    texts += [client.get("/v1/card").text, client.get("/openapi.json").text]
    for text in texts:
        assert str(run) not in text
        assert os.path.expanduser("~") not in text


def test_the_service_goes_on_after_all_of_it(client, service):
    assert client.get("/readyz").status_code == 200
    assert sent(client, file_of(picture()), **PNG).status_code == 200
    for room in (service.bytes, service.judging.pixels, service.judging.answers, service.queue):
        assert room.free == room.size
    assert service.active == 0
