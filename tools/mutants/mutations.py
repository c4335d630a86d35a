"""The mutants of a source file: what may be changed in it, one place at a time.

Changed are comparisons, arithmetic, conditions, numbers, truth values, names in strings, results, errors raised and
calls made for their effect; not annotations, decorators, docstrings and the wording of messages.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

_OPERATORS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Break: ast.Continue,
    ast.Continue: ast.Break,
}
_NAMES = {"min": "max", "any": "all", "amin": "amax", "minimum": "maximum", "isfinite": "isnan"}
_NAMES |= {other: name for name, other in _NAMES.items()}
_WORDS = re.compile(r"[A-Za-z_]\w*( [A-Za-z_]\w*)*")


@dataclass(frozen=True)
class Mutant:
    """One change.

    Attributes:
        file: that it is made in.
        number: of the change among those of the file.
        where: the function or class around it; "" at the top.
        lines: first and last of the statement; None where it runs when the module is imported.
        change: what becomes what, in words.
    """

    file: Path
    number: int
    where: str
    line: int
    lines: tuple[int, int] | None
    change: str


@dataclass
class _Place:
    """Where the walk is: the function around it, and the statement whose lines are run."""

    where: str = ""
    inside: bool = False
    lines: tuple[int, int] | None = None


_Change = tuple[ast.AST, _Place, str, Callable[[], None]]


def mutants_of(file: Path) -> list[Mutant]:
    """All changes of a file."""
    found = enumerate(_changes(ast.parse(file.read_text("utf-8"))))
    return [
        Mutant(file, number, place.where, getattr(node, "lineno", 0), place.lines, words)
        for number, (node, place, words, _) in found
    ]


def mutated(mutant: Mutant) -> ast.Module:
    """The file with its change made."""
    tree = ast.parse(mutant.file.read_text("utf-8"))
    _, _, _, change = list(_changes(tree))[mutant.number]
    change()
    return ast.fix_missing_locations(tree)


def _changes(tree: ast.Module) -> Iterator[_Change]:
    yield from _in_body(tree, tree.body, _Place())


def _in_body(owner: ast.AST, body: list[ast.stmt], place: _Place) -> Iterator[_Change]:
    for position, statement in enumerate(body):
        yield from _in_statement(statement, body, position, place)


def _in_statement(node: ast.stmt, body: list[ast.stmt], position: int, place: _Place) -> Iterator[_Change]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield from _in_definition(node, place)
        return
    if _says_nothing(node):
        return
    blocks = [block for name in ("body", "orelse", "finalbody") if (block := getattr(node, name, None))]
    blocks += [handler.body for handler in getattr(node, "handlers", ())]
    last = (blocks[0][0].lineno - 1) if blocks else (node.end_lineno or node.lineno)
    here = _Place(place.where, place.inside, (node.lineno, max(node.lineno, last)) if place.inside else None)

    def gone() -> None:
        body[position] = ast.copy_location(ast.Pass(), node)

    if isinstance(node, ast.Raise) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
        yield node, here, f"{_short(node)} → (nothing)", gone
    if isinstance(node, ast.Break | ast.Continue):
        other = _OPERATORS[type(node)]()
        yield node, here, _short(node) + " → the other", lambda: body.__setitem__(position, other)  # type: ignore
    if isinstance(node, ast.Return) and node.value is not None and not _is_none(node.value):
        none = ast.copy_location(ast.Constant(None), node.value)
        yield node, here, f"{_short(node)} → return None", lambda: setattr(node, "value", none)
    if not isinstance(node, ast.Raise):
        for field, value in ast.iter_fields(node):
            if field not in ("body", "orelse", "finalbody", "handlers", "annotation"):
                yield from _in_field(node, field, value, here)
    for block in blocks:
        yield from _in_body(node, block, place)


def _in_definition(node: ast.FunctionDef | ast.ClassDef, place: _Place) -> Iterator[_Change]:
    where = f"{place.where}.{node.name}".lstrip(".")
    if isinstance(node, ast.FunctionDef):
        outer = _Place(where, place.inside, place.lines)
        yield from _in_field(node.args, "defaults", node.args.defaults, outer)
        yield from _in_field(node.args, "kw_defaults", node.args.kw_defaults, outer)
    inside = place.inside or isinstance(node, ast.FunctionDef)
    yield from _in_body(node, node.body, _Place(where, inside))


def _says_nothing(node: ast.stmt) -> bool:
    """Docstrings, imports, names of types, and what only type checkers see."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        return True
    if isinstance(node, ast.AnnAssign) and isinstance(node.annotation, ast.Name) and node.annotation.id == "TypeAlias":
        return True
    if isinstance(node, ast.Assign):
        names = {target.id for target in node.targets if isinstance(target, ast.Name)}
        typed = isinstance(node.value, ast.Subscript) and isinstance(node.value.value, ast.Name)
        typed = typed and node.value.value.id in ("Literal", "Callable", "Union", "tuple")  # type: ignore[union-attr]
        return "__all__" in names or typed
    return isinstance(node, ast.Import | ast.ImportFrom)


def _in_field(parent: ast.AST, field: str, value: object, place: _Place) -> Iterator[_Change]:
    """The changes of an expression, or of several, that a node holds."""
    if isinstance(value, list):
        for position, item in enumerate(value):
            if isinstance(item, ast.AST):
                yield from _in_node(item, lambda new, p=position: value.__setitem__(p, new), place)
    elif isinstance(value, ast.AST):
        yield from _in_node(value, lambda new: setattr(parent, field, new), place)


def _in_node(node: ast.AST, put: Callable[[ast.AST], None], place: _Place) -> Iterator[_Change]:
    if isinstance(node, ast.JoinedStr):  # wording
        return
    for words, new in _variants(node, place):
        yield node, place, words, lambda new=new: put(ast.copy_location(new, node))
    for field, value in ast.iter_fields(node):
        if field not in ("annotation", "ctx", "op", "ops"):
            yield from _in_field(node, field, value, place)


def _variants(node: ast.AST, place: _Place) -> Iterator[tuple[str, ast.AST]]:
    """What a node may become, each with its words."""
    if isinstance(node, ast.BinOp | ast.BoolOp) and type(node.op) in _OPERATORS:
        fields = {**dict(ast.iter_fields(node)), "op": _OPERATORS[type(node.op)]()}
        yield _said(node, type(node)(**fields))
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        yield _said(node, ast.Compare(node.left, [_OPERATORS[type(node.ops[0])]()], node.comparators))  # type: ignore
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        yield _said(node, node.operand)
    if isinstance(node, ast.IfExp):
        yield _said(node, ast.IfExp(_not(node.test), node.body, node.orelse))
    if isinstance(node, ast.comprehension) and node.ifs:
        words = " if ".join(map(_short, node.ifs))
        yield f"if {words} → (no condition)", ast.comprehension(node.target, node.iter, [], node.is_async)
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in _NAMES:
            new = _NAMES[name]
            func = ast.Attribute(node.func.value, new) if isinstance(node.func, ast.Attribute) else ast.Name(new)
            func.ctx = ast.Load()
            yield _said(node, ast.Call(func, node.args, node.keywords))
    if isinstance(node, ast.Constant):
        new_value = _other_value(node.value, place)
        if new_value is not None:
            yield _said(node, ast.Constant(new_value))


def _other_value(value: object, place: _Place) -> object:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value * 2 or 1.0
    if isinstance(value, str) and _WORDS.fullmatch(value) and (" " not in value or not place.inside):
        return value + "_other"  # a name, or a table of names; several words within a function are a message
    return None


def _not(test: ast.expr) -> ast.expr:
    return ast.UnaryOp(ast.Not(), test)


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _said(old: ast.AST, new: ast.AST) -> tuple[str, ast.AST]:
    return f"{_short(old)} → {_short(new)}", new


def _short(node: ast.AST) -> str:
    return " ".join(ast.unparse(ast.fix_missing_locations(node)).split())[:100]
