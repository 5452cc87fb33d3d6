"""C that repeats cases without goldgrad: the operands, the call, what must come out, and a comparison.

One case makes the short ``main()`` that a report shows; many make a self-checking program for a host or a board.  All
operands are constant, results lie between canaries, nothing but the C library's stdio is needed, and that only where
there is a host (``GOLDGRAD_BOARD`` is not defined).
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..board.aapcs import Value
from ..conformance.case import Case
from ..kernels._call import Pointer, Scratch, Struct
from ..numerics import Array
from ..ops import Type
from .providers.calls import Argument, Call
from .providers.compiled import Calls

CTYPES = {"int8": "int8_t", "uint8": "uint8_t", "bool": "uint8_t", "int32": "int32_t", "float32": "float"}
GUARD = 16
"""Bytes of canary on either side of a result."""
SCRATCH_BYTES = 1 << 16
"""What a program sets aside where a function says at run time what it needs."""


@dataclass(frozen=True)
class Vector:
    """A case, and the name that a failure is told by."""

    name: str
    case: Case


def lines(values: Sequence[str]) -> str:
    """Initialisers, a few to a line."""
    return "\n".join(textwrap.wrap(", ".join(values), 116, initial_indent="    ", subsequent_indent="    "))


def _list(values: Sequence[str]) -> str:
    """An initialiser: on the line, if it is short."""
    text = ", ".join(values)
    return f"{{{text}}}" if len(text) < 80 else f"{{\n{lines(values)}\n}}"


def literal(element: np.generic) -> str:
    """An element as C writes it, to the last bit (of a NaN: that it is one)."""
    if isinstance(element, np.floating):
        if math.isnan(element):
            return '__builtin_nanf("")'
        if math.isinf(element):
            return f"{'-' if element < 0 else ''}__builtin_inff()"
        return f"{float(element).hex()}F"
    value = int(element)
    return "INT32_MIN" if value == -(2**31) else str(value)


def main_of(vector: Vector, calls: Calls, headline: str = "") -> str | None:
    """A short ``main()`` for one case: exit code 1, and the first difference on standard output, if it fails."""
    case, call = vector.case, _call(vector.case, calls)
    if call is None:
        return None
    lacks, expected = calls.lacks(case.function), case.reference()
    results = {n: a for n, a in zip(case.entry.outputs, expected, strict=True) if n not in lacks}
    text = [f"/* {_comment(headline)}\n * cc -ffp-contract=off -I INCLUDE THIS.c YOURS.c -lm */"]
    text += ["#include <math.h>", "#include <stdint.h>", "#include <stdio.h>", "#include <string.h>"]
    text += _declared([case], [call], calls)
    text += [
        _array(f"const {_ctype(array)} {name}_0", array) for name, array in case.operands.items() if array is not None
    ]
    text += [_array(f"const {_ctype(array)} must_{name}", array) for name, array in results.items()]
    text += _struct(call, 0)
    size = SCRATCH_BYTES if isinstance(call.scratch, str) else call.scratch
    text += [f"static double scratch[{-(-size // 8)}];"] if size else []
    text += ["", "/* Results, between canaries. */"]
    text += [
        f"static _Alignas(16) unsigned char {name}[{array.nbytes + 2 * GUARD}];" for name, array in results.items()
    ]
    text += [DIFFERS, "int main(void) {"]
    text += [f"    memset({name}, 0xAA, sizeof {name});" for name in results]
    for sample in range(_samples(call, case)):
        given = ", ".join(_argument(a, call, case, results, 0, sample) for a in call.arguments)
        text.append(f"    {call.symbol}({given});")
    tests = [
        f'differs("{name}", {name}, must_{name}, {array.size}, {KINDS[Type.of(array).dtype]})'
        for name, array in results.items()
    ]
    text.append(f"    const int wrong = {' || '.join(tests)};")
    return "\n".join([*text, '    puts(wrong ? "fails" : "holds");', "    return wrong;", "}", ""])


KINDS = {"float32": "FLOAT", "int32": "INT32", "int8": "INT8", "uint8": "UINT8", "bool": "UINT8"}
"""What DIFFERS calls types."""
DIFFERS = """
enum kind { FLOAT, INT32, INT8, UINT8 };

static double value(const void *at, enum kind kind) {
    float f = 0;
    int32_t i = 0;
    memcpy(&f, at, kind <= INT32 ? 4 : 1);
    memcpy(&i, at, kind <= INT32 ? 4 : 1);
    return kind == FLOAT ? f : kind == INT32 ? i : kind == INT8 ? *(const int8_t *)at : *(const uint8_t *)at;
}

/* Whether a result is not what it must be: any two NaN are alike, zeros are told apart by their sign. */
static int differs(const char *name, const unsigned char *got, const void *must, int count, enum kind kind) {
    const int size = kind <= INT32 ? 4 : 1;
    for (int i = 0; i < count; ++i) {
        const void *g = got + 16 + i * size, *m = (const char *)must + i * size;
        if (memcmp(g, m, (size_t)size) != 0 && !(kind == FLOAT && isnan(value(g, kind)) && isnan(value(m, kind)))) {
            const char *said = kind == FLOAT ? "%s[%d] is %a, must be %a\\n" : "%s[%d] is %.0f, must be %.0f\\n";
            printf(said, name, i, value(g, kind), value(m, kind));
            return 1;
        }
    }
    for (int i = 0; i < 16; ++i) {
        if (got[i] != 0xAA || got[16 + count * size + i] != 0xAA) {
            printf("memory beside %s was written\\n", name);
            return 1;
        }
    }
    return 0;
}
"""


def _declared(cases: Sequence[Case], calls_made: Sequence[Call | None], calls: Calls) -> list[str]:
    """Headers of goldgrad's, or prototypes of somebody's functions."""
    made = [(case, call) for case, call in zip(cases, calls_made, strict=True) if call]
    needs_headers = not _is_map(calls) or any(isinstance(a, Struct) for _, call in made for a in call.arguments)
    headers = dict.fromkeys(case.function.partition(".")[0] for case in cases) if needs_headers else {}
    prototypes = sorted({_prototype(case, call) for case, call in made}) if _is_map(calls) else []
    return [*(f'#include "goldgrad/{name}.h"' for name in headers), *prototypes]


def program(vectors: Sequence[Vector], calls: Calls) -> str:
    """A program that checks all vectors and tells which fail.

    For a board (``-DGOLDGRAD_BOARD``) it has a vector table in section ``.vectors`` and leaves the number of failures
    and the first one's index in ``goldgrad_failures`` and ``goldgrad_first``.
    """
    made = [(vector, _check(vector, calls, i)) for i, vector in enumerate(vectors)]
    taken = [(vector, body) for vector, body in made if body is not None]
    return _program([body for _, body in taken], [vector for vector, _ in taken], calls)


def _program(bodies: Sequence[str], vectors: Sequence[Vector], calls: Calls) -> str:
    cases = [vector.case for vector in vectors]
    text = ["#include <stddef.h>", "#include <stdint.h>", ""]
    text += [*_declared(cases, [_call(case, calls) for case in cases], calls), COMPARE, *bodies]
    table = [f"check_{i}" for i in range(len(bodies))]
    names = ",\n".join(f'    "{vector.name}"' for vector in vectors)
    text += [f"static int (*const checks[])(void) = {{\n{lines(table)}\n}};"]
    text += [f"static const char *const names[] = {{\n{names}\n}};", BOARD]
    return "\n".join(text) + "\n"


COMPARE = """
#ifndef GOLDGRAD_BOARD
#include <stdio.h>
#include <string.h>
#define SAY(...) printf(__VA_ARGS__)
#else
void *memcpy(void *to, const void *from, size_t count);
void *memset(void *to, int value, size_t count);
#define SAY(...) ((void)0)
#endif

/* Whether got differs from want, any two NaN alike; canaries lie around it. */
static int differs(const char *name, const void *got, const void *want, int count, int size, int is_float) {
    const unsigned char *g = got, *w = want;
    for (int i = 0; i < count; ++i, g += size, w += size) {
        uint32_t a = 0, b = 0;
        memcpy(&a, g, (size_t)size);
        memcpy(&b, w, (size_t)size);
        if (a != b && !(is_float && (a & 0x7fffffffU) > 0x7f800000U && (b & 0x7fffffffU) > 0x7f800000U)) {
            SAY("%s[%d]: got 0x%08lx, must be 0x%08lx\\n", name, i, (unsigned long)a, (unsigned long)b);
            return 1;
        }
    }
    for (int i = 1; i <= 16; ++i) {
        if (((const unsigned char *)got)[-i] != 0xAA || g[i - 1] != 0xAA) {
            SAY("%s: memory beside it was written\\n", name);
            return 1;
        }
    }
    return 0;
}
"""
BOARD = """
volatile int32_t goldgrad_failures, goldgrad_first, goldgrad_done;

int main(void) {
    const int count = (int)(sizeof checks / sizeof checks[0]);
    goldgrad_failures = 0;
    goldgrad_first = -1;
    for (int i = 0; i < count; ++i) {
        if (checks[i]()) {
            SAY("%s fails\\n", names[i]);
            goldgrad_first = goldgrad_failures == 0 ? i : goldgrad_first;
            goldgrad_failures = goldgrad_failures + 1;
        }
    }
    (void)names;
    goldgrad_done = count;
    SAY("%d passed, %d failed\\n", count - (int)goldgrad_failures, (int)goldgrad_failures);
    return goldgrad_failures != 0;
}

#ifdef GOLDGRAD_BOARD
#define GOLDGRAD_STACK 0x20010000U /* the end of the DTCM of an STM32F746 */

void goldgrad_reset(void) {
    *(volatile uint32_t *)0xE000ED88U |= 0xFU << 20; /* CPACR: the FPU may be used */
    __asm__ volatile("dsb\\nisb" ::: "memory");
    (void)main();
    for (;;) {
    }
}

__attribute__((section(".vectors"), used)) static const uintptr_t vectors[] = {GOLDGRAD_STACK,
                                                                             (uintptr_t)goldgrad_reset};
#endif
"""


def _check(vector: Vector, calls: Calls, number: int) -> str | None:
    """The function ``check_N``; None if the kernel does not take the case."""
    case, call = vector.case, _call(vector.case, calls)
    if call is None:
        return None
    lacks = calls.lacks(case.function)
    expected = dict(zip(case.entry.outputs, case.reference(), strict=True))
    arrays = {name: array for name, array in case.operands.items() if array is not None}
    body: list[str] = []
    for name, array in arrays.items():
        body.append(_array(f"const {_ctype(array)} {name}_{number}", array))
    for name, array in expected.items():
        if name not in lacks:
            body.append(_array(f"const {_ctype(array)} must_{name}_{number}", array))
    body += _struct(call, number)
    body += [f"static int check_{number}(void) {{"]
    for name, array in expected.items():
        if name not in lacks:
            aligned = "__attribute__((aligned(16))) "
            body.append(f"    static {aligned}unsigned char {name}[{array.nbytes + 2 * GUARD}];")
            body.append(f"    memset({name}, 0xAA, sizeof {name});")
    size = SCRATCH_BYTES if isinstance(call.scratch, str) else call.scratch
    if size:
        body.append(f"    static double scratch[{-(-size // 8)}];")
    for sample in range(_samples(call, case)):
        given = ", ".join(_argument(a, call, case, expected, number, sample) for a in call.arguments)
        body.append(f"    {call.symbol}({given});")
    tests = [
        f'differs("{name}", {name} + {GUARD}, must_{name}_{number}, {array.size}, {array.itemsize}, '
        f"{int(array.dtype.kind == 'f')})"
        for name, array in expected.items()
        if name not in lacks
    ]
    body += ["    return " + " | ".join(tests) + ";", "}", ""]
    return "\n".join(body)


def _call(case: Case, calls: Calls) -> Call | None:
    return calls.call(case.function, case.operands, case.attributes)


def _samples(call: Call, case: Case) -> int:
    """How many calls a case takes (ABI-S2)."""
    given = [a for name in call.sampled if (a := case.operands.get(name)) is not None]
    return min(map(len, given)) if given else 1


def _argument(  # noqa: PLR0911  (a kind of argument a line)
    argument: Argument, call: Call, case: Case, expected: Mapping[str, Array], number: int, sample: int
) -> str:
    match argument:
        case Value():
            return f"{argument.value}F" if argument.type == "float32" else str(argument.value)
        case Struct():
            return f"&p_{number}"
        case Scratch():
            return "scratch" if call.scratch else "NULL"
        case Pointer(name):
            name = dict(call.chained).get(name, name) if sample else name
            if name in expected:
                array = expected[name]
                step = sample * array[0].nbytes if name in call.sampled else 0
                return f"(void *)({name} + {GUARD + step})"
            operand = case.operands[name]
            if operand is None:
                return "NULL"
            step = sample * operand[0].size if name in call.sampled else 0
            return f"{name}_{number}" + (f" + {step}" if step else "")
    return "NULL"


def _struct(call: Call, number: int) -> Iterator[str]:
    for argument in call.arguments:
        if isinstance(argument, Struct):
            yield f"static const {argument.ctype} p_{number} = {_fields(argument.fields)};"


def _fields(fields: Mapping[str, object]) -> str:
    parts = (_fields(value) if isinstance(value, Mapping) else str(value) for value in fields.values())
    return "{" + ", ".join(parts) + "}"


def _array(declared: str, array: Array) -> str:
    elements = [literal(e) for e in array.reshape(-1)]
    return f"static {declared}[{max(1, array.size)}] = {_list(elements)};"


def _ctype(array: Array) -> str:
    return CTYPES[Type.of(array).dtype]


def _is_map(calls: Calls) -> bool:
    return hasattr(calls, "entries")


def _prototype(case: Case, call: Call) -> str:
    """The declaration that a call of somebody's function needs."""
    kinds = []
    results = dict(zip(case.entry.outputs, case.types, strict=True))
    for argument in call.arguments:
        match argument:
            case Value():
                kinds.append({"float32": "float", "float64": "double"}.get(argument.type, f"{argument.type}_t"))
            case Struct():
                kinds.append(f"const {argument.ctype} *")
            case Pointer(name) if name in results:
                kinds.append(f"{CTYPES[results[name].dtype]} *")
            case Pointer(name) if case.operands[name] is not None:
                kinds.append(f"const {_ctype(np.asarray(case.operands[name]))} *")
            case _:
                kinds.append("void *")
    return f"void {call.symbol}({', '.join(kinds)});"


def _comment(text: str) -> str:
    return re.sub(r"\*/", "* /", text)
