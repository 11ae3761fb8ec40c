"""Which Python converts to ONNX: that of an environment apart, as onnx_environment.txt lists it.

jax2onnx asks for an older orbax than jaxad. In one environment pip would take some old jax2onnx and
say nothing; so it is none of jaxad's dependencies, and its Python is only ever started.
"""

import json
import os
import pathlib
import subprocess
import sys

REQUIREMENTS = pathlib.Path(__file__).with_name("onnx_environment.txt")
VARIABLE = "JAXAD_ONNX_PYTHON"
FOLDER = "~/.cache/jaxad/onnx"  # of the environment, where nobody names another
TOOLS = ("jax2onnx", "jax", "flax", "onnx", "onnxruntime", "openvino")  # what is told of it
ASK = """
import importlib.metadata as metadata, json, platform, sys
def version(name):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
print(json.dumps({"python": platform.python_version(), **{n: version(n) for n in sys.argv[1:]}}))
"""


def interpreter(given: str | None = None) -> pathlib.Path:
    """The Python that converts: what is given, else $JAXAD_ONNX_PYTHON, else that of `FOLDER`.

    Raises:
      ValueError: there is none, or its environment is not the one that was tested; the message
        says how to make that.
    """
    named, what = given, "--onnx-python"
    if named is None:
        named, what = os.environ.get(VARIABLE) or None, f"${VARIABLE}"
    path = pathlib.Path(named).expanduser() if named else _python(FOLDER)
    if not path.is_file():
        missing = f"{what}: there is no {path}; " if named else ""
        raise ValueError(f"{missing}ONNX is converted in an environment of its own; {_made()}")
    there, pinned = versions(path), pins()
    if lacking := [name for name in TOOLS if there[name] is None]:
        raise ValueError(
            f"{path} has no {', '.join(lacking)}, which conversion to ONNX needs; {_made()}"
        )
    if there["jax2onnx"] != pinned["jax2onnx"]:
        raise ValueError(
            f"{path} has jax2onnx {there['jax2onnx']}, and jaxad was tested with "
            f"{pinned['jax2onnx']}; {_made()}"
        )
    return path.absolute()


def versions(python: pathlib.Path) -> dict[str, str | None]:
    """Versions of Python and of `TOOLS` in its environment; None for what it lacks.

    Raises:
      ValueError: it does not start as a Python does.
    """
    command = [str(python), "-I", "-c", ASK, *TOOLS]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        raise ValueError(f"{python} is not a Python that starts ({error}); {_made()}") from error


def pins() -> dict[str, str]:
    """{package: version} of onnx_environment.txt."""
    lines = REQUIREMENTS.read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def _python(folder: str) -> pathlib.Path:
    path = pathlib.Path(folder).expanduser()
    return path / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _made() -> str:
    python = _python(FOLDER)
    return (
        f"make it with `{sys.executable} -m venv {python.parents[1]}` and "
        f"`{python} -m pip install -r {REQUIREMENTS}`"
    )
