"""Python callables as a provider: ``py:module`` or ``py:FILE.py``."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from ...conformance.providers import NotProvided, PythonKernels, Scratch
from ...errors import GoldgradError
from ...numerics import Array
from ...ops import FUNCTIONS

FORM = "give a module with a dict KERNELS, or with functions such as conv2d_forward or conv2d.forward"


class PythonModule(PythonKernels):
    """The callables of a module; operands at the end that a callable does not take, it does not have."""

    def __init__(self, target: str) -> None:
        module = _module(target)
        super().__init__(f"py:{target}", _callables(module))
        if not self.kernels:
            raise GoldgradError(f"py:{target} has no function of the operator table; {FORM}")
        self._takes = {function: _takes(function, kernel) for function, kernel in self.kernels.items()}

    def lacks(self, function: str) -> frozenset[str]:
        """Optional operands beyond the callable's parameters."""
        entry = FUNCTIONS[function]
        left_out = entry.inputs[self._takes.get(function, len(entry.inputs)) :]
        return frozenset(left_out) & entry.optional

    def run(
        self,
        function: str,
        inputs: Sequence[Array | None],
        outputs: Sequence[Array | None],
        scratch: Scratch,
        attributes: Mapping[str, Any],
    ) -> None:
        """Call with as many operands as the callable takes."""
        takes = self._takes[function]
        if any(array is not None for array in inputs[takes:]):
            raise NotProvided
        super().run(function, inputs[:takes], outputs, scratch, attributes)


def _module(target: str) -> ModuleType:
    try:
        if target.endswith(".py"):
            spec = importlib.util.spec_from_file_location(Path(target).stem, target)
            assert spec and spec.loader
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
        if "" not in sys.path:
            sys.path.insert(0, "")
        return importlib.import_module(target)
    except Exception as fault:  # whatever the module does when it is imported
        raise GoldgradError(f"py:{target} cannot be imported ({type(fault).__name__}: {fault}); {FORM}") from None


def _callables(module: ModuleType) -> dict[str, Callable[..., Any]]:
    table = getattr(module, "KERNELS", None)
    if isinstance(table, Mapping) and all(callable(kernel) for kernel in table.values()):
        return {name: kernel for name, kernel in table.items() if name in FUNCTIONS}
    found = {}
    for name in FUNCTIONS:
        op, _, function = name.partition(".")
        kernel = getattr(module, f"{op}_{function}", None) or getattr(getattr(module, op, None), function, None)
        if callable(kernel):
            found[name] = kernel
    return found


def _takes(function: str, kernel: Callable[..., Any]) -> int:
    """How many operands a callable takes."""
    most = len(FUNCTIONS[function].inputs)
    try:
        parameters = inspect.signature(kernel).parameters.values()
    except (TypeError, ValueError):
        return most
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return most
    return min(most, sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters))
