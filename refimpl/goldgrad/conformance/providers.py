"""Who can be put under the suite: something that runs functions of the operator table on memory it is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from ..numerics import Array
from ..ops import FUNCTIONS

Scratch = Callable[[int], Array]
"""Gives scratch memory of a size in bytes, aligned to 8 (ABI-C1, ABI-M1)."""


class NotProvided(Exception):  # noqa: N818  (says something of the provider, and is no error)
    """Raised by :meth:`Provider.run`: the provider has the function, but does not take this case.

    A kernel for 1 x 1 convolutions, or one without a start operand, says so; such a case counts neither for nor
    against it.
    """


class Provider(Protocol):
    """An implementation of some functions of the operator table."""

    name: str

    def provides(self, function: str) -> bool:
        """Whether it has the function; what it lacks is reported as not provided."""

    def run(
        self,
        function: str,
        inputs: Sequence[Array | None],
        outputs: Sequence[Array | None],
        scratch: Scratch,
        attributes: Mapping[str, Any],
    ) -> None:
        """Run the function on ``inputs`` and write its results into ``outputs``.

        A result that nobody wants is None.  A result may share memory with an operand where the table of aliases
        allows it.  ``scratch(size)`` gives scratch memory of exactly that size, poisoned.  Every array is a C-ordered
        view of a :class:`~goldgrad.conformance.memory.Block`, so a provider with memory of its own can copy the
        whole block to the device and back (``array.base``), guards included.

        :class:`NotProvided` for a case that it does not take; any other exception is a finding.
        """


def lacking(provider: Provider, function: str) -> frozenset[str]:
    """Names of optional operands and results that the provider's function does not have (``provider.lacks``)."""
    lacks: Callable[[str], frozenset[str]] | None = getattr(provider, "lacks", None)
    return lacks(function) if lacks else frozenset()


def keeping_to(provider: Provider, function: str) -> Mapping[str, Sequence[int]]:
    """What shapes its function is made for (``provider.only``): see ``strategies.ONLY``."""
    only: Callable[[str], Mapping[str, Sequence[int]]] | None = getattr(provider, "only", None)
    return only(function) if only else {}


class CKernels:
    """goldgrad's own C kernels, through cffi."""

    name = "c"

    def __init__(self) -> None:
        from .. import kernels  # another provider needs no C kernels of ours

        self._kernels = kernels

    def provides(self, function: str) -> bool:
        """Whether a C kernel is bound for the function."""
        return function in self._kernels.KERNELS

    def run(
        self,
        function: str,
        inputs: Sequence[Array | None],
        outputs: Sequence[Array | None],
        scratch: Scratch,
        attributes: Mapping[str, Any],
    ) -> None:
        """Call C on the memory given."""
        self._kernels.call(function, inputs, outputs, scratch, **attributes)


class PythonKernels:
    """Python callables, each called as the reference is: ``kernels[function](*inputs, **attributes)``.

    A callable returns its results; they are copied into the outputs.  What ``kernels`` lacks, ``otherwise`` says.
    """

    def __init__(self, name: str, kernels: Mapping[str, Callable[..., Any]]) -> None:
        self.name = name
        self.kernels = kernels

    def provides(self, function: str) -> bool:
        """Whether there is a callable for the function."""
        return function in self.kernels

    def run(
        self,
        function: str,
        inputs: Sequence[Array | None],
        outputs: Sequence[Array | None],
        scratch: Scratch,
        attributes: Mapping[str, Any],
    ) -> None:
        """Call, and copy the results out."""
        results = self.kernels[function](*inputs, **attributes)
        for output, result in zip(outputs, results if isinstance(results, tuple) else (results,), strict=True):
            if output is not None:
                output[...] = np.asarray(result).reshape(output.shape)


def reference() -> PythonKernels:
    """The reference under its own suite: what does not compare with it (adjointness, aliases) then judges it."""
    return PythonKernels("reference", {name: entry.run for name, entry in FUNCTIONS.items()})


PROVIDERS: dict[str, Callable[[], Provider]] = {"c": CKernels, "reference": reference}
"""Providers by name."""
