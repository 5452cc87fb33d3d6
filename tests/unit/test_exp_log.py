"""specs/numerics.md: exp32 and log32.

Float64's exp and log serve as the measure where the grid is dense: float64 has 29 bits more, so a libm that is good
to a few of its own ulps decides float32 ulps to within 1e-7.  mpmath checks that it is, and measures the worst cases.
"""

import importlib.util
import os
import re
from pathlib import Path

import mpmath
import numpy as np
import pytest

from goldgrad import numerics
from goldgrad.kernels import numerics as in_c
from goldgrad.numerics import error_in_ulps, same_bits

ROOT = Path(__file__).resolve().parents[2]
BOTH = pytest.mark.parametrize("provider", [numerics, in_c], ids=["reference", "c"])
BOUND = {"exp32": 0.892, "log32": 0.856}
"""As the specification states them."""
REAL = {"exp32": np.exp, "log32": np.log}
WORST = {"exp32": "0x1.4ce7a6p+2", "log32": "0x1.66883p-1"}
DEEP = pytest.mark.skipif(os.environ.get("GOLDGRAD_DEEP") != "1", reason="takes minutes; set GOLDGRAD_DEEP=1")


def bits(first, end, step=1):
    """The float32 whose patterns are first, first + step, ..., below end."""
    return np.arange(first, end, step, dtype=np.uint64).astype(np.uint32).view(np.float32)


def real(name, x):
    """The function in float64; NaN of negative numbers without a word."""
    with np.errstate(all="ignore"):
        return REAL[name](x.astype(np.float64))


def worst(name, x, y):
    """The largest error in ulps, and where it is."""
    error = error_in_ulps(y, real(name, x))
    assert not np.any(np.isnan(error)), f"{name}({float(x[np.argmax(np.isnan(error))]).hex()}) is NaN, or should be"
    at = int(np.argmax(error))
    return float(error[at]), float(x[at]).hex()


def precise_error(name, x, y):
    """The error in ulps by mpmath, for one float32."""
    with mpmath.workdps(40):
        value = (mpmath.exp if name == "exp32" else mpmath.log)(mpmath.mpf(float(x)))
        exponent = mpmath.floor(mpmath.log(abs(value), 2))
        return float(abs(mpmath.mpf(float(y)) - value) / mpmath.mpf(2) ** (max(exponent, -126) - 23))


GRIDS = {
    "exp32": {
        "every 2039th of all": bits(0, 2**32, 2039),
        "all of [4, 8)": bits(0x40800000, 0x41000000),
        "every 7th of (-1, -1/2]": bits(0xBF000000, 0xBF800000, 7),
        "every 63rd where results are subnormal": bits(0xC2AE0000, 0xC2D00010, 63),
        "all about overflow": bits(0x42B17000, 0x42B18000),
    },
    "log32": {
        "every 2039th of all": bits(0, 2**32, 2039),
        "all of [1/2, 1)": bits(0x3F000000, 0x3F800000),
        "every 7th of [1, 2)": bits(0x3F800000, 0x40000000, 7),
        "every 127th subnormal": bits(1, 0x00800000, 127),
    },
}
DENSE = {"exp32": "all of [4, 8)", "log32": "all of [1/2, 1)"}
"""Where the worst case of the function is."""


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.rules("NUM-N10", "NUM-N11", "NUM-N17")
def test_reference_is_c_and_within_the_stated_ulps(name):
    for grid, x in GRIDS[name].items():
        y = getattr(in_c, name)(x)
        error, at = worst(name, x, y)
        assert error <= BOUND[name], f"{grid}: {error} ulp at {at}"
        reference = getattr(numerics, name)(x)
        wrong = np.flatnonzero(~same_bits(reference, y))
        assert not wrong.size, f"{grid}: C and reference differ at {float(x[wrong[0]]).hex()}"


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.rules("NUM-N10", "NUM-N11", "NUM-N17")
def test_worst_cases_by_mpmath(name):
    dense = GRIDS[name][DENSE[name]]
    top = np.argpartition(error_in_ulps(getattr(in_c, name)(dense), real(name, dense)), -200)[-200:]
    rng = np.random.default_rng(1)
    anywhere = bits(0, 0x42B00000, 2**21)[rng.permutation(500)] if name == "exp32" else bits(1, 0x7F800000, 2**22)
    x = np.concatenate([dense[top], anywhere, np.float32([float.fromhex(WORST[name])])])
    y = getattr(in_c, name)(x)
    exact = [precise_error(name, a, b) for a, b in zip(x, y, strict=True)]
    assert max(exact) <= BOUND[name]
    assert max(exact) == exact[-1] > BOUND[name] - 0.001  # the stated place, and the bound is no wider than need be
    assert np.allclose(exact, error_in_ulps(y, real(name, x)), rtol=0, atol=1e-7)  # so float64 measures well


@BOTH
@pytest.mark.rules("NUM-N10")
def test_exp_special_values(provider):
    x = np.float32([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, 3.4e38, -3.4e38, 88.72284])
    want = np.float32([1, 1, np.inf, 0, np.nan, 1, np.inf, 0, np.inf])
    assert np.all(same_bits(want, provider.exp32(x)))
    assert np.isfinite(provider.exp32(np.nextafter(np.float32(88.72284), np.float32(0))))
    assert provider.exp32(np.float32([-103.97, -103.98])).tolist() == [2.0**-149, 0.0]
    assert not np.any(np.signbit(provider.exp32(np.float32([-104, -105, -1e30, -np.inf]))))


@BOTH
@pytest.mark.rules("NUM-N11")
def test_log_special_values(provider):
    x = np.float32([0.0, -0.0, np.inf, -np.inf, np.nan, -1e-45, -1, 1])
    want = np.float32([-np.inf, -np.inf, np.inf, np.nan, np.nan, np.nan, np.nan, 0.0])
    assert np.all(same_bits(want, provider.log32(x)))
    powers = np.float32(2.0) ** np.arange(-149, 128, dtype=np.float32)
    assert np.all(error_in_ulps(provider.log32(powers), np.arange(-149, 128) * np.log(2.0)) <= 0.5001)


@BOTH
@pytest.mark.rules("NUM-N10")
def test_exp_never_exceeds_one_below_zero_and_rounds_subnormals_once(provider):
    assert np.all(provider.exp32(-bits(0, 0x3F000000, 99991)) <= 1)
    x = bits(0xC2AEAC50, 0xC2CFF000, 17)  # results from the least normal down
    n = numerics.rne(numerics.mul32(x, numerics.LOG2_E))
    shifted = provider.exp32(x).astype(np.float64) * 2.0**149
    assert np.array_equal(shifted, np.rint(shifted))
    r = numerics.fma32(n, -numerics.EXP_LN2[1], numerics.fma32(n, -numerics.EXP_LN2[0], x))
    p = np.float32(numerics.EXP[-1])
    for e in numerics.EXP[-2::-1]:
        p = in_c.fma32(p, r, np.float32(e))
    assert np.array_equal(shifted, np.rint(np.ldexp(p.astype(np.float64), (n + 149).astype(np.int32))))


@pytest.mark.rules("NUM-N11")
def test_log_never_decreases():
    assert np.all(np.diff(in_c.log32(GRIDS["log32"]["all of [1/2, 1)"])) >= 0)
    assert np.all(np.diff(in_c.log32(bits(1, 0x7F800000, 997))) >= 0)


def constants_of_the_spec(rule_id):
    text = (ROOT / "specs" / "numerics.md").read_text()
    section = text.split(f"### {rule_id}:")[1].split("\n### ")[0]
    rows = re.findall(r"\| ([a-z0-9_, ]+) \| `(-?0x[0-9a-f.]+p[+-]\d+)`", section)
    return {name: value for names, value in rows for name in names.split(", ")}


def hexes(values):
    return [float(value).hex() for value in values]


@pytest.mark.rules("NUM-N10", "NUM-N11")
def test_constants_of_spec_reference_and_c_are_the_same():
    exp, log = constants_of_the_spec("NUM-N10"), constants_of_the_spec("NUM-N11")
    order_exp = ["log2_e", "ln2_hi", "ln2_lo", *(f"e{i}" for i in range(7))]
    order_log = ["sqrt_half", "ln2_hi", "ln2_lo", *(f"l{i}" for i in range(2, 11))]
    assert set(exp) == set(order_exp)
    assert set(log) == set(order_log)
    reference_exp = [numerics.LOG2_E, *numerics.EXP_LN2, *numerics.EXP]
    reference_log = [numerics.SQRT_HALF, *numerics.LOG_LN2, *numerics.LOG]
    assert hexes(map(float.fromhex, map(exp.get, order_exp))) == hexes(reference_exp)
    assert hexes(map(float.fromhex, map(log.get, order_log))) == hexes(reference_log)
    assert np.all(np.float32(reference_exp + reference_log) == np.float64(reference_exp + reference_log))

    source = (ROOT / "kernels_c" / "src" / "portable" / "numerics.c").read_text()
    for name, reference in (("gg_exp32", reference_exp), ("gg_log32", reference_log[1:])):
        body = re.search(rf"float {name}\(float x\) {{\n(.*?)\n}}", source, re.DOTALL).group(1)
        in_source = {abs(float.fromhex(value)) for value in re.findall(r"0x[0-9a-f.]+p[+-]\d+", body)}
        powers_of_two = {1.0, 2.0**-126, 2.0**23}
        assert in_source - powers_of_two == {abs(c) for c in reference} - powers_of_two
    assert f"0x{np.float32(numerics.SQRT_HALF).view(np.uint32):X}U" in source


@pytest.mark.rules("NUM-N10", "NUM-N11")
def test_the_fit_prints_the_constants(capsys):
    path = ROOT / "specs" / "tools" / "fit_exp_log.py"
    module = importlib.util.module_from_spec(importlib.util.spec_from_file_location("fit_exp_log", path))
    digits = mpmath.mp.dps
    try:
        module.__spec__.loader.exec_module(module)
        module.main()
    finally:
        mpmath.mp.dps = digits
    printed = re.findall(r"(\w+) +(-?0x[0-9a-f.]+p[+-]\d+)", capsys.readouterr().out)
    exp, log = constants_of_the_spec("NUM-N10"), constants_of_the_spec("NUM-N11")
    assert printed[0] == ("log2_e", exp["log2_e"])
    split = next(i for i in range(4, len(printed)) if printed[i][0] == "ln2_hi")
    assert dict(printed[1:split]) == {k: v for k, v in exp.items() if k not in ("log2_e", "e0", "e1")}
    assert dict(printed[split:]) == {k: v for k, v in log.items() if k != "sqrt_half"}


@DEEP
@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.rules("NUM-N10", "NUM-N11", "NUM-N17")
def test_every_float32(name):
    """C against float64 everywhere; the reference against C on every 16th."""
    largest, decreases = (0.0, ""), []
    for start in range(0, 2**32, 2**22):
        x = bits(start, start + 2**22 + 1)  # one more, to compare across blocks
        y = getattr(in_c, name)(x)
        if start % 2**31 < 0x7F800000:
            largest = max(largest, worst(name, x, y))
            falls = y[1:] < y[:-1] if start < 2**31 else y[1:] > y[:-1]  # negative x: patterns ascend, x descends
            decreases += x[np.flatnonzero(falls)].tolist()
        sample = x[start // 2**22 % 16 :: 16]
        assert np.all(same_bits(getattr(numerics, name)(sample), getattr(in_c, name)(sample)))
    assert largest[1] == float.fromhex(WORST[name]).hex()
    assert BOUND[name] - 0.001 < largest[0] <= BOUND[name]
    assert all(name == "exp32" and -0.25 < x < -0.06 for x in decreases)
