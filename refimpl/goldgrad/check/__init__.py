"""``goldgrad check``: anybody's kernels under the conformance suite, and what there is to say of them.

``providers`` opens what the user names (Python, a library, C, an ELF, files), in a process of its own where it could
crash; ``session`` puts it under the properties of :mod:`goldgrad.conformance`; ``reports`` show what was found.
"""

from importlib.util import find_spec

from ..errors import GoldgradError

if find_spec("hypothesis") is None:
    raise GoldgradError("hypothesis draws the cases and is not installed; pip install 'goldgrad[check]'")
