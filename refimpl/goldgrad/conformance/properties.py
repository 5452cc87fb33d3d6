"""What must hold of every provider: a property is a name, the rules behind it, and a check of one case.

A check returns when the property holds and raises :class:`Fault` when it does not; :func:`verify` makes that a
:class:`~goldgrad.conformance.compare.Mismatch` with all there is to say.  Checks need no hypothesis: they repeat a
pasted case as well as a generated one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from ..numerics import F32, F64, INT32_MAX, Array, codes_in_reach
from ..ops import Alias, Function, Type
from .case import Case
from .compare import Mismatch, difference, rules_of, ulps
from .dot import PRODUCTS, judgement, leaning, sums
from .linear import LINEAR, exact
from .memory import POISONS, Block
from .providers import NotProvided, Provider, lacking


class Fault(Exception):  # noqa: N818  (the provider's, not ours)
    """What a provider did wrong: a headline, and lines of detail."""


@dataclass(frozen=True)
class Property:
    """A property by name; ``letters`` are the classes of the rules that it checks."""

    name: str
    letters: str
    check: Callable[[Case, Provider], None]
    applies: Callable[[Function], bool]
    needs: tuple[str, ...] = ()
    """Arrays that a case must have besides its operands (a tangent, a slice); ``strategies.PREPARE`` draws them."""
    only: str = ""
    """The class of numerics that asks for it, exact or dot, where only one does (NUM-N14, NUM-N15)."""

    def asked(self, entry: Function, klass: str) -> bool:
        """Whether a class asks it of a function; class dot is about those alone whose page allows it."""
        return not self.only or self.only == (klass if entry.name in DOT else "exact")


DOT = frozenset({*PRODUCTS, "softmax_cross_entropy.forward", "softmax_cross_entropy.from_probabilities"})
"""Functions whose page allows sums in any order, within a bound."""

PROPERTIES: dict[str, Property] = {}


def entered(
    letters: str,
    applies: Callable[[Function], bool] = lambda entry: True,
    needs: tuple[str, ...] = (),
    only: str = "",
) -> Callable[[Callable[[Case, Provider], None]], Callable[[Case, Provider], None]]:
    """Enter a check into :data:`PROPERTIES` under its name."""

    def enter(check: Callable[[Case, Provider], None]) -> Callable[[Case, Provider], None]:
        PROPERTIES[check.__name__] = Property(check.__name__, letters, check, applies, needs, only)
        return check

    return enter


def verify(name: str, case: Case, provider: Provider) -> None:
    """Check one property on one case; raises :class:`~goldgrad.conformance.compare.Mismatch` if it does not hold."""
    try:
        PROPERTIES[name].check(case, provider)
    except Fault as fault:
        raise Mismatch(case, name, str(fault), rules_of(case.function, PROPERTIES[name].letters)) from fault.__cause__


@dataclass
class Run:
    """One call of a provider on guarded memory, and what it did there."""

    case: Case
    inputs: dict[str, Block]
    outputs: dict[str, Block]
    results: dict[str, Array]
    scratch: list[Block] = field(default_factory=list)
    homes: Mapping[str, str] = field(default_factory=dict)
    """Results that lie where an operand does."""

    def faults(self) -> Iterator[str]:
        """What was written that may not be: operands that share no memory with a result, and all guards."""
        for name, block in self.inputs.items():
            if name not in self.homes.values():
                change = difference(name, _present(self.case.operands[name]), block.array, "before", "after")
                if change:
                    yield f"an operand changed\n{change}"
            elif self.tail(name) is not None:
                yield f"memory of {name} behind the result in its place changed: {self.tail(name)}"
        for where, blocks in (("operand", self.inputs), ("result", self.outputs)):
            for name, block in blocks.items():
                outside = block.written_outside()
                if outside:
                    yield f"memory outside {where} {name} changed: {outside}"

    def tail(self, name: str) -> str | None:
        """How an operand changed behind the shorter result in its place."""
        block, before = self.inputs[name], _present(self.case.operands[name])
        end = max(self.results[output].nbytes for output, home in self.homes.items() if home == name)
        after = block.view(Type.of(before)).reshape(-1).view(np.uint8)[end:]
        return difference("bytes", before.reshape(-1).view(np.uint8)[end:], after, "before", "after")

    def scratch_faults(self) -> Iterator[str]:
        """Writes past the scratch that was asked for."""
        for block in self.scratch:
            outside = block.written_outside()
            if outside:
                yield f"wrote outside its {block.array.nbytes} bytes of scratch: {outside}"


def execute(
    case: Case,
    provider: Provider,
    poison: int = POISONS[0],
    scratch_poison: int | None = None,
    shift: int = 0,
    unwanted: frozenset[str] = frozenset(),
    aliases: tuple[Alias, ...] = (),
) -> Run:
    """Call the provider on poisoned, guarded memory.

    ``unwanted`` results are None; ``aliases`` put results where operands are, the rest of the memory is separate.
    """
    entry, kinds = case.entry, dict(zip(case.entry.outputs, case.types, strict=True))
    unwanted |= lacking(provider, case.function)
    homes = {alias.output: alias.input for alias in aliases}
    inputs: dict[str, Block] = {}
    for name, array in case.operands.items():
        if array is None:
            continue
        guests = [kinds[output] for output, home in homes.items() if home == name]
        largest = max((Type.of(array), *guests), key=lambda kind: kind.nbytes)
        inputs[name] = block = Block.of(largest, poison, shift=shift)
        block.view(Type.of(array))[...] = array
    outputs = {
        name: inputs[homes[name]] if name in homes else Block.of(kind, poison, shift=shift)
        for name, kind in kinds.items()
        if name not in unwanted
    }
    results = {name: block.view(kinds[name]) for name, block in outputs.items()}
    run = Run(case, inputs, outputs, results, homes=homes)

    def scratch(size: int) -> Array:
        run.scratch.append(Block.of(Type((size,), "uint8"), scratch_poison or poison, align=8))
        return run.scratch[-1].array

    operands = [None if array is None else inputs[name].view(Type.of(array)) for name, array in case.operands.items()]
    try:
        provider.run(case.function, operands, [results.get(name) for name in entry.outputs], scratch, case.attributes)
    except NotProvided:
        raise
    except Exception as error:
        raise Fault(f"{provider.name} raised {type(error).__name__}: {error}") from error
    return run


def _present(array: Array | None) -> Array:
    assert array is not None
    return array


def _agree(
    expected: Mapping[str, Array], actual: Mapping[str, Array], fault: str, first: str, second: str = "got"
) -> None:
    """The results have the same bits, as far as both have them; otherwise ``fault``."""
    for result, array in actual.items():
        details = difference(result, expected[result], array, first, second)
        if details:
            raise Fault(f"{fault}\n{details}")


def _refuse(faults: Iterator[str]) -> None:
    for fault in faults:
        raise Fault(fault)


@entered("SN", only="exact")
def bits(case: Case, provider: Provider) -> None:
    """The results equal the reference's in every bit."""
    expected = dict(zip(case.entry.outputs, case.reference(), strict=True))
    _agree(expected, execute(case, provider).results, "not the reference's bits", "reference")


@entered("F")
def frame(case: Case, provider: Provider) -> None:
    """Every bit of the results is written, nothing else is, and nothing is read that is not an operand."""
    first, second = (execute(case, provider, poison) for poison in POISONS)
    _refuse(first.faults())
    _agree(
        first.results,
        second.results,
        "the results depend on what lies in and around them before",
        "among 0xaa",
        "among 0x55",
    )


@entered("M")
def scratch(case: Case, provider: Provider) -> None:
    """Exactly the scratch that was asked for is enough, whatever it holds."""
    first, second = (execute(case, provider, scratch_poison=poison) for poison in POISONS)
    _refuse(first.scratch_faults())
    sizes, again = ([block.array.nbytes for block in run.scratch] for run in (first, second))
    if sizes != again:
        raise Fault(f"asks for {sizes} bytes of scratch, the second time for {again}")
    _agree(first.results, second.results, "the results depend on what scratch holds before", "after 0xaa", "after 0x55")


@entered("SN")
def determinism(case: Case, provider: Provider) -> None:
    """The same operands give the same bits, twice and at another address."""
    first = execute(case, provider)
    for shift in (0, 1):
        _agree(
            first.results,
            execute(case, provider, shift=shift).results,
            "a second run gives other bits",
            "first",
            "second",
        )


@entered("SF", applies=lambda entry: bool(entry.optional), only="exact")
def optional(case: Case, provider: Provider) -> None:
    """A result that nobody wants changes no other; where a chain starts, nothing is +0."""
    entry = case.entry
    whole = execute(case, provider)
    for name in entry.outputs:
        if name in entry.optional:
            without = execute(case, provider, unwanted=frozenset({name}))
            _refuse(without.faults())
            _agree(whole.results, without.results, f"without {name} the other results change", f"with {name}")
    for row in _starts(entry):
        absent = execute(case.having(**{row.input: None}), provider)
        zero = np.zeros_like(absent.results[row.output])
        start = execute(case.having(**{row.input: zero}), provider)
        _agree(
            start.results, absent.results, f"without {row.input} the chain does not start at +0", f"{row.input} = +0"
        )


BATCHED = frozenset({"x", "x1", "x2", "g", "gy", "mask", "index", "flags", "dx0"})
"""Operands with one entry a sample on their first axis."""

SUMMED = {"dw": "dw0", "db": "db0"}
"""Results that are summed over samples, and where their chain starts."""


def _batched(entry: Function) -> frozenset[str]:
    """Names of the operands with samples; q is one where it stands for logits."""
    return BATCHED.intersection(entry.inputs) | ({"q", "target"} if "target" in entry.inputs else set())


def _takes_samples(entry: Function) -> bool:
    """Whether a batch is more than one step's: an update takes one step, however many samples its gradient is of."""
    return bool(_batched(entry)) and entry.updates is None


@entered("S", applies=_takes_samples, only="exact")
def samples(case: Case, provider: Provider) -> None:
    """A batch gives what its samples give one after another; where they are summed, the chain goes on (TRAIN-S5)."""
    names = _batched(case.entry)
    batched = {name: a for name, a in case.operands.items() if name in names and a is not None}
    whole = execute(case, provider).results
    parts: list[dict[str, Array]] = []
    start: dict[str, Array] = {}
    for n in range(min(map(len, batched.values()))):
        one = case.having(**{name: a[n : n + 1] for name, a in batched.items()}, **start)
        parts.append(execute(one, provider).results)
        start = {SUMMED[name]: a for name, a in parts[-1].items() if name in SUMMED}
    expected = {
        name: parts[-1][name] if name in SUMMED else np.concatenate([part[name] for part in parts]) for name in whole
    }
    _agree(expected, whole, "a batch is not what its samples give one after another", "samples", "batch")


@entered("A", applies=lambda entry: bool(entry.aliases))
def alias(case: Case, provider: Provider) -> None:
    """In place equals out of place, for every row of the table of aliases, and for rows that go together."""
    for row in case.entry.aliases:
        if case.operands[row.input] is None:
            kind = dict(zip(case.entry.outputs, case.types, strict=True))[row.output]
            case = case.having(**{row.input: np.zeros(kind.shape, kind.dtype)})
    apart = execute(case, provider)
    for rows in _layouts(case.entry.aliases):
        together = execute(case, provider, aliases=rows)
        where = " and ".join(f"{row.output} in the place of {row.input}" for row in rows)
        _refuse(together.faults())
        _agree(apart.results, together.results, f"{where} gives other bits", "apart")


def _layouts(table: tuple[Alias, ...]) -> Iterator[tuple[Alias, ...]]:
    """Each row of the table alone, and one row a result where several results have one."""
    yield from ((row,) for row in table)
    first = {row.output: row for row in reversed(table)}
    if len(first) > 1:
        yield tuple(first.values())


def _starts(entry: Function) -> Iterator[Alias]:
    """The aliases whose operand is where a chain starts: optional, and of the result's type."""
    return (row for row in entry.aliases if row.input in entry.optional)


def _has_linear(entry: Function) -> bool:
    return entry.name in LINEAR


def _products(case: Case, provider: Provider) -> tuple[float, float]:
    """<J v, g> by the linear map, and <v, J^T g> by the provider, where the chain's start counts for nothing."""
    linear, v = LINEAR[case.function], case.extra["v"].astype(np.float64)
    (gradient,) = execute(case, provider).results.values()
    start = _start(case)
    forward = linear.apply(case, linear.made_of(case), v) * exact(case, linear.cotangent)
    return math.fsum(forward.flat), math.fsum((v * gradient.astype(np.float64)).flat) - math.fsum((v * start).flat)


def _start(case: Case) -> Array:
    """Where the chain of the gradient starts."""
    for row in _starts(case.entry):
        start = case.operands[row.input]
        if start is not None:
            return start.astype(np.float64)
    return np.zeros(case.types[0].shape)


@entered("S", applies=_has_linear, needs=("v",))
def adjoint(case: Case, provider: Provider) -> None:
    """<J v, g> = <v, J^T g>, exactly: all values are small integers."""
    left, right = _products(case, provider)
    if left != right:
        raise Fault(f"not the adjoint of forward\n<J v, g>   = {left:.17g}\n<v, J^T g> = {right:.17g}, should be equal")


@entered("SN", applies=_has_linear, needs=("v",))
def adjoint_bound(case: Case, provider: Provider) -> None:
    """<J v, g> = <v, J^T g> for real numbers, up to what n roundings of float32 can add to the sum of magnitudes."""
    linear, v = LINEAR[case.function], np.abs(case.extra["v"].astype(np.float64))
    left, right = _products(case, provider)
    magnitudes = linear.apply(case, np.abs(linear.made_of(case)), v) * np.abs(exact(case, linear.cotangent))
    terms = linear.terms(case) + 2
    size = math.fsum(magnitudes.flat) + math.fsum((v * np.abs(_start(case))).flat)
    bound = terms * 2.0**-24 / (1 - terms * 2.0**-24) * size
    if not abs(left - right) <= bound:
        raise Fault(
            f"farther from the adjoint of forward than {terms} roundings can explain\n"
            f"<J v, g>   = {left:.17g}\n<v, J^T g> = {right:.17g}\n|difference| = {abs(left - right):.3g} > {bound:.3g}"
        )


def _can_be_sliced(entry: Function) -> bool:
    return {"g", "x", "dw0"} <= set(entry.inputs)


@entered("SF", applies=_can_be_sliced, needs=("channels", "w", "q", "lr"), only="exact")
def sparse(case: Case, provider: Provider) -> None:
    """Saving, differentiating and updating a slice equals the dense update where the slice is, and no change elsewhere.

    Functions of the way that the provider lacks are the reference's.
    """
    channels, w, q, lr = (case.extra[name] for name in ("channels", "w", "q", "lr"))
    (dw,) = execute(case, provider).results.values()
    dense = _step(provider, w, dw, q, lr, None)
    expected = w.copy()
    expected[..., channels] = dense[..., channels]

    x = _present(case.operands["x"])
    (kept,) = _through(Case("save_channels.forward", (x, channels)), provider)
    sliced = case.having(x=kept, dw0=None)
    if "channels" in case.entry.inputs:
        sliced = sliced.having(channels=channels)
    (part,) = execute(sliced, provider).results.values()
    _agree({"dw": dw[..., channels]}, {"dw": part}, "the slice's gradient is not the dense one there", "dense", "slice")
    updated = _step(provider, w, part, q, lr, channels)
    _agree(
        {"w": expected}, {"w": updated}, "the sparse update is not the dense one where the slice is", "dense", "slice"
    )


def _step(provider: Provider, w: Array, dw: Array, q: Array, lr: Array, channels: Array | None) -> Array:
    (updated,) = _through(Case("sgd_update_weight.update", (w, dw, q, lr, channels)), provider)
    return updated


def _through(case: Case, provider: Provider) -> tuple[Array, ...]:
    """The results of a function besides the one under test."""
    return tuple(execute(case, provider).results.values()) if provider.provides(case.function) else case.reference()


def _is_dot(entry: Function) -> bool:
    return entry.name in DOT


@entered("SN", applies=_is_dot, only="dot")
def bound(case: Case, provider: Provider) -> None:
    """Each element by itself is as near to the exact value as float32 in any order brings it (NUM-N15, SCE-N1)."""
    got = execute(case, provider).results
    for name, (value, allowed) in judgement(case).items():
        if name not in got:
            continue
        with np.errstate(all="ignore"):
            error = np.abs(got[name].astype(np.float64) - value)
            wrong = ~(error <= allowed) & np.isfinite(allowed)
        if wrong.any():
            raise Fault(_too_far(name, value, allowed, got[name], error, wrong))


def _too_far(name: str, value: F64, allowed: F64, got: Array, error: F64, wrong: Array) -> str:
    """The first element that is out of bounds, in decimal and hex, and how far out."""
    where = tuple(int(i) for i in np.argwhere(wrong)[0])
    nearest = np.float32(value[where])
    steps = "" if np.isnan(got[where]) else f"  {ulps(nearest, np.float32(got[where]))} ulps"
    times = error[where] / allowed[where] if allowed[where] else np.inf
    return "\n".join(
        [
            f"{np.count_nonzero(wrong)} of {wrong.size} elements of {name} out of bounds, first at {list(where)}",
            f"exact {value[where]:.9g}, as float32 {nearest!s:<15} 0x{nearest.view(np.uint32):08x}",
            f"got   {got[where]!s:<15} 0x{np.float32(got[where]).view(np.uint32):08x}{steps}",
            f"|error| {error[where]:.4g}, bound {allowed[where]:.4g}: {times:.3g} times as far as it may be",
        ]
    )


def _rounds_each_apart(entry: Function) -> bool:
    """Whether elements share no rounding; a mean's share is one number for all of its window."""
    return entry.name in PRODUCTS and entry.name != "avg_pool2d.vjp_x"


@entered("N", applies=_rounds_each_apart, only="dot")
def bias(case: Case, provider: Provider) -> None:
    """Errors lie to either side alike: a kernel that rounds down, or toward zero, is within bounds and still wrong."""
    (got,) = execute(case, provider).results.values()
    found = leaning(sums(case), got)
    if found:
        side, share, count = found
        raise Fault(f"{share:.0%} of {count} errors lean {side}: it does not round to nearest")


def _has_update(entry: Function) -> bool:
    return {"g", "dw0"} <= set(entry.inputs) or entry.name == "bias_gradient.forward"


@entered("SN", applies=_has_update, needs=("w", "q", "lr"), only="dot")
def update(case: Case, provider: Provider) -> None:
    """What the gradient is applied to gets a code that the ends of its bound give, or one between (NUM-N16)."""
    found = sums(case)
    (gradient,) = execute(case, provider).results.values()
    updated = _updated(case, gradient, provider)
    ends = [_updated(case, _outward(found.value, sign * found.bound), None) for sign in (-1.0, 1.0)]
    wrong = ~codes_in_reach(updated, *ends) & np.isfinite(found.bound)
    if wrong.any():
        where = tuple(int(i) for i in np.argwhere(wrong)[0])
        count = np.count_nonzero(wrong)
        raise Fault(
            f"{count} of {wrong.size} codes after an update are out of reach, first at {list(where)}\n"
            f"gradient {gradient[where]}, exactly {found.value[where]:.9g} within {found.bound[where]:.4g}\n"
            f"before {case.extra['w'][where]}, after {updated[where]}, may be {ends[0][where]} to {ends[1][where]}"
        )


def _outward(value: F64, by: F64) -> F32:
    """``value + by`` in float32, rounded away from ``value``; any number where the bound is infinite."""
    with np.errstate(all="ignore"):
        end = np.where(np.isfinite(by), value + by, 0.0)
        near = end.astype(np.float32)
        further = np.nextafter(near, np.where(by > 0, np.inf, -np.inf).astype(np.float32))
        return np.where((near < end) == (by > 0), further, near)


def _updated(case: Case, gradient: Array, provider: Provider | None) -> Array:
    """The parameter after a step; by the reference where nobody else is asked."""
    w, q, lr = (case.extra[name] for name in ("w", "q", "lr"))
    if case.function == "bias_gradient.forward":
        limit = np.array([INT32_MAX], np.int32)
        step = Case("sgd_update_bias.update", (w, gradient, q, limit, lr))
    else:
        step = Case("sgd_update_weight.update", (w, gradient, q, lr))
    return (_through(step, provider) if provider else step.reference())[0]
