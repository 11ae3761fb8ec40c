"""Imports point one way, from the contract upwards."""

import ast
import pathlib

import jaxad

ROOT = pathlib.Path(jaxad.__file__).parent
LAYERS = (  # from the ground up; those of one row do not import one another
    ("detector", "progress", "signals", "whole", "mesh"),
    ("ops", "weights", "optim"),
    ("nets", "synthesis", "compile"),
    ("data", "methods", "wrappers", "export"),
    ("training", "evaluation"),
    ("decision",),
    ("report", "bundle"),
    ("sweep", "serve"),
    ("cli",),
)
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}


def imports(file):
    """The rooms of jaxad that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "jaxad":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("jaxad."):
            yield node.module.split(".")[1]
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
            yield from (parts[1] for parts in names if parts[0] == "jaxad" and len(parts) > 1)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"


def test_every_module_has_its_room():
    inside = [path for path in ROOT.iterdir() if path.is_dir() or path.suffix == ".py"]
    rooms = {path.stem for path in inside if not path.name.startswith(("_", "."))}
    assert rooms == set(LEVEL)


def test_imports_point_downwards():
    against = []
    for file in sorted(ROOT.rglob("*.py")):
        place = file.relative_to(ROOT)
        if place.name in ("__init__.py", "__main__.py") and len(place.parts) == 1:
            continue  # the package itself names what is public, and is run as the command
        room = place.parts[0].removesuffix(".py")
        upwards = [x for x in imports(file) if x != room and LEVEL[x] >= LEVEL[room]]
        against += [f"{place} -> {other}" for other in upwards]
    assert not against


def test_the_walk_sees_an_import_wherever_it_is(tmp_path):
    file = tmp_path / "some.py"
    file.write_text("def f():\n    from jaxad import sweep\n    import jaxad.cli.script\n")
    assert list(imports(file)) == ["sweep", "cli"]
