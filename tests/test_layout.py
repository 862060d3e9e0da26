"""The package is one column of rooms: each imports only rooms below it, and nothing goes round in a circle."""

import ast
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "docs"))
from draw_column import COLUMN, PACKAGE, draw, floor_of, imports, room_of, without_shortcuts

ROOT_FILES, LINES = 12, 500


@pytest.fixture(scope="module")
def edges():
    return list(imports())


def circles(edges):
    """Circles of modules, each once."""
    graph: dict[str, set[str]] = {}
    for who, what, _ in edges:
        graph.setdefault(who, set()).add(what)
    found, done = [], set()

    def visit(module, path):
        if module in path:
            found.append([*path[path.index(module) :], module])
        elif module not in done:
            for other in sorted(graph.get(module, ())):
                visit(other, [*path, module])
            done.add(module)

    for module in sorted(graph):
        visit(module, [])
    return found


def upward(edges):
    """Imports of rooms that are not below."""
    return [
        f"{who} imports {what}"
        for who, what, _ in edges
        if room_of(who) not in (room_of(what), "__init__", "__main__")
        and floor_of(room_of(what)) >= floor_of(room_of(who))
    ]


def test_no_import_goes_upwards(edges):
    assert upward(edges) == []


def test_no_import_goes_round_in_a_circle(edges):
    assert circles(edges) == []


def test_no_import_hides_in_a_function(edges):
    optional = ("autodiff", "solvers.petsc_")  # JAX and PETSc: what needs them imports them where it is used
    hidden = [f"{who} imports {what}" for who, what, inside in edges if inside and not what.startswith(optional)]
    assert hidden == []


def test_no_import_is_for_types_alone():
    assert [str(path) for path in PACKAGE.rglob("*.py") if "TYPE_CHECKING" in path.read_text()] == []


def test_every_room_is_in_the_column():
    rooms = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert rooms - {"__init__", "__main__"} == {room for floor in COLUMN for room in floor}


def test_files_stay_few_at_the_root_and_short():
    assert len([path for path in PACKAGE.iterdir() if path.is_file()]) <= ROOT_FILES
    long = {path: len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")}
    assert {str(path): lines for path, lines in long.items() if lines > LINES} == {}


def test_the_walk_sees_circles_and_upward_arrows(tmp_path):
    package = tmp_path / "lammps_implicit"
    for file, text in {
        "errors.py": "from lammps_implicit.files import written\n",
        "files.py": "def f():\n    from lammps_implicit.errors import Wrong\n",
        "cell/__init__.py": "",
        "cell/one.py": "from lammps_implicit.cell import two\n",
        "cell/two.py": "from lammps_implicit.cell.one import x\n",
    }.items():
        (package / file).parent.mkdir(parents=True, exist_ok=True)
        (package / file).write_text(text)
    edges = list(imports(package))
    assert upward(edges) == ["errors imports files"]
    assert circles(edges) == [["cell.one", "cell.two", "cell.one"], ["errors", "files", "errors"]]
    assert [who for who, _, inside in edges if inside] == ["files"]


def test_the_column_is_drawn_without_shortcuts(tmp_path):
    assert without_shortcuts({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == {"a": {"b"}, "b": {"c"}, "c": set()}
    draw(tmp_path / "column.svg")
    text = (tmp_path / "column.svg").read_text()
    assert "#c0392b" not in text  # the colour of an arrow that goes upwards


def test_every_public_name_is_documented():
    documented, bare = set(), []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
                continue
            if ast.get_docstring(node) is None and "overload" not in map(ast.unparse, node.decorator_list):
                bare.append((f"{path.stem}.{node.name}", ""))
            for member in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(member, ast.FunctionDef) and not member.name.startswith("_"):
                    overloads = [ast.unparse(decorator) for decorator in member.decorator_list]
                    if ast.get_docstring(member) is not None:
                        documented.add(member.name)
                    elif "overload" not in overloads and not any(d.endswith(".setter") for d in overloads):
                        bare.append((f"{path.stem}.{node.name}.{member.name}", member.name))
    # What implements a method of an interface is documented there.
    assert [name for name, method in bare if method not in documented] == []
