"""Gradients of a depthwise convolution's input: four pixels beside each other, two channels at a time.

What a core computes, and what it is given, says ``kernels_c/src/cortex_m7/depthwise_f32.h``.  Pixels that lie a stride
apart meet the same taps of a row of the kernel, and one output further each: chain p takes output ``first + p - j`` at
tap j.  So four such pixels of two channels need taps + 3 pairs of gradients and taps pairs of weights a row, for up to
8 * taps multiply-adds.  Taps that meet no output at the left or right edge of the map are left out: a shape is a
stride, how many taps a row has, which output comes first, and whether the four are the first and the last of their row.

s0-s7 are the accumulators, two a pixel.  d4-d15 are what a stretch of taps needs, loaded before its products: as many
taps as there are registers for.  Three floats are loaded one by one, where a load of two would wait behind a VFMA, and
one beside the first product.  All else stands beside products: an address for each pixel, so that no load waits for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from assembly import file, function, write

QUAD = (
    *("g", "w", "start", "c", "g_column", "g_row", "w_row", "c_column", "start_column", "start_step"),
    *("w_step", "w_panel", "rows", "pairs"),
)
"""The fields of gg_m7_quad_t, a word each."""
PIXELS = 4
PAIRS = range(4, 16)
"""Registers of two floats for operands."""
POINTERS = 8
"""r0-r7 hold the addresses of gradients."""
TAP = 16
"""Bytes between the weights of two taps."""
ROWS = ((1, 3, 1), (1, 5, 2), (1, 7, 3), (2, 1, 0), (2, 2, 1), (2, 3, 1), (2, 4, 2))
"""Stride, taps of a row, and the output that the first pixel meets at the first tap, counted from its own place."""
EDGES = ((False, False), (False, True), (True, False), (True, True))
"""Whether the first pixel is the first of its row, and the last the last."""


Operand = tuple[str, int]
"""A gradient or weight of two channels: "g" and which output, or "w" and which tap."""


@dataclass(frozen=True)
class Shape:
    """What is known of four pixels beforehand."""

    stride: int
    taps: int
    first: int
    left: bool
    right: bool

    @property
    def name(self) -> str:
        """The function's."""
        edges = "".join(letter for letter, edge in zip("lr", (self.left, self.right), strict=True) if edge)
        return f"gg_m7_quad_{self.stride}_{self.taps}_{edges or 'm'}"

    def meets(self, tap: int) -> Iterator[tuple[int, int]]:
        """The pixels that meet an output at a tap, and which."""
        for pixel in range(PIXELS):
            output = self.first + pixel - tap
            if not (self.left and output < 0) and not (self.right and output >= PIXELS):
                yield pixel, output

    @property
    def outputs(self) -> list[int]:
        """All that are met."""
        return sorted({output for tap in range(self.taps) for _, output in self.meets(tap)})


def field(name: str) -> str:
    """Where a field of the struct is, by the pointer that is kept in r11."""
    return f"[r11, #{4 * QUAD.index(name)}]"


def stretches(shape: Shape) -> Iterator[tuple[list[int], list[Operand]]]:
    """Taps whose operands are in registers at once, and what is loaded for them."""
    held: set[Operand] = set()
    rest = list(range(shape.taps))
    while rest:
        needed: set[Operand] = set()
        taps: list[int] = []
        while rest:
            more = needed | {("w", rest[0])} | {("g", output) for _, output in shape.meets(rest[0])}
            if len(more) > len(PAIRS):
                break
            needed = more
            taps.append(rest.pop(0))
        yield taps, sorted(needed - held)
        held = needed


def in_turn(shape: Shape, taps: Sequence[int]) -> Iterator[tuple[int, int, int, int]]:
    """Tap, output, pixel and channel of every product: the chain that has waited longest comes next."""
    waiting = {
        (pixel, channel): [(tap, output) for tap in taps for p, output in shape.meets(tap) if p == pixel]
        for pixel in range(PIXELS)
        for channel in range(2)
    }
    last = dict.fromkeys(waiting, -1)
    for time in range(sum(map(len, waiting.values()))):
        left = [chain for chain, links in waiting.items() if links]
        chain = min(left, key=lambda c: (last[c] > time - 3, -len(waiting[c]), last[c]))
        last[chain] = time
        yield (*waiting[chain].pop(0), *chain)


def row(shape: Shape) -> Iterator[str]:
    """The taps of a row: r0-r7 point to gradients, r8 to weights; r9 counts rows, which lie r10 and r12 apart."""
    pointer = {output: f"r{i}" for i, output in enumerate(shape.outputs)}
    free = list(PAIRS)
    register: dict[Operand, int] = {}

    def address(operand: Operand, half: int = 0) -> str:
        kind, number = operand
        base, offset = ("r8", TAP * shape.stride * number) if kind == "w" else (pointer[number], 0)
        return f"[{base}, #{offset + 4 * half}]" if offset + half else f"[{base}]"

    parts = list(stretches(shape))
    steps = {number: f"subs {pointer[number]}, r10" for number in pointer}
    for at, (taps, loads) in enumerate(parts):
        products = list(in_turn(shape, taps))
        met = [{("w", tap), ("g", output)} for tap, output, *_ in products]
        for operand in sorted(set(register).difference(*met)):
            free.append(register.pop(operand))
        register |= {operand: free.pop(0) for operand in loads}
        one, *middle, two = sorted(loads, key=lambda operand: next(i for i, both in enumerate(met) if operand in both))
        yield from (f"vldr s{2 * register[one] + half}, {address(one, half)}" for half in range(2))
        yield f"vldr s{2 * register[two]}, {address(two)}"
        yield from (f"vldr d{register[operand]}, {address(operand)}" for operand in middle)
        yield from beside(
            [
                vfma(pixel, channel, register["g", output], register["w", tap])
                for tap, output, pixel, channel in products
            ],
            f"vldr s{2 * register[two] + 1}, {address(two, 1)}",
            [steps.pop(n) for n in list(steps) if ("g", n) not in {o for _, more in parts[at + 1 :] for o in more}]
            + (["add r8, r12", "subs r9, #1", "bne 2b"] if at + 1 == len(parts) else []),
        )


def vfma(pixel: int, channel: int, g: int, w: int) -> str:
    """The next link of a chain, from registers of two channels."""
    return f"vfma.f32 s{2 * pixel + channel}, s{2 * g + channel}, s{2 * w + channel}"


def beside(products: Sequence[str], first: str, others: Sequence[str]) -> Iterator[str]:
    """Products with a load beside the first, and the others each beside one of the last."""
    alone = len(products) - len(others)
    assert alone > 0 < len(others)
    yield from (products[0], first, *products[1:alone])
    for product, other in zip(products[alone:], others, strict=True):
        yield from (product, other)


def four(base: str, column: str, free: Sequence[str]) -> tuple[list[str], list[str]]:
    """Addresses of four places a column apart, and what computes them."""
    a, b, c = free
    made = [f"add {a}, {base}, {column}", f"add {b}, {base}, {column}, lsl #1", f"add {c}, {a}, {column}, lsl #1"]
    return [base, a, b, c], made


def quad(shape: Shape) -> Iterator[str]:
    """Pair after pair of channels, in each all rows."""
    yield from ("push {r4-r11, lr}", "vpush {d8-d15}", "mov r11, r0", "ldm r11, {r0-r2}")
    yield from (f"ldr r10, {field('g_row')}", f"ldr r12, {field('w_row')}")
    yield "1:"
    places, made = four("r2", "lr", ("r3", "r4", "r5"))
    yield from (f"ldr lr, {field('start_column')}", f"ldr r9, {field('rows')}", "mov r8, r1", *made)
    yield f"ldr lr, {field('g_column')}"
    yield from (f"vldr d{pixel}, [{place}]" for pixel, place in enumerate(places))
    outputs = shape.outputs
    zero = outputs.index(0)
    if zero:
        yield f"mov r{zero}, r0"
    yield from (f"add r{i}, r{i - 1}, lr" for i in range(zero + 1, len(outputs)))
    yield from (f"sub r{i}, r{i + 1}, lr" for i in range(zero - 1, -1, -1))
    yield "2:"
    yield from row(shape)
    yield f"ldr lr, {field('c_column')}"
    yield "ldm r11, {r0-r3}"
    places, made = four("r3", "lr", ("r4", "r5", "r6"))
    yield from (*made, f"ldr r7, {field('w_step')}", f"ldr r8, {field('w_panel')}")
    yield from (f"vstr d{pixel}, [{place}]" for pixel, place in enumerate(places))
    yield from (f"ldr r4, {field('start_step')}", f"ldr r5, {field('pairs')}")
    yield from ("adds r0, #8", "add r1, r7", "sub r7, r8, r7", "adds r3, #8", "adds r2, r4", "subs r5, #1")
    yield from (f"str r7, {field('w_step')}", f"str r5, {field('pairs')}", "stm r11, {r0-r3}", "bne 1b")
    yield from ("vpop {d8-d15}", "pop {r4-r11, pc}")


def shapes() -> Iterator[Shape]:
    """One of each kind that is not the same as another, and whose addresses have registers."""
    seen = set()
    for stride, taps, first in ROWS:
        for left, right in EDGES:
            shape = Shape(stride, taps, first, left, right)
            if (
                len(shape.outputs) <= POINTERS
                and (key := (stride, *map(tuple, map(shape.meets, range(taps))))) not in seen
            ):
                seen.add(key)
                yield shape


def known(shape: Shape) -> str:
    """The function that computes a shape."""
    same = (s for s in shapes() if (s.stride, s.taps, s.first) == (shape.stride, shape.taps, shape.first))
    want = [list(shape.meets(tap)) for tap in range(shape.taps)]
    return next((s.name for s in same if [list(s.meets(tap)) for tap in range(s.taps)] == want), "NULL")


def table() -> Iterator[str]:
    """By stride, taps and first output the four functions: in the middle, last, first, both."""
    yield "const gg_m7_quad_row_t gg_m7_quad_rows[GG_M7_QUAD_ROWS] = {"
    for stride, taps, first in ROWS:
        functions = ", ".join(known(Shape(stride, taps, first, *edges)) for edges in EDGES)
        yield f"    {{{stride}, {taps}, {first}, {{{functions}}}}},"
    yield "};"


if __name__ == "__main__":
    comment = "Four pixels of the gradient of a depthwise convolution's input."
    parameters = "gg_m7_quad_t *p __attribute__((unused))"
    functions = [
        ["static " + line if line.startswith("__attribute__") else line for line in lines]
        for lines in (function(shape.name, parameters, quad(shape), "DW-S4") for shape in shapes())
    ]
    text = file("depthwise_f32.py", comment, ("depthwise_f32.h",), [*functions, table()])
    write("depthwise_f32.c", text)
