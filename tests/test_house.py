"""The house is as CONTRIBUTING and docs/architecture.md say: imports go one way, without cycles, and names exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "leaky"

FLOORS: tuple[tuple[str, ...], ...] = (
    ("leaky.__main__",),
    ("leaky.commands",),
    ("leaky.integrations",),
    ("leaky.tuning", "leaky.watching"),
    ("leaky.repairing",),
    ("leaky.checkup_document",),
    ("leaky.checkup",),
    ("leaky.report",),
    ("leaky.diagnosis", "leaky.observation"),
    ("leaky.report.shown",),
    ("leaky.report.drawing", "leaky.report.fragment"),
    ("leaky.report.pen", "leaky.report.view", "leaky.report.strip"),
    ("leaky.structure",),
    ("leaky.activation",),
    ("leaky.record", "leaky.theory"),
    ("leaky.arguments", "leaky.documents", "leaky.failures", "leaky.user_code"),
    ("leaky.files",),
    ("leaky.checking",),
    ("leaky.errors", "leaky.interruptions", "leaky.signals"),
    ("leaky.text",),
)
"""From the roof to the ground: a module imports from its own room and from floors below, never from a neighbour."""

BY_NAME = {
    "leaky": "the façade, at first use",
    "leaky.activation": "whose array came tells which sibling is needed",
    "leaky.activation.kernels.loader": "the compiled core, where there is one",
    "leaky.documents.kinds": "who reads a kind, when a file of it comes",
    "leaky.tuning": "so that names of a study come without torch",
    "leaky.tuning.engines.isolation": "torch, beforehand, where every training would import it anew",
    "leaky.user_code": "the user's own module",
}
"""Modules that import others by a name in a table, and what for."""


def module_name(file: Path) -> str:
    parts = file.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(file): ast.parse(file.read_text("utf-8")) for file in SOURCE.rglob("*.py")}


def imported(name: str) -> Iterator[str]:
    """The modules of leaky that a module imports, in functions too, and where only type checkers see it."""
    for node in ast.walk(MODULES[name]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "leaky")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: imports name their module in full"
            for alias in node.names if (node.module or "").split(".")[0] == "leaky" else ():
                full = f"{node.module}.{alias.name}"
                yield full if full in MODULES else str(node.module)


def floor_and_room(name: str) -> tuple[int, str]:
    found = [(n, room) for n, rooms in enumerate(FLOORS) for room in rooms if f"{name}.".startswith(f"{room}.")]
    assert found, f"{name} has no floor"
    return max(found, key=lambda each: len(each[1]))


EDGES = {name: sorted({to for to in imported(name) if to not in (name, "leaky")}) for name in MODULES}


def test_imports_go_one_way() -> None:
    wrong = []
    for name, targets in EDGES.items():
        if name == "leaky":  # the façade stands above all
            continue
        floor, room = floor_and_room(name)
        for target in targets:
            below, other = floor_and_room(target)
            if room != other and below <= floor:
                wrong.append(f"{name} → {target}")
    assert wrong == []


def test_there_is_no_cycle_not_even_through_functions() -> None:
    left = {name: {to for to in targets if to in MODULES} for name, targets in EDGES.items()}
    while free := [name for name, targets in left.items() if not targets]:
        left = {name: targets - set(free) for name, targets in left.items() if name not in free}
    assert left == {}, "these modules wait for each other"


def test_a_cycle_and_a_wrong_way_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EDGES, "leaky.errors", ["leaky.files"])
    with pytest.raises(AssertionError, match=r"leaky\.errors → leaky\.files"):
        test_imports_go_one_way()
    with pytest.raises(AssertionError, match="wait for each other"):
        test_there_is_no_cycle_not_even_through_functions()


def test_what_only_functions_and_type_checkers_import_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    aside = "if TYPE_CHECKING:\n    from leaky import files\ndef used():\n    from leaky.checking import whole\n"
    monkeypatch.setitem(MODULES, "leaky.text", ast.parse(aside))
    assert {*imported("leaky.text")} == {"leaky.files", "leaky.checking"}


def behind(name: str) -> set[str]:
    """What a module imports, and what that imports."""
    found: set[str] = set()
    left = [name]
    while left:
        new = set(EDGES[left.pop()]) - found
        found |= new
        left += new
    return found


def test_what_carries_out_a_plan_knows_nothing_of_how_plans_are_made() -> None:
    makers = {"leaky.repairing.proposing", "leaky.repairing.api"}
    assert "leaky.repairing.operations" in behind("leaky.repairing.executing")
    assert not makers & behind("leaky.repairing.executing")
    assert makers <= behind("leaky.commands.repair")  # where both come together


def test_of_the_facade_only_the_version_is_used_inside() -> None:
    used = {
        f"{name}: leaky.{node.attr}"
        for name, tree in MODULES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "leaky"
        if "leaky" in imported(name) and node.attr != "__version__" and f"leaky.{node.attr}" not in imported(name)
    }
    assert used == set()


def test_modules_are_imported_by_name_only_where_a_table_says_which() -> None:
    found = {
        name
        for name, tree in MODULES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == "import_module"
    }
    assert found == BY_NAME.keys()


def test_no_package_bears_the_name_of_a_public_function() -> None:
    import leaky

    rooms = {path.stem for path in SOURCE.iterdir()}
    assert rooms & set(leaky.__all__) == {"theory"}  # which is the room itself


SHARED = {"LeakyReLU": "one for each framework", "Watch": "one for each trainer"}
"""Names of several classes, and what for."""


def test_a_class_has_its_name_to_itself() -> None:
    homes: dict[str, list[str]] = {}
    for name, tree in MODULES.items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(name)
    assert {each: modules for each, modules in homes.items() if len(modules) > 1 and each not in SHARED} == {}


def names_in(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg


KNOWN = {name for tree in MODULES.values() for name in names_in(tree)}
PAGES = {page: (ROOT / page).read_text("utf-8") for page in ("CONTRIBUTING.md", "docs/architecture.md")}


PATH = r"[\w./-]+(/|\.(py|json|md|toml|txt))"
PLACES = (ROOT, SOURCE, SOURCE / "diagnosis", SOURCE / "repairing")
"""Where a path on the map may begin."""


def quoted(page: str) -> list[str]:
    """What stands in backticks, apart from blocks of code."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", PAGES[page], flags=re.DOTALL | re.MULTILINE))


@pytest.mark.parametrize("page", PAGES)
def test_paths_that_are_named_exist(page: str) -> None:
    paths = [word for word in quoted(page) if re.fullmatch(PATH, word)]
    assert len(paths) > 5
    assert [path for path in paths if not any((place / path).exists() for place in PLACES)] == []


@pytest.mark.parametrize("page", PAGES)
def test_names_that_are_named_are_defined(page: str) -> None:
    words = [word.removesuffix("()") for word in quoted(page)]
    names = [word for word in words if re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", word)]
    names = [name for name in names if not re.fullmatch(PATH, name)]
    ours = [name for name in names if "_" in name or "." in name or name[0].isupper()]
    assert len(ours) > 5
    modules = {part for module in MODULES for part in module.split(".")}
    lost = [name for name in ours if not {*name.split(".")} <= KNOWN | modules | {"leaky"}]
    assert lost == []


def test_every_room_is_on_the_map() -> None:
    rooms = {path.name for path in SOURCE.iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    assert [room for room in sorted(rooms) if f"`{room}/" not in PAGES["CONTRIBUTING.md"]] == []


def private_names() -> set[str]:
    """What the sources, benchmarks and tools keep to themselves: `_name`, defined or stored anywhere in them."""
    files = [file for folder in ("src/leaky", "benchmarks", "tools") for file in (ROOT / folder).rglob("*.py")]
    trees = [ast.parse(file.read_text("utf-8")) for file in files]
    stored = {
        node.attr if isinstance(node, ast.Attribute) else node.id
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Store)
    }
    found = stored.union(*map(names_in, trees))
    return {name for name in found if name.startswith("_") and len(name) > 1 and not name.endswith("_")}


TORCH_S = {"_version", "_schema", "_backward_hooks"}
"""Names of torch's that ours happen to share."""


def test_no_test_reaches_into_a_private_name() -> None:
    private, reached = private_names() - TORCH_S, []
    assert len(private) > 500
    for file in (ROOT / "tests").rglob("*.py"):
        tree = ast.parse(file.read_text("utf-8"))
        theirs = private - names_of(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr in theirs:
                reached.append(f"{file.name}:{node.lineno}: {ast.unparse(node)}")
            elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("leaky", "benchmarks"):
                reached += [f"{file.name}:{node.lineno}: {a.name}" for a in node.names if a.name in theirs]
    assert reached == []


def names_of(tree: ast.Module) -> set[str]:
    """What a test defines itself: its functions, and what it stores on its own objects."""
    stored = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store)}
    return stored.union(names_in(tree))
