"""What all kernels have in common (specs/kernel-abi.md): on the headers, on the sources, and on calls."""

from __future__ import annotations

import re
from pathlib import Path

import check_c
import compilers
import numpy as np
import pytest

import c_kernels
import exact
from goldgrad import kernels
from goldgrad.kernels import KERNELS
from goldgrad.numerics import same_bits
from goldgrad.ops import FUNCTIONS, Type

PROTOTYPE = re.compile(r"^(\w+) (gg_\w+)\(([^;]*)\);", re.MULTILINE)
HEADERS = {path.stem: path.read_text() for path in compilers.HEADERS}
PROTOTYPES = {
    name: (header, returns, [" ".join(parameter.split()) for parameter in parameters.split(",")])
    for header, text in HEADERS.items()
    for returns, name, parameters in PROTOTYPE.findall(text)
}
CONV = {"x_zero": 3, "y_zero": -4, "pad": (1, 1, 1, 1)}


def operands(function, rng, channels=3):
    """Operands and attributes of a small call of each kind: integers, floats, and an update."""
    w = rng.integers(-127, 128, (5, 3, 3, channels)).astype(np.int8)
    x = exact.codes(rng, 1, 4, 6, channels)
    g = exact.floats(rng, 1, 4, 6, 5)
    if function == "conv2d.forward":
        return [x, w, np.arange(5, dtype=np.int32), np.full(5, 1e-3, np.float32)], CONV
    if function == "conv2d.vjp_x":
        return [g, w, exact.floats(rng, *x.shape)], {"in_hw": (4, 6), "pad": CONV["pad"]}
    if function == "conv2d.vjp_w":
        return [g, x, exact.floats(rng, *w.shape)], {"x_zero": 3, "kernel": (3, 3), "pad": CONV["pad"]}
    if function == "bias_gradient.forward":
        return [g, exact.floats(rng, 5)], {}
    assert function == "sgd_update_weight.update"
    dw = exact.floats(rng, *w.shape[:3], 1)
    return [w, dw, np.ones(5, np.float32), np.ones(1, np.float32), np.array([channels - 1], np.int32)], {}


CALLS = (
    "conv2d.forward",
    "conv2d.vjp_x",
    "conv2d.vjp_w",
    "bias_gradient.forward",
    "sgd_update_weight.update",
)


OTHERWISE = {"selected": "channels"}
"""What a header calls otherwise than the operator table: ``channels`` is a size there."""


@pytest.mark.rules("ABI-S1", "ABI-S3")
@pytest.mark.parametrize("function", sorted(KERNELS))
def test_prototype_follows_the_operator_table(function):
    header, returns, parameters = PROTOTYPES[f"gg_{function.replace('.', '_')}"]
    assert header == function.partition(".")[0]
    assert returns == "void"
    kinds = []
    for parameter in parameters:
        if "*" not in parameter or parameter.startswith("const gg_"):
            kinds.append("attributes")
        elif parameter == "void *scratch":
            kinds.append("scratch")
        else:
            kinds.append("operand" if parameter.startswith("const ") else "result")
    table = FUNCTIONS[function]
    assert kinds.count("operand") == len(table.inputs)
    assert kinds.count("result") == len(table.outputs)
    names = [p.rpartition("*")[2] for p, kind in zip(parameters, kinds, strict=True) if kind in ("operand", "result")]
    assert [OTHERWISE.get(name, name) for name in names] == [*table.inputs, *table.outputs]
    in_order = [kind for kind in kinds if kind != "attributes"]
    assert in_order == sorted(in_order, key=("operand", "result", "scratch").index)
    assert ("scratch" in kinds) == (f"gg_{function.replace('.', '_')}_scratch_bytes" in PROTOTYPES)


@pytest.mark.rules("ABI-S1", "ABI-M1")
def test_every_other_prototype_is_a_scratch_size():
    known = {f"gg_{function.replace('.', '_')}" for function in KERNELS}
    for name, (header, returns, parameters) in PROTOTYPES.items():
        if name not in known and header not in ("numerics", "stream", "cortex_m7"):  # they are no operators
            assert name.removesuffix("_scratch_bytes") in known
            assert (returns, len(parameters)) == ("int32_t", 1)


@pytest.mark.rules("ABI-S4")
def test_version_is_an_integer():
    (version,) = re.findall(r"^#define GG_ABI_VERSION (\d+)$", HEADERS["kernel_abi"], re.MULTILINE)
    assert int(version) >= 1


@pytest.mark.rules("ABI-S2")
def test_batch_is_its_samples_one_by_one():
    rng = np.random.default_rng(1)
    x, w, g = exact.codes(rng, 3, 4, 6, 2), exact.codes(rng, 5, 3, 3, 2), exact.floats(rng, 3, 2, 4, 5)
    size = {"x_zero": 1, "kernel": (3, 3)}
    (whole,) = c_kernels.check("conv2d.vjp_w", g, x, None, **size)
    dw = None
    for n in range(3):
        dw = kernels.conv2d.vjp_w(g[n : n + 1], x[n : n + 1], dw, **size)
    assert same_bits(whole, dw).all()
    dx = kernels.conv2d.vjp_x(g, w, in_hw=(4, 6))
    assert same_bits(dx[1:2], kernels.conv2d.vjp_x(g[1:2], w, in_hw=(4, 6))).all()


@pytest.mark.rules("ABI-I1")
@pytest.mark.parametrize("function", CALLS)
def test_arrays_are_read_row_major_whatever_numpy_holds(function):
    arrays, attributes = operands(function, np.random.default_rng(2))
    expected = FUNCTIONS[function](*arrays, **attributes)
    turned = [np.asfortranarray(array) for array in arrays]
    c_kernels.assert_same(function, expected, kernels.run(function, *turned, **attributes))


@pytest.mark.rules("ABI-I2")
def test_null_for_what_is_absent_or_not_wanted():
    rng = np.random.default_rng(3)
    arrays, attributes = operands("conv2d.forward", rng)
    y, _ = FUNCTIONS["conv2d.forward"](*arrays, **attributes)
    alone = np.empty_like(y)
    kernels.call("conv2d.forward", arrays, (alone, None), **attributes)
    np.testing.assert_array_equal(alone, y)
    for function in ("conv2d.vjp_x", "conv2d.vjp_w", "bias_gradient.forward"):
        (*given, start), attributes = operands(function, rng)
        absent = kernels.run(function, *given, None, **attributes)
        from_zero = kernels.run(function, *given, np.zeros_like(start), **attributes)
        c_kernels.assert_same(function, absent, from_zero)


@pytest.mark.rules("ABI-C1")
@pytest.mark.parametrize("function", CALLS)
def test_arrays_need_no_more_than_their_elements_alignment(function):
    arrays, attributes = operands(function, np.random.default_rng(4))
    expected = FUNCTIONS[function](*arrays, **attributes)

    def shifted(array):
        home = np.zeros(array.nbytes + 64, np.uint8)
        start = -home.ctypes.data % 32 + array.itemsize  # aligned to the element, and to nothing more
        view = home[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
        view[...] = array
        assert view.ctypes.data % (2 * array.itemsize) == array.itemsize
        return view

    results = [shifted(result) for result in expected]
    for result in results:
        result.view(np.uint8)[...] = 0xA5
    kernels.call(function, [shifted(array) for array in arrays], results, **attributes)
    c_kernels.assert_same(function, expected, tuple(results))


@pytest.mark.rules("ABI-C2")
@pytest.mark.parametrize("channels", [*range(1, 10), 17, 31])
@pytest.mark.parametrize("function", CALLS)
def test_no_channel_count_is_special(function, channels):
    arrays, attributes = operands(function, np.random.default_rng(channels), channels)
    c_kernels.check(function, *arrays, **attributes)


@pytest.mark.rules("ABI-C2")
@pytest.mark.parametrize("in_hw", [(1, 1), (1, 7), (5, 1), (3, 4), (7, 7)])
@pytest.mark.parametrize("kernel", [(1, 1), (2, 3), (5, 1)])
def test_no_map_or_kernel_is_special(in_hw, kernel):
    rng = np.random.default_rng([*in_hw, *kernel])
    pad = (2, 2, 1, 1)
    x, w = exact.codes(rng, 1, *in_hw, 3), rng.integers(-127, 128, (2, *kernel, 3)).astype(np.int8)
    b, m = np.zeros(2, np.int32), np.full(2, 1e-3, np.float32)
    y, _ = c_kernels.check("conv2d.forward", x, w, b, m, x_zero=0, y_zero=0, pad=pad)
    g = exact.floats(rng, *y.shape)
    c_kernels.check("conv2d.vjp_x", g, w, None, in_hw=in_hw, pad=pad)
    c_kernels.check("conv2d.vjp_w", g, x, None, x_zero=0, kernel=kernel, pad=pad)


@pytest.mark.rules("ABI-M1")
@pytest.mark.parametrize("function", ["conv2d.forward", "conv2d.vjp_x", "conv2d.vjp_w"])
def test_scratch_is_used_as_promised(function):
    arrays, attributes = operands(function, np.random.default_rng(5))
    expected = FUNCTIONS[function](*arrays, **attributes)
    sizes = set()

    def scratch_of(poison, homes):
        def scratch(size):
            sizes.add(size)
            homes.append(np.full(size + 2 * c_kernels.CANARY, poison, np.uint8))
            return homes[-1][c_kernels.CANARY : c_kernels.CANARY + size]

        return scratch

    for poison in (0xFF, 0x55):
        homes: list[np.ndarray] = []
        results = [np.empty_like(result) for result in expected]
        kernels.call(function, arrays, results, scratch=scratch_of(poison, homes), **attributes)
        c_kernels.assert_same(function, expected, tuple(results))
        for memory in homes:
            assert (memory[: c_kernels.CANARY] == poison).all()
            assert (memory[-c_kernels.CANARY :] == poison).all()
    assert len(sizes) <= 1, "the size is the same at every call"


def functions_of(source):
    """Bodies of the C functions in a text by name, comments left out."""
    code = re.sub(r"/\*.*?\*/", "", source, flags=re.DOTALL)
    return dict(re.findall(r"^[a-z][\w *]*?(\w+)\([^;{]*\) \{\n(.*?)^\}", code, re.MULTILINE | re.DOTALL))


@pytest.mark.rules("ABI-M3")
@pytest.mark.parametrize("source", compilers.SOURCES, ids=lambda path: path.stem)
def test_no_function_calls_itself_and_no_array_has_a_variable_length(source):
    bodies = functions_of(source.read_text())
    assert bodies
    calls = {name: {other for other in bodies if re.search(rf"\b{other}\(", body)} for name, body in bodies.items()}
    for name in bodies:
        reached, front = set(), {name}
        while front:
            front = {callee for caller in front for callee in calls[caller]} - reached
            reached |= front
        assert name not in reached
    assert "alloca" not in source.read_text()
    compiler = next(compiler for compiler in compilers.COMPILERS if not compiler.missing)
    strict = compilers.Compiler(compiler.name, (*compiler.command, "-Wvla"), compiler.board)
    assert check_c.check(strict, [source], headers=False) == []


@pytest.mark.rules("ABI-M3")
def test_a_variable_length_is_found(tmp_path):
    path = tmp_path / "kernel.c"
    path.write_text("int f(int n) {\n    int v[n];\n    v[0] = n;\n    return v[0];\n}\n")
    compiler = next(compiler for compiler in compilers.COMPILERS if not compiler.missing)
    strict = compilers.Compiler(compiler.name, (*compiler.command, "-Wvla"), compiler.board)
    (fault,) = check_c.check(strict, [path], headers=False)
    assert "vla" in fault


@pytest.mark.rules("ABI-A1", "ABI-F1", "ABI-F2")
@pytest.mark.parametrize("function", CALLS)
def test_results_are_all_that_is_written_and_may_lie_where_the_table_says(function):
    arrays, attributes = operands(function, np.random.default_rng(6))
    c_kernels.check(function, *arrays, **attributes)  # canaries, poison, operands as they were
    for alias in FUNCTIONS[function].aliases:
        c_kernels.check_in_place(function, alias.output, alias.input, *arrays, **attributes)


@pytest.mark.rules("ABI-N1")
def test_subnormals_are_kept_and_the_rounding_mode_is_left_alone():
    tiny = np.full((1, 1, 1, 1), 1e-45, np.float32)
    one = np.ones((1, 1, 1, 1), np.int8)
    assert kernels.conv2d.vjp_x(tiny, one, in_hw=(1, 1)).item() == np.float32(1e-45)
    assert kernels.bias_gradient.forward(tiny, np.float32([1e-45])).item() == np.float32(3e-45)
    assert np.float32(1) + np.float32(2.0**-24) == 1
    assert np.float32(1) + np.float32(3 * 2.0**-25) > 1
    assert tiny.item() / 1.0 != 0


@pytest.mark.rules("ABI-N2")
def test_flags_forbid_contraction_and_fast_math():
    build = Path(compilers.__file__).with_name("ffi.py").read_text()
    for flag in ("-ffp-contract=off", "-fno-fast-math"):
        assert flag in compilers.FLAGS
        assert f'"{flag}"' in build
    assert all("-ffast-math" not in compiler.command for compiler in compilers.COMPILERS)


def test_the_calls_of_this_file_are_legal():
    for function in CALLS:
        arrays, attributes = operands(function, np.random.default_rng(0))
        assert FUNCTIONS[function].types(*map(Type.of, arrays), **attributes)
