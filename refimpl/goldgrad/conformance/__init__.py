"""The conformance suite: any implementation of the operators, held to the reference and to its own contract.

A :class:`Case` is one input, a :class:`Provider` is who is put under the suite, :data:`PROPERTIES` is what must hold.
``strategies`` and ``search`` draw cases and need hypothesis (the extra ``test``); the rest does not.
"""

from .case import Case
from .compare import Mismatch
from .properties import PROPERTIES, Property, verify
from .providers import PROVIDERS, CKernels, Provider, PythonKernels, reference
from .repro import repro

__all__ = [
    "PROPERTIES",
    "PROVIDERS",
    "CKernels",
    "Case",
    "Mismatch",
    "Property",
    "Provider",
    "PythonKernels",
    "reference",
    "repro",
    "verify",
]
