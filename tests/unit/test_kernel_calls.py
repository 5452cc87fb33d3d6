"""Descriptions of C calls (goldgrad.kernels.describe) against the prototypes that the headers declare."""

from __future__ import annotations

import re
from dataclasses import replace

import compilers
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycparser import c_ast, c_parser

import exact
from goldgrad import kernels
from goldgrad.conformance.search import strategy
from goldgrad.errors import GoldgradError
from goldgrad.kernels import KERNELS, KernelCall, Pointer, Scratch, Struct, describe
from goldgrad.numerics import same_bits
from goldgrad.ops import FUNCTIONS, Type

C_TYPES = {"int8": "int8_t", "uint8": "uint8_t", "bool": "uint8_t", "int32": "int32_t", "float32": "float"}

FEW = settings(max_examples=20)
"""A call depends on types, not on values: what is optional, how many samples, which window."""


def parsed():
    """Prototypes and structs of all headers: parameters as (name, type, constant), fields as (name, type)."""
    place = {
        "window": -1,
        "weight_slice": -1,
        "cortex_m7": 1,
    }  # before those that use them, and after those that it uses
    headers = sorted(compilers.HEADERS, key=lambda path: place.get(path.stem, 0))
    text = "\n".join(re.sub(r"/\*.*?\*/|^#.*?$", "", h.read_text(), flags=re.DOTALL | re.MULTILINE) for h in headers)
    standard = "".join(f"typedef int {name}; " for name in ("int8_t", "uint8_t", "int32_t", "int64_t"))
    prototypes, structs = {}, {}
    for declaration in c_parser.CParser().parse(standard + text).ext:
        match declaration:
            case c_ast.Decl(type=c_ast.FuncDecl() as function):
                prototypes[declaration.name] = [parameter(p) for p in function.args.params]
            case c_ast.Typedef(type=c_ast.TypeDecl(type=c_ast.Struct() as struct)):
                structs[declaration.name] = [parameter(field)[:2] for field in struct.decls]
    return prototypes, structs


def parameter(node):
    """Name, type as C writes it without const, and whether what it points to is constant."""
    star = isinstance(node.type, c_ast.PtrDecl)
    inner = node.type.type if star else node.type
    return node.name, " ".join(inner.type.names) + " *" * star, "const" in inner.quals


PROTOTYPES, STRUCTS = parsed()


def fields_fit(fields, ctype):
    """Whether values are given for the struct's fields, all of them in their order, nested structs too."""
    declared = STRUCTS[ctype]
    return list(fields) == [name for name, _ in declared] and all(
        isinstance(fields[name], int) if field == "int32_t" else fields_fit(fields[name], field)
        for name, field in declared
    )


def fits(argument, declared, function, types):
    """Whether an argument of a call may stand where the prototype has this parameter."""
    name, ctype, constant = declared
    table = FUNCTIONS[function]
    match argument:
        case Struct():
            return (ctype, constant) == (f"{argument.ctype} *", True) and fields_fit(argument.fields, argument.ctype)
        case Scratch():
            return (name, ctype, constant) == ("scratch", "void *", False)
        case Pointer():
            known = {*table.inputs, *table.outputs}
            type_ = types[argument.name]
            return (
                argument.name == (name if name in known else {"selected": "channels"}.get(name))
                and constant == (argument.name in table.inputs)
                and (ctype == f"{C_TYPES[type_.dtype]} *" if type_ else ctype.endswith(" *"))
            )
        case int():
            return ctype == "int32_t"
    return False


def misfits(call, function, types):
    """What a description and the prototype of its function do not agree on."""
    declared = PROTOTYPES[call.symbol]
    if len(call.arguments) != len(declared):
        return [f"{len(call.arguments)} arguments for {len(declared)} parameters"]
    pairs = zip(call.arguments, declared, strict=True)
    return [
        f"{argument} for {parameter}" for argument, parameter in pairs if not fits(argument, parameter, function, types)
    ]


def types_of(case):
    """Types of the operands and results of a case by name."""
    operands = {name: None if array is None else Type.of(array) for name, array in case.operands.items()}
    return operands | dict(zip(case.entry.outputs, case.types, strict=True))


@pytest.mark.rules("ABI-S1", "ABI-I1", "ABI-I2", "ABI-M1", "ABI-S2")
@pytest.mark.parametrize("function", sorted(KERNELS))
@FEW
@given(data=st.data())
def test_description_fits_the_prototype(function, data):
    case = data.draw(strategy("bits", function))
    types, table = types_of(case), FUNCTIONS[function]
    call = describe(function, types, case.attributes)
    assert call.symbol == f"gg_{function.replace('.', '_')}"
    assert misfits(call, function, types) == []
    assert sorted(a.name for a in call.arguments if isinstance(a, Pointer)) == sorted(table.inputs + table.outputs)
    assert call.scratch_size is None or call.scratch_size in PROTOTYPES
    assert (call.scratch_size is None) == (f"{call.symbol}_scratch_bytes" not in PROTOTYPES)
    assert describe(function, {name: types[name] for name in table.inputs}, case.attributes) == call
    if call.sampled:
        assert call.sampled[0] in table.inputs
        assert call.sampled[0] not in table.optional
        assert len({types[name].shape[0] for name in call.sampled if types[name]}) == 1
    for start, result in call.chained:
        assert types[start] in (None, types[result])
        assert any((alias.output, alias.input) == (result, start) for alias in table.aliases)


def test_every_prototype_is_described():
    numerics = {
        name
        for name in PROTOTYPES
        for header in ("numerics", "stream")  # what kernels and blocks are made of, no operators
        if f"{name}(" in compilers.ROOT.joinpath(f"include/goldgrad/{header}.h").read_text()
    }
    sizes = {name for name in PROTOTYPES if name.endswith("_scratch_bytes")}
    assert len(PROTOTYPES) > len(KERNELS)
    assert set(PROTOTYPES) - numerics - sizes == {f"gg_{function.replace('.', '_')}" for function in KERNELS}


DEPTHWISE = {
    "g": Type((2, 4, 6, 9), "float32"),
    "x": Type((2, 4, 6, 3), "int8"),
    "dw0": None,
    "channels": Type((3,), "int32"),
    "dw": Type((3, 3, 3), "float32"),
}
SLICE = {"x_zero": 3, "kernel": (3, 3), "pad": (1, 1, 1, 1)}


def test_a_description_in_full():
    window = {"in_h": 4, "in_w": 6, "out_h": 4, "out_w": 6, "kernel_h": 3, "kernel_w": 3, "stride_h": 1, "stride_w": 1}
    window |= {"pad_top": 1, "pad_left": 1, "dilation_h": 1, "dilation_w": 1}
    fields = {"window": window, "channels": 3, "x_zero": 3, "y_zero": 0, "lo": -128, "hi": 127}
    assert describe("depthwise_conv2d.vjp_w", DEPTHWISE, SLICE) == KernelCall(
        symbol="gg_depthwise_conv2d_vjp_w",
        arguments=(
            Struct("gg_depthwise_conv2d_t", fields),
            Pointer("g"),
            9,
            Pointer("x"),
            Pointer("dw0"),
            Pointer("channels"),
            Pointer("dw"),
            Scratch(),
        ),
        sampled=("g", "x"),
        chained=(("dw0", "dw"),),
    )


@pytest.mark.parametrize(
    "spoil",
    [
        lambda arguments: arguments[:-1],
        lambda arguments: (*arguments[:5], arguments[6], arguments[5], arguments[7]),
        lambda arguments: (*arguments[:2], Pointer("x"), *arguments[3:]),
        lambda arguments: (*arguments[:7], 0),
        lambda arguments: (replace(arguments[0], ctype="gg_avg_pool2d_t"), *arguments[1:]),
        lambda arguments: (replace(arguments[0], fields=dict(reversed(arguments[0].fields.items()))), *arguments[1:]),
        lambda arguments: (replace(arguments[0], fields={**arguments[0].fields, "window": {}}), *arguments[1:]),
    ],
    ids=["too few", "swapped", "no integer", "no scratch", "another struct", "fields in disorder", "no window"],
)
def test_a_description_that_does_not_fit_is_found(spoil):
    call = describe("depthwise_conv2d.vjp_w", DEPTHWISE, SLICE)
    assert misfits(call, "depthwise_conv2d.vjp_w", DEPTHWISE) == []
    assert misfits(replace(call, arguments=spoil(call.arguments)), "depthwise_conv2d.vjp_w", DEPTHWISE)


def test_another_element_type_is_found():
    call = describe("depthwise_conv2d.vjp_w", DEPTHWISE, SLICE)
    types = {**DEPTHWISE, "x": Type((2, 4, 6, 3), "uint8")}
    (fault,) = misfits(call, "depthwise_conv2d.vjp_w", types)
    assert "int8_t" in fault


def test_integers_of_numpy_become_pythons():
    attributes = {**SLICE, "x_zero": np.int32(3), "kernel": (np.int64(3), np.int64(3))}
    struct = describe("depthwise_conv2d.vjp_w", DEPTHWISE, attributes).struct
    assert {type(struct.fields["x_zero"]), type(struct.fields["window"]["kernel_h"])} == {int}


@pytest.mark.rules("ABI-M1")
@pytest.mark.parametrize(
    "function", sorted(f for f in KERNELS if f"gg_{f.replace('.', '_')}_scratch_bytes" in PROTOTYPES)
)
@FEW
@given(data=st.data())
def test_scratch_bytes_are_what_a_call_asks_for(function, data):
    case, asked = data.draw(strategy("bits", function)), []
    outputs = [np.empty(t.shape, t.dtype) for t in case.types]

    def scratch(size):
        asked.append(size)
        return bytearray(size)

    kernels.call(function, case.arrays, outputs, scratch, **case.attributes)
    size = kernels.scratch_bytes(describe(function, types_of(case), case.attributes))
    assert asked == ([size] if size else [])


def test_attributes_in_lists_do_as_well():
    rng = np.random.default_rng(1)
    x, g = exact.codes(rng, 2, 4, 6, 3), exact.floats(rng, 2, 4, 6, 5)
    listed = kernels.conv2d.vjp_w(g, x, x_zero=3, kernel=[3, 3], pad=[1, 1, 1, 1])
    assert same_bits(listed, kernels.conv2d.vjp_w(g, x, **SLICE)).all()


@pytest.mark.rules("ABI-I1")
def test_an_array_of_another_type_is_refused():
    x, channels = np.zeros((1, 4), np.float32), np.array([1], np.int32)
    with pytest.raises(TypeError, match="int8_t"):
        kernels.call("save_channels.forward", (x, channels), (np.empty((1, 1), np.int8),))


def test_a_function_without_a_kernel_is_named():
    with pytest.raises(GoldgradError, match=r"conv2d\.sideways"):
        describe("conv2d.sideways", {}, {})
