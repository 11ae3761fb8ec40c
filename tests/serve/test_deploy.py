"""What can be checked of the Dockerfile without building it, and the page about the service."""

import json
import pathlib
import re
import shutil
import subprocess
import tomllib

import pytest
from asked import file_of, picture, service_of
from test_connections import serving

ROOT = pathlib.Path(__file__).parents[2]
PAGE = ROOT / "docs" / "serving.md"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def dockerfile():
    return (ROOT / "Dockerfile").read_text().replace("\\\n", " ")


def test_the_image_is_made_of_what_is_there_and_is_not_ignored():
    allowed = [
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    ]
    copied = [
        place for line in re.findall(r"^COPY (.*)$", dockerfile(), re.MULTILINE)
        for place in line.split()[:-1]
    ]  # fmt: skip
    assert set(copied) == set(allowed)
    assert all((ROOT / place).exists() for place in copied)


def test_the_image_has_all_that_the_wheel_is_built_of():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    build = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    wanted = [project["project"]["readme"], *build["packages"], *build["force-include"]]
    assert all(place in dockerfile() for place in wanted)
    extras = re.search(r"^ARG EXTRAS=(\S+)$", dockerfile(), re.MULTILINE)[1]
    assert set(extras.split(",")) <= set(project["project"]["optional-dependencies"])


def test_the_image_runs_the_command_as_somebody_else_than_root():
    text = dockerfile()
    last = [line for line in text.splitlines() if line.startswith("USER ")][-1]
    assert last == "USER jaxad"
    entry = json.loads(re.search(r"^ENTRYPOINT (.*)$", text, re.MULTILINE)[1])
    assert entry[:2] == ["sh", "-c"]
    if shutil.which("sh"):
        said = entry[2].replace("exec jaxad", "echo")
        done = subprocess.run(
            ["sh", "-c", said, entry[3], "/models/a b", "--queue", "9"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stdout.startswith("serve /models/a b --queue 9 --host 0.0.0.0")


def test_options_of_the_page_and_the_image_are_those_of_the_command():
    from jaxad.cli.options import settings_of
    from jaxad.cli.serve import AddressOptions, CardOptions
    from jaxad.serve.limits import Limits

    known = {
        name.replace("_", "-")
        for one in (AddressOptions(), CardOptions(), Limits())
        for name in settings_of(one)
    }
    page = "\n".join(re.findall(r"`[^`\n]*--[^`\n]*`", PAGE.read_text()))
    served = re.search(r"ENTRYPOINT.*?\]", dockerfile(), re.DOTALL)[0]
    named = set(re.findall(r"--([a-z][a-z-]*)", page + served))
    # Those of `jaxad predict` and `export` are named too.
    assert named - {"help", "watch", "cache"} <= known
    for name in known:
        assert f"--{name}" in PAGE.read_text(), name


@pytest.fixture(scope="module")
def port(model):
    service = service_of(model)
    with serving(service, "change-me-to-something-long") as (found, _):
        yield found
    service.close()


def blocks(language, port):
    there = lambda code: code.replace("127.0.0.1:8000", f"127.0.0.1:{port}")
    found = [there(code) for kind, code in FENCE.findall(PAGE.read_text()) if kind == language]
    assert found
    return found


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_the_commands_of_the_page_ask_the_service(port, tmp_path):
    for name in ("0001.png", "0002.png"):
        (tmp_path / name).write_bytes(file_of(picture()))
    for code in blocks("bash", port):
        done = subprocess.run(
            ["sh", "-ec", code.replace("curl ", "curl -sS --fail-with-body ")],
            cwd=tmp_path, capture_output=True, text=True, check=False,
            env={"JAXAD_TOKEN": "change-me-to-something-long", "PATH": "/usr/bin:/bin"},
        )  # fmt: skip
        assert done.returncode == 0, (code, done.stdout, done.stderr)
    assert (tmp_path / "overlay.png").read_bytes().startswith(b"\x89PNG")


def test_the_python_of_the_page_asks_the_service(port, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JAXAD_TOKEN", "change-me-to-something-long")
    (tmp_path / "0001.png").write_bytes(file_of(picture()))
    for code in blocks("python", port):
        exec(compile(code, PAGE.name, "exec"), {})
    assert "score" in capsys.readouterr().out
