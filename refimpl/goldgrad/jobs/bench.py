"""What each kernel costs on each shape, on the emulated Cortex-M7: behind ``goldgrad bench kernels``."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from math import prod, sqrt
from pathlib import Path
from typing import Any

import numpy as np

from .. import schemes
from ..board.kernels import KernelMachine, Staged
from ..board.timing.functions import Profile
from ..errors import GoldgradError, show
from ..kernels import KERNELS
from ..models import architecture
from ..numerics import Array
from ..ops import FUNCTIONS, Type
from ..training import Session
from .limits import MAC_FUNCTIONS, Limit, limit, moved

SCHEMES = {"mcunet-5fps": "99kb", "mobilenet-v2-w0.35": "99kb", "proxyless-nas-w0.3": "98kb"}
"""The networks whose shapes are measured unless others are named, each under its scheme of about 100 KB."""
DTYPES = {
    **dict.fromkeys(("x", "x1", "x2", "w", "trained"), "int8"),
    **dict.fromkeys(("b", "channels", "selected", "target", "step", "limit"), "int32"),
    "mask": "uint8",
}
"""What operands are made of in a file of shapes; those that are not here are float32."""
FORM = '[[call]] with function = "conv2d.forward", a shape for each operand as x = [1, 8, 8, 40], and attributes'


@dataclass(frozen=True)
class Call:
    """A function on operands of some types; ``wanted`` says which results are asked for."""

    function: str
    types: tuple[Type | None, ...]
    attributes: Mapping[str, Any]
    wanted: tuple[bool, ...]
    of: tuple[str, ...] = ()
    """The networks that it occurs in."""

    @property
    def shape(self) -> str:
        """The sizes in a few words."""
        t = self.named
        shown = [name for name in ("x", "x1", "g", "gy", "w") if name in t]
        sizes = {name: "x".join(map(str, _of_a_sample(name, t[name]))) for name in shown}
        words = [" ".join(f"{name} {size}" for name, size in sizes.items()) or str(self.results[0])]
        stride = tuple(self.attributes.get("stride", (1, 1)))
        words += [f"stride {stride[0]}"] if stride != (1, 1) else []
        if "channels" in t:
            words.append(
                f"{t['channels'].shape[0]} of w train" if "trained" in t else f"{t['channels'].shape[0]} channels"
            )
        words += [f"from {name}" for name in ("dx0", "dw0", "db0") if name in t]
        outputs = zip(FUNCTIONS[self.function].outputs, self.wanted, strict=True)
        words += ["mask"] if ("mask", True) in outputs else []
        return ", ".join(words)

    @property
    def named(self) -> dict[str, Any]:
        """Types by operand; those that are absent are left out."""
        return {n: t for n, t in zip(FUNCTIONS[self.function].inputs, self.types, strict=False) if t is not None}

    @property
    def results(self) -> tuple[Type, ...]:
        """Types of the results."""
        return FUNCTIONS[self.function].types(*self.types, **self.attributes)

    @property
    def elements(self) -> int:
        """Those of the first operand or the first result, whichever has more; where weights train, those that do."""
        t = self.named
        if "dw" in t:
            return prod(t["dw"].shape)
        return max(prod(kind.shape) for kind in (next(iter(t.values())), self.results[0]))

    @property
    def work(self) -> tuple[int, str]:
        """How much there is to do: multiply-accumulates, those of padding among them, or elements."""
        t, (result, *_) = self.named, self.results
        operator, _, function = self.function.partition(".")
        if operator not in MAC_FUNCTIONS:
            return self.elements, "element"
        if operator == "fully_connected":
            return prod(result.shape if function == "vjp_w" else t["w"].shape), "MAC"
        outputs = result if function == "forward" else t["g"]
        weight = result if function == "vjp_w" else t["w"]
        if operator == "conv2d":
            return prod(outputs.shape) * prod(weight.shape[1:]), "MAC"
        return prod(outputs.shape[:3]) * prod(weight.shape), "MAC"


def _of_a_sample(name: str, kind: Type) -> tuple[int, ...]:
    """Shape, without the first axis if that is a sample alone."""
    return kind.shape[1:] if name != "w" and kind.shape[0] == 1 and len(kind.shape) > 1 else kind.shape


@dataclass(frozen=True)
class Measured:
    """What a call took."""

    function: str
    shape: str
    call: Call
    instructions: int
    cycles: float
    work: int
    unit: str
    scratch: int
    stack: int
    text: int
    spent: Profile
    """By C function, static ones too (TIM-S11)."""

    @property
    def per(self) -> str:
        """What rates are for: a multiply-accumulate, or an element."""
        return "an element" if self.unit == "element" else f"a {self.unit}"

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from others."""
        return self.function, self.shape

    @cached_property
    def limit(self) -> Limit:
        """What no kernel can go below."""
        return limit(self.call)

    @property
    def distance(self) -> float:
        """How many times the limit it takes."""
        return self.cycles / self.limit.cycles

    @property
    def bytes_each(self) -> float:
        """Bytes of operands and results a multiply-accumulate, or an element, each moved once."""
        return sum(moved(self.call)) / self.work

    @property
    def each(self) -> float:
        """Instructions a multiply-accumulate, or an element."""
        return self.instructions / self.work

    @property
    def cycles_each(self) -> float:
        """Cycles a multiply-accumulate, or an element."""
        return self.cycles / self.work

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        sizes = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("call", "spent")}
        bounds = {"limit_cycles": self.limit.cycles, "limit_by": self.limit.by}
        each = {"instructions_each": self.each, "cycles_each": self.cycles_each, "bytes_each": self.bytes_each}
        return {**sizes, "of": list(self.call.of), **each, **bounds}


def chosen(function: str, op: str | None) -> bool:
    """Whether ``--op`` means the function: by its name, or by its operator's."""
    return op in (None, function, function.partition(".")[0])


def of_networks(op: str | None = None) -> list[Call]:
    """The calls of a training step of the three networks, those of one shape once."""
    found: dict[Any, Call] = {}
    for name, scheme in SCHEMES.items():
        model = architecture(name).model(None)
        graph = Session(model, schemes.named(model, scheme)).graph
        for node in graph.nodes:
            if node.function in KERNELS and chosen(node.function, op):
                types = tuple(None if tensor is None else graph[tensor].type for tensor in node.inputs)
                wanted = tuple(tensor is not None for tensor in node.outputs)
                geometry = tuple(sorted((k, v) for k, v in node.attributes.items() if k not in CODES))
                before = found.get(key := (node.function, types, wanted, geometry))
                of = (*before.of, name) if before else (name,)
                found[key] = Call(node.function, types, node.attributes, wanted, tuple(dict.fromkeys(of)))
    if not found:
        raise GoldgradError(f"no network calls {show(op)}; use a function or an operator, for example conv2d.forward")
    return sorted(found.values(), key=lambda call: call.function)


CODES = ("x_zero", "y_zero", "x1_zero", "x2_zero", "lo", "hi")
"""Attributes that change no kernel's way through its code, or hardly."""


def of_file(path: Path, op: str | None = None) -> list[Call]:
    """The calls that a TOML file lists: see :data:`FORM`."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8")).get("call", [])
    except (OSError, ValueError) as fault:
        raise GoldgradError(f"{path} cannot be read: {fault}; write {FORM}") from None
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise GoldgradError(f"{path} lists no calls; write {FORM}")
    calls = [_call(table, f"{path}: call {i}") for i, table in enumerate(tables)]
    return [call for call in calls if chosen(call.function, op)]


def _call(table: Mapping[str, Any], where: str) -> Call:
    function = table.get("function")
    if function not in KERNELS:
        raise GoldgradError(f"{where}: there is no kernel {show(function)}; use one of {', '.join(sorted(KERNELS))}")
    entry = FUNCTIONS[function]
    try:
        types = tuple(
            Type(tuple(table[name]), DTYPES.get(name, "float32")) if name in table else None for name in entry.inputs
        )
        given = {k: tuple(v) if isinstance(v, list) else v for k, v in table.items() if k not in entry.inputs}
        attributes = {k: v for k, v in given.items() if k not in ("function", "without")}
        entry.types(*types, **attributes)
    except (GoldgradError, TypeError, ValueError) as fault:
        raise GoldgradError(f"{where}: {fault}; write {FORM}") from None
    left_out = given.get("without", ())
    return Call(function, types, attributes, tuple(name not in left_out for name in entry.outputs))


class Bench:
    """A machine with a set of kernels, to measure calls on."""

    def __init__(self, kernels: str, machine: KernelMachine) -> None:
        self.kernels, self.machine = kernels, machine
        self._unwatched = KernelMachine(machine.elf)

    def measure(self, calls: Iterable[Call]) -> Iterator[Measured]:
        """One call after the other, on operands from a seeded generator."""
        for call in calls:
            outputs = [
                np.zeros(t.shape, t.dtype) if w else None for t, w in zip(call.results, call.wanted, strict=True)
            ]
            staged, scratch = self._staged(call, outputs)
            for address, block in (*staged.blocks, *staged.constants):
                self.machine.write(address, block.tobytes())
            cost = self.machine.measure(staged.call.symbol, next(staged.samples()))
            work, unit = call.work
            sizes = (cost.instructions, cost.cycles, work, unit, scratch, cost.stack, self.machine.text([cost]))
            yield Measured(call.function, call.shape, call, *sizes, cost.spent)

    def _staged(self, call: Call, outputs: Sequence[Array | None]) -> tuple[Staged, int]:
        """A call with its memory, and the bytes of scratch that the kernels want.

        Those that are measured are asked: they may have changed since this machine's library was built.
        """
        arrays = operands(call)
        staged = Staged(self.kernels, call.function, arrays, outputs, _scratch, call.attributes)
        size = staged.call.scratch_size
        if size is None or size not in self.machine.elf.symbols:
            return staged, staged.scratch_bytes
        for address, block in staged.constants:
            self._unwatched.write(address, block.tobytes())
        wanted = self._unwatched.call(size, [staged.constants[0][0]])
        if wanted > staged.scratch_bytes == 0:
            raise GoldgradError(f"{size} is not 0 any more, which this machine's library does not know; make venv")
        if wanted > staged.scratch_bytes:
            staged = Staged(self.kernels, call.function, arrays, outputs, lambda _: _scratch(wanted), call.attributes)
        return staged, wanted


def _scratch(count: int) -> Array:
    return np.full(count, 0xA5, np.uint8)


def operands(call: Call) -> list[Array | None]:
    """Operands of a call: codes of every size, factors that spread sums over the codes, gradients around 0."""
    draw = np.random.default_rng(746)
    named = call.named
    terms = prod(named["w"].shape) // named["b"].shape[0] if {"w", "b"} <= set(named) else 1
    above = next((named[name].shape[-1] for name in ("w", "g", "x") if name in named), 1)
    return [_drawn(name, named.get(name), draw, terms, above) for name in FUNCTIONS[call.function].inputs]


def _drawn(name: str, kind: Type | None, draw: np.random.Generator, terms: int, above: int) -> Array | None:
    if kind is None:
        return None
    if name in ("channels", "selected", "index"):
        return np.linspace(0, above - 1, prod(kind.shape)).astype(np.int32).reshape(kind.shape)
    if name == "target":
        return np.zeros(kind.shape, np.int32)
    if kind.dtype in ("int8", "uint8", "int32"):
        least, most = {"int8": (-127, 127), "uint8": (0, 255), "int32": (-3000, 3000)}[kind.dtype]
        return draw.integers(least, most, kind.shape, kind.dtype, endpoint=True)
    if name in ("m", "m1", "m2", "q", "lr", "mu"):
        size = 50 / (sqrt(terms) * 8000) if name == "m" else 0.5
        return (draw.uniform(0.5, 1.5, kind.shape) * size).astype(np.float32)
    return draw.standard_normal(kind.shape).astype(kind.dtype)
