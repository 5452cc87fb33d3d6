"""The ties between specs/, the reference, the C kernels and the tests, read from the sources.

A rule is a heading ``### ID: Title`` under specs/, and the text below it.  It is

- *implemented* where Python under refimpl/ names it in code: ``@rule("ID")``, the rule of a constraint that is
  raised, or a row of an alias table.  A rule marked ``[kernel]`` binds kernels or firmware alone: there, naming it in
  a C file or in the script that builds them counts;
- *promised* where a header under kernels_c/include/ names it;
- *tested* where a test carries it: ``@pytest.mark.rules("ID")``.

Rules marked ``[host]`` (about batches, files, Python errors) need no promise.  Nothing is imported and nothing is
compiled, so the check also works on a tree that does not run.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections import defaultdict
from collections.abc import Container
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from .errors import GoldgradError
from .rules import RULE_ID

HEADING = re.compile(r"### (?P<id>[A-Z0-9]+-[A-Z]\w*)(?P<colon>:?) +(?P<title>.*?)(?P<marks>( \[\w+\])*)\s*")
ALIAS_TABLE = re.compile(rf"(\s*\w+=\w+:{RULE_ID.pattern}\s*)+")
MARKS = {"[host]", "[kernel]"}
NOT_IMPLEMENTING = ("refimpl/goldgrad/conformance/", "refimpl/goldgrad/check/", "refimpl/goldgrad/report/")
"""These name rules in order to check or show them."""


@dataclass(frozen=True)
class Place:
    """A line of a file, and what stands there."""

    path: str
    line: int
    what: str = ""

    def __str__(self) -> str:
        return f"{self.path}:{self.line}" + (f" ({self.what})" if self.what else "")


@dataclass(frozen=True)
class Rule:
    """One rule of the specification."""

    id: str
    title: str
    text: str
    marks: frozenset[str]
    place: Place

    @property
    def page(self) -> str:
        """The page's stem; an operator's name for a page under specs/ops/."""
        return Path(self.place.path).stem


Places = dict[str, list[Place]]


def _places() -> Places:
    return defaultdict(list)


@dataclass
class Spec:
    """All that a tree says about its rules."""

    rules: dict[str, Rule] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    """What is wrong with the pages themselves."""
    pages: list[str] = field(default_factory=list)
    """Paths of the pages, operators last."""
    headers: set[str] = field(default_factory=set)
    implemented: Places = field(default_factory=_places)
    promised: Places = field(default_factory=_places)
    in_c: Places = field(default_factory=_places)
    tested: Places = field(default_factory=_places)
    mentioned: Places = field(default_factory=_places)
    functions: list[str] = field(default_factory=list)
    """Functions of the operator table, for example ``conv2d.vjp_x``."""
    bound: set[str] = field(default_factory=set)
    """Functions with a C kernel behind the binding."""
    properties: set[str] = field(default_factory=set)
    """Functions with a strategy in ``goldgrad.conformance``."""


def checkout(start: Path | None = None) -> Path:
    """Find the root of the checkout around ``start`` (default: the working directory), or else around this package."""
    here = (start or Path.cwd()).resolve()
    beside = [] if start else [Path(__file__).resolve().parents[2]]
    for root in (here, *here.parents, *beside):
        if (root / "specs").is_dir() and (root / "refimpl" / "goldgrad").is_dir():
            return root
    raise GoldgradError(f"{here} is not inside a checkout of goldgrad; run `goldgrad spec` in one, it reads specs/")


def scan(root: Path) -> Spec:
    """Read the tree at ``root``."""
    spec = Spec()
    for path in [*sorted(root.glob("specs/*.md")), *sorted(root.glob("specs/ops/*.md"))]:
        scan_page(spec, root, path)
    for path in sorted(root.glob("refimpl/goldgrad/**/*.py")):
        _scan_python(spec, root, path)
    for path in sorted(root.glob("kernels_c/**/*")):
        if path.suffix in {".h", ".c", ".S", ".py"}:
            _scan_c(spec, root, path)
    for path in sorted(root.glob("renode/**/*")):
        if path.suffix in {".h", ".c", ".ld"}:
            _scan_c(spec, root, path)
    for path in sorted(root.glob("tests/**/*.py")):
        _scan_test(spec, root, path)
    spec.bound.intersection_update(spec.functions)
    spec.properties.intersection_update(spec.functions)
    return spec


def faults(spec: Spec) -> list[str]:
    """List what ``goldgrad spec --check`` complains about, a line each; empty if all is well."""
    found = list(spec.faults)
    for rule_id, places in sorted(spec.mentioned.items()):
        if rule_id not in spec.rules:
            found.append(f"{rule_id} dangles: {places[0]} names it, no page defines it; {_nearest(spec, rule_id)}")
    for rule in spec.rules.values():
        kernel = "[kernel]" in rule.marks
        if kernel and not spec.in_c[rule.id] + spec.promised[rule.id]:
            found.append(f"{rule.id} is implemented nowhere ({rule.place}); name it in C where it is kept")
        if not kernel and not spec.implemented[rule.id]:
            found.append(f'{rule.id} is implemented nowhere ({rule.place}); put @rule("{rule.id}") where it is')
        header = rule.page.replace("-", "_")
        if header in spec.headers and "[host]" not in rule.marks and not spec.promised[rule.id]:
            found.append(f"{rule.id} is promised by no header ({rule.place}); name it in goldgrad/{header}.h")
        if not spec.tested[rule.id]:
            found.append(f'{rule.id} is tested nowhere ({rule.place}); mark its test @pytest.mark.rules("{rule.id}")')
    return found


@dataclass(frozen=True)
class Row:
    """One page of the table: how many of its rules are tied to what, and its operator's functions."""

    name: str
    rules: int
    implemented: int
    promised: int | None
    """None where the page has no C header."""
    promisable: int
    tested: int
    functions: tuple[str, ...]
    bound: tuple[str, ...]
    properties: tuple[str, ...]


def table(spec: Spec) -> tuple[list[Row], list[Row]]:
    """Make the rows of the operators (with a page, or with functions and no page yet), and of the other pages."""
    operators = {Path(p).stem for p in spec.pages if "/ops/" in p} | {name.partition(".")[0] for name in spec.functions}
    others = {Path(p).stem for p in spec.pages if "/ops/" not in p}
    return [_row(spec, name) for name in sorted(operators)], [_row(spec, name) for name in sorted(others)]


def find(spec: Spec, rule_id: str) -> Rule:
    """Look up a rule; the error suggests the nearest one."""
    if rule_id.upper() not in spec.rules:
        raise GoldgradError(f"no page defines {rule_id}; {_nearest(spec, rule_id.upper())}")
    return spec.rules[rule_id.upper()]


def _row(spec: Spec, name: str) -> Row:
    rules = [rule for rule in spec.rules.values() if rule.page == name]
    promisable = [rule for rule in rules if "[host]" not in rule.marks]

    functions = [function for function in spec.functions if function.startswith(f"{name}.")]

    def of(kind: Container[str]) -> tuple[str, ...]:
        return tuple(function.partition(".")[2] for function in functions if function in kind)

    return Row(
        name=name,
        rules=len(rules),
        implemented=sum(
            bool(spec.in_c[r.id] + spec.promised[r.id] if "[kernel]" in r.marks else spec.implemented[r.id])
            for r in rules
        ),
        promised=sum(bool(spec.promised[r.id]) for r in promisable) if name.replace("-", "_") in spec.headers else None,
        promisable=len(promisable),
        tested=sum(bool(spec.tested[r.id]) for r in rules),
        functions=of(functions),
        bound=of(spec.bound),
        properties=of(spec.properties),
    )


def _nearest(spec: Spec, rule_id: str) -> str:
    prefix = rule_id.partition("-")[0]
    near = difflib.get_close_matches(rule_id, [r for r in spec.rules if r.startswith(f"{prefix}-")], n=1)
    prefixes = ", ".join(sorted({r.partition("-")[0] for r in spec.rules}))
    return f"the nearest is {near[0]}" if near else f"the prefixes are {prefixes}"


def scan_page(spec: Spec, root: Path, path: Path) -> None:
    """Read the rules of one page into ``spec``; places are relative to ``root``."""
    name = path.relative_to(root).as_posix()
    lines = path.read_text(encoding="utf-8").splitlines()
    spec.pages.append(name)
    starts = [i for i, line in enumerate(lines) if line.startswith("#")]
    for start, end in pairwise([*starts, len(lines)]):
        heading = HEADING.fullmatch(lines[start])
        if heading is None:
            continue
        place, rule_id = Place(name, start + 1), heading["id"]
        marks = frozenset(heading["marks"].split())
        if not RULE_ID.fullmatch(rule_id) or not heading["colon"] or not marks <= MARKS:
            spec.faults.append(f"{place} is no rule heading: {lines[start]!r}; write '### CONV-S1: Title'")
        elif rule_id in spec.rules:
            spec.faults.append(f"{rule_id} is defined twice: {spec.rules[rule_id].place} and {place}; renumber one")
        else:
            text = "\n".join(lines[start + 1 : end]).strip()
            spec.rules[rule_id] = Rule(rule_id, heading["title"], text, marks, place)
    _mention(spec, name, lines)


def _parsed(source: str, name: str) -> ast.Module:
    try:
        return ast.parse(source, filename=name)
    except SyntaxError as fault:
        raise GoldgradError(f"{name}:{fault.lineno}: {fault.msg}; mend it, its rules cannot be read") from None


def _scan_python(spec: Spec, root: Path, path: Path) -> None:
    name = path.relative_to(root).as_posix()
    source = path.read_text(encoding="utf-8")
    tree = _parsed(source, name)
    _mention(spec, name, source.splitlines())
    owner = _owners(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and not name.startswith(NOT_IMPLEMENTING):
            for rule_id in _tied(node.value):
                spec.implemented[rule_id].append(Place(name, node.lineno, owner.get(node.lineno, "")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if name.startswith("refimpl/goldgrad/kernels/"):
                spec.bound.add(node.value)
            if name.startswith("refimpl/goldgrad/conformance/cases"):
                spec.properties.add(node.value)
        if isinstance(node, ast.FunctionDef) and path.parent.name == "ops" and _is_entered(node):
            spec.functions.append(f"{path.stem}.{node.name}")


def _scan_c(spec: Spec, root: Path, path: Path) -> None:
    name = path.relative_to(root).as_posix()
    lines = path.read_text(encoding="utf-8").splitlines()
    header = name.startswith("kernels_c/include/")
    if header:
        spec.headers.add(path.stem)
    for rule_id, place in _mention(spec, name, lines):
        (spec.promised if header else spec.in_c)[rule_id].append(place)


def _scan_test(spec: Spec, root: Path, path: Path) -> None:
    name = path.relative_to(root).as_posix()
    tree = _parsed(path.read_text(encoding="utf-8"), name)
    owner = _owners(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "rules":
            for argument in node.args:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    place = Place(name, argument.lineno, owner.get(argument.lineno, ""))
                    spec.tested[argument.value].append(place)
                    spec.mentioned[argument.value].append(place)


def _mention(spec: Spec, name: str, lines: list[str]) -> list[tuple[str, Place]]:
    found = [
        (rule_id, Place(name, number)) for number, line in enumerate(lines, 1) for rule_id in RULE_ID.findall(line)
    ]
    for rule_id, place in found:
        spec.mentioned[rule_id].append(place)
    return found


def _tied(text: str) -> list[str]:
    """Rule IDs of a string that is one, or is an alias table; none of prose."""
    return RULE_ID.findall(text) if RULE_ID.fullmatch(text) or ALIAS_TABLE.fullmatch(text) else []


def _is_entered(node: ast.FunctionDef) -> bool:
    """Whether ``@function(...)`` enters the function into the operator table."""
    return any(
        isinstance(d, ast.Call) and isinstance(d.func, ast.Name) and d.func.id == "function"
        for d in node.decorator_list
    )


def _owners(tree: ast.Module) -> dict[int, str]:
    """For each line, the innermost function or class that it belongs to, decorators included."""
    owner: dict[int, str] = {}
    for node in ast.walk(tree):  # breadth first: inner definitions overwrite outer ones
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            for line in range(first, (node.end_lineno or node.lineno) + 1):
                owner[line] = node.name
    return owner
