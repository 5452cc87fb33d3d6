"""Run the tests of the C kernels on a library built with the address and undefined-behaviour sanitizers.

``python kernels_c/python/sanitize.py [pytest arguments]``.  The library takes the place of the package's own
(GOLDGRAD_KERNELS_LIB), in processes that allocate through the sanitizer, so that a kernel that leaves its
operands' memory is seen.  First a probe with a known fault of each kind must be caught.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from compilers import COMPILERS, SOURCES, Compiler, shared_library

PROJECT = Path(__file__).resolve().parents[2]
BUILD = PROJECT / "build" / "sanitize"
SANITIZE = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")
UNIT = PROJECT / "tests" / "unit"
TESTS = [PROJECT / "tests" / "property" / "test_functions.py", UNIT / "test_kernel_abi.py"]
TESTS += [path for path in (UNIT / f"test_{source.stem}.py" for source in SOURCES) if path.exists()]
NOT_C = "not -reference]"  # the property tests of the reference
PROBE = """
int past_the_end(const signed char *x, int n);
int past_the_end(const signed char *x, int n) { return x[n]; }
int overflow(const signed char *x, int n);
int overflow(const signed char *x, int n) { return n * 2147483647 + x[0]; }
"""
CALL_PROBE = """
import ctypes, sys, numpy as np
x = np.zeros(4099, np.int8)
ctypes.CDLL(sys.argv[1])[sys.argv[2]](ctypes.c_void_p(x.ctypes.data), x.size)
"""


def _runtime(compiler: Compiler) -> str:
    """Where the sanitizer's allocator is: Python must be started with it."""
    names = {"gcc": "libasan.so", "clang": "libclang_rt.asan-x86_64.so"}
    command = [*compiler.command, f"-print-file-name={names[compiler.command[0]]}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _caught(environment: dict[str, str], library: Path, fault: str) -> bool:
    command = [sys.executable, "-c", CALL_PROBE, str(library), fault]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return run.returncode != 0 and ("AddressSanitizer" in run.stderr or "runtime error" in run.stderr)


def main() -> int:
    """Build, check the probe, run the tests."""
    compiler = next((c for c in COMPILERS if c.command[0] in ("gcc", "clang") and not c.missing), None)
    if compiler is None:
        print("sanitize: needs gcc or clang, whose runtime libraries zig cc does not bring", file=sys.stderr)
        return 1
    library, probe, source = BUILD / "kernels.so", BUILD / "probe.so", BUILD / "probe.c"
    shared_library(compiler, library, *SANITIZE)
    source.write_text(PROBE)
    shared_library(compiler, probe, *SANITIZE, sources=[source])
    environment = os.environ | {
        "GOLDGRAD_KERNELS_LIB": str(library),
        "LD_PRELOAD": _runtime(compiler),
        "ASAN_OPTIONS": "detect_leaks=0",  # Python's own; the kernels allocate nothing
        "PYTHONMALLOC": "malloc",
    }
    missed = [fault for fault in ("past_the_end", "overflow") if not _caught(environment, probe, fault)]
    if missed:
        print(f"sanitize: {compiler.name} does not catch the probe's {' and '.join(missed)}", file=sys.stderr)
        return 1
    print(f"sanitize: {compiler.name}, {len(SOURCES)} kernels; the probe's faults are caught", flush=True)
    for report in BUILD.glob("report.*"):
        report.unlink()
    environment["ASAN_OPTIONS"] += f":log_path={BUILD / 'report'}"  # pytest would keep it to itself
    environment["UBSAN_OPTIONS"] = f"print_stacktrace=1:log_path={BUILD / 'report'}"
    environment["HYPOTHESIS_PROFILE"] = "quick"
    command = [sys.executable, "-m", "pytest", "-k", NOT_C, *sys.argv[1:], *map(str, TESTS)]
    status = subprocess.run(command, env=environment, cwd=PROJECT, check=False).returncode
    for report in sorted(BUILD.glob("report.*"))[:1]:
        print(*report.read_text().splitlines()[:20], sep="\n", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
