"""What a function of C is given for a case: by goldgrad's own ABI, or by a map that somebody wrote in TOML.

A map names for each function of the operator table the symbol and its arguments in order::

    ["conv2d.forward"]
    symbol = "my_conv"
    arguments = ["x", "in_h", "in_w", "in_c", "w", "int16: out_c", "float32: m[0]", "y", "scratch"]
    scratch = "4 * in_c"                 # bytes; only where "scratch" is an argument
    only = { kernel = [1], pad = [0], channels = [8, 16] }   # what cases are drawn from; see strategies.ONLY
    when = "in_h == in_w"                # cases that the kernel takes, of those drawn

A name of the operator table is a pointer to that operand or result.  Everything else is an integer expression over the
sizes and codes of the call (``goldgrad check --template OP`` lists them), over elements such as ``lr[0]``, and over
``shape(x, 0)``; a type in front says what C wants (int32 unless told).  ``struct`` is a pointer to goldgrad's own
struct, ``NULL`` a null pointer.
"""

from __future__ import annotations

import ast
import operator
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ... import paths
from ...board.aapcs import Value
from ...errors import GoldgradError, show
from ...kernels._call import KERNELS, Pointer, Scratch, Struct, describe
from ...numerics import Array
from ...ops import FUNCTIONS, Function, Type

TYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "float32", "float64")
FIELDS = {"symbol", "arguments", "scratch", "when", "only", "scratch_symbol"}
ONLY = ("kernel", "stride", "pad", "dilation", "size", "channels", "batch")
NULL = "NULL"


Argument = Value | Pointer | Struct | Scratch | None
"""None is a null pointer."""


@dataclass(frozen=True)
class Call:
    """One call of C for one sample."""

    symbol: str
    arguments: tuple[Argument, ...]
    sampled: tuple[str, ...]
    chained: tuple[tuple[str, str], ...]
    scratch: int | str
    """Bytes of scratch, or the symbol of the function that says how many."""


class Abi:
    """Functions named and called as specs/kernel-abi.md says."""

    def symbol(self, function: str) -> str | None:
        """The C name of a function, or None if it has none."""
        return f"gg_{function.replace('.', '_')}" if function in KERNELS else None

    def lacks(self, function: str) -> frozenset[str]:
        """Optional operands and results that the function does not have: none."""
        return frozenset()

    def only(self, function: str) -> Mapping[str, Sequence[int]]:
        """What shapes the function is made for: any."""
        return {}

    def call(self, function: str, arrays: Mapping[str, Array | None], attributes: Mapping[str, Any]) -> Call | None:
        """What to call for a case; None if the kernel does not take it."""
        types = {name: Type.of(array) for name, array in arrays.items() if array is not None}
        check = KERNELS[function].check
        if check:
            check(arrays, attributes)
        made = describe(function, types, attributes)
        arguments = tuple(Value("int32", a) if isinstance(a, int) else a for a in made.arguments)
        return Call(made.symbol, arguments, made.sampled, made.chained, made.scratch_size or 0)


class Map:
    """Functions named and called as a TOML file says."""

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self.entries = entries

    @staticmethod
    def read(path: Path) -> Map:
        """Read a file; the error names the entry at fault."""
        try:
            tables = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as fault:
            raise GoldgradError(f"{path} cannot be read: {fault}; goldgrad check --template OP makes one") from None
        entries = {}
        for function, table in tables.items():
            if function not in FUNCTIONS:
                known = ", ".join(sorted(FUNCTIONS))
                raise GoldgradError(f"{path}: {show(function)} is no function; quote one of {known}")
            entries[function] = Entry.of(FUNCTIONS[function], table, f"{path}: {function}")
        return Map(entries)

    def symbol(self, function: str) -> str | None:
        """The C name of a function, or None if the map has none."""
        return self.entries[function].symbol if function in self.entries else None

    def lacks(self, function: str) -> frozenset[str]:
        """Optional operands and results that no argument stands for."""
        return self.entries[function].lacks if function in self.entries else frozenset()

    def only(self, function: str) -> Mapping[str, Sequence[int]]:
        """What shapes the function is made for."""
        return self.entries[function].only if function in self.entries else {}

    def call(self, function: str, arrays: Mapping[str, Array | None], attributes: Mapping[str, Any]) -> Call | None:
        """What to call for a case; None if the kernel does not take it."""
        return self.entries[function].call(arrays, attributes)


@dataclass(frozen=True)
class Term:
    """An argument of an entry: a pointer, or a typed expression."""

    pointer: str | None
    type: str
    expression: ast.expr | None


@dataclass(frozen=True)
class Entry:
    """What a map says of one function."""

    function: Function
    where: str
    symbol: str
    terms: tuple[Term, ...]
    scratch: ast.expr | str | None
    when: ast.expr | None
    lacks: frozenset[str]
    only: Mapping[str, Sequence[int]]

    @staticmethod
    def of(function: Function, table: object, where: str) -> Entry:
        """Check a table of the file."""
        form = f"write symbol, arguments and perhaps {', '.join(sorted(FIELDS - {'symbol', 'arguments'}))}"
        if not isinstance(table, dict) or not {"symbol", "arguments"} <= set(table) <= FIELDS:
            raise GoldgradError(f"{where} is {show(table)}; {form}")
        texts = table["arguments"]
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise GoldgradError(f"{where}: arguments is {show(texts)}; write a list of strings")
        names = (*function.inputs, *function.outputs)
        terms = tuple(_term(text, names, where) for text in texts)
        used = {term.pointer for term in terms} | {
            node.value.id
            for term in terms
            if term.expression is not None
            for node in ast.walk(term.expression)
            if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name)
        }
        missing = [name for name in names if name not in used]
        for name in missing:
            if name not in function.optional:
                raise GoldgradError(f"{where}: no argument stands for {name}, which every call has; add it")
        scratch = table.get("scratch_symbol") or _parsed(table.get("scratch"), where)
        if ("scratch" in used) != (scratch is not None):
            raise GoldgradError(f"{where}: scratch is an argument, or has a size, but not both; add what is missing")
        when = _parsed(table.get("when"), where)
        only = _only(table.get("only", {}), where)
        return Entry(function, where, str(table["symbol"]), terms, scratch, when, frozenset(missing), only)

    def call(self, arrays: Mapping[str, Array | None], attributes: Mapping[str, Any]) -> Call | None:
        """What to call; None if ``when`` does not hold, or an operand is given that the kernel does not have."""
        if any(arrays.get(name) is not None for name in self.lacks):
            return None
        numbers = sizes(self.function.name, arrays, attributes)
        value = Evaluator(numbers, arrays, self.where)
        if self.when is not None and not value(self.when):
            return None
        made = describe(self.function.name, {n: Type.of(a) for n, a in arrays.items() if a is not None}, attributes)
        arguments = tuple(self._argument(term, value, made.struct) for term in self.terms)
        if isinstance(self.scratch, ast.expr):
            return Call(self.symbol, arguments, made.sampled, made.chained, int(value(self.scratch)))
        return Call(self.symbol, arguments, made.sampled, made.chained, self.scratch or 0)

    def _argument(self, term: Term, value: Evaluator, struct: Struct | None) -> Argument:
        if term.pointer == NULL:
            return None
        if term.pointer == "scratch":
            return Scratch()
        if term.pointer == "struct":
            if struct is None:
                raise GoldgradError(f"{self.where}: the function has no struct; name its sizes instead")
            return struct
        if term.pointer:
            return Pointer(term.pointer)
        assert term.expression is not None
        number = value(term.expression)
        return Value(term.type, float(number) if term.type.startswith("float") else int(number))


def sizes(function: str, arrays: Mapping[str, Array | None], attributes: Mapping[str, Any]) -> dict[str, int]:
    """The numbers that an expression of a map may use, by name."""
    types = {name: Type.of(array) for name, array in arrays.items() if array is not None}
    numbers: dict[str, int] = {}
    first = next(iter(types.values()))
    numbers["pixels"], numbers["channels"] = prod(first.shape[:-1]), first.shape[-1]
    numbers["elements"] = prod(first.shape)
    made = describe(function, types, attributes)
    for name, argument in zip(parameters(function), made.arguments, strict=True):
        if isinstance(argument, Struct):
            for each, field in argument.fields.items():
                numbers |= field if isinstance(field, Mapping) else {each: field}
        elif isinstance(argument, int):
            numbers[name] = argument
    numbers |= {name: value for name, value in attributes.items() if isinstance(value, int)}
    if "pad" in attributes:
        numbers |= {"pad_bottom": attributes["pad"][1], "pad_right": attributes["pad"][3]}
    elif "pad_top" in numbers:
        numbers |= {"pad_bottom": 0, "pad_right": 0}
    listed = types.get("channels")
    numbers["kept"] = 0 if listed is None else listed.shape[0]
    return numbers


@cache
def prototype(symbol: str) -> tuple[str, str]:
    """What a function of goldgrad's ABI returns, and its parameters as its header has them."""
    headers = sorted((paths.data("kernels_c") / "include" / "goldgrad").glob("*.h"))
    pattern = re.compile(rf"^(void|int32_t) {symbol}\(([^;]*)\);", re.MULTILINE)
    found = next(match for header in headers if (match := pattern.search(header.read_text(encoding="utf-8"))))
    return found[1], " ".join(found[2].split())


@cache
def parameters(function: str) -> tuple[str, ...]:
    """The names of the parameters of goldgrad's own function."""
    return tuple(re.findall(r"(\w+)(?:,|$)", prototype(f"gg_{function.replace('.', '_')}")[1]))


def _term(text: str, names: tuple[str, ...], where: str) -> Term:
    if text in (*names, NULL, "scratch", "struct"):
        return Term(text, "", None)
    kind, colon, rest = text.partition(":")
    if colon and kind.strip() not in TYPES:
        raise GoldgradError(f"{where}: {show(text)} has type {show(kind.strip())}; use {', '.join(TYPES)}")
    return Term(None, kind.strip() if colon else "int32", _parsed(rest if colon else text, where))


def _only(table: object, where: str) -> Mapping[str, Sequence[int]]:
    lists: dict[str, Any] = table if isinstance(table, dict) else {"": 0}
    for name, values in lists.items():
        least = 0 if name == "pad" else 1
        if (
            name not in ONLY
            or not isinstance(values, list)
            or not values
            or not all(isinstance(value, int) and value >= least for value in values)
        ):
            raise GoldgradError(f"{where}: only has {show(name)} = {show(values)}; give lists of {', '.join(ONLY)}")
    return lists


def _parsed(text: object, where: str) -> ast.expr | None:
    if text is None:
        return None
    try:
        return ast.parse(str(text).strip(), mode="eval").body
    except (SyntaxError, ValueError):
        raise GoldgradError(
            f"{where}: {show(text)} is no expression; write names, numbers, + - * // % and ()"
        ) from None


OPERATORS: Mapping[type, Any] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.USub: operator.neg,
    ast.Not: operator.not_,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


@dataclass(frozen=True)
class Evaluator:
    """Computes an expression of a map for one case; it can name numbers and nothing else."""

    numbers: Mapping[str, int]
    arrays: Mapping[str, Array | None]
    where: str

    def __call__(self, node: ast.expr) -> Any:  # noqa: PLR0911  (a kind of node a line)
        """The value, or a :class:`~goldgrad.errors.GoldgradError` that names what cannot be."""
        match node:
            case ast.Constant(value=int() | float()):
                return node.value
            case ast.Name(id=name) if name in self.numbers:
                return self.numbers[name]
            case ast.BinOp(left, op, right) if type(op) in OPERATORS:
                return OPERATORS[type(op)](self(left), self(right))
            case ast.UnaryOp(op, operand) if type(op) in OPERATORS:
                return OPERATORS[type(op)](self(operand))
            case ast.BoolOp(ast.And(), values):
                return all(self(value) for value in values)
            case ast.BoolOp(ast.Or(), values):
                return any(self(value) for value in values)
            case ast.Compare(left, [op], [right]) if type(op) in OPERATORS:
                return OPERATORS[type(op)](self(left), self(right))
            case ast.Call(ast.Name("shape"), [ast.Name(name), axis]) if name in self.arrays:
                array = self.arrays[name]
                return 0 if array is None else array.shape[self(axis)]
            case ast.Subscript(ast.Name(name), ast.Constant(int(at))) if self.arrays.get(name) is not None:
                element = np.asarray(self.arrays[name]).flat[at]
                return element.item()
        known = ", ".join(sorted(self.numbers))
        raise GoldgradError(f"{self.where}: {ast.unparse(node)!r} means nothing here; known are {known}")
