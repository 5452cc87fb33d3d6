"""Where C runs: something that holds arrays, has functions by name, and calls them by the procedure call standard."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from ...board.aapcs import Value, Word
from ...errors import GoldgradError
from ...numerics import Array


class Machine(Protocol):
    """This machine, or an emulated one."""

    name: str

    def has(self, symbol: str) -> bool:
        """Whether there is such a function."""

    def place(self, arrays: Sequence[Array]) -> list[int]:
        """Addresses at which the arrays can be reached by C until :meth:`collect`; aligned as they are here."""

    def constant(self, data: bytes) -> int:
        """The address of a copy of ``data``, until the next :meth:`place`."""

    def call(self, symbol: str, arguments: Sequence[Word]) -> int:
        """Call a function; what it returned as int32."""

    def collect(self) -> None:
        """Bring what C left in the arrays' memory, and around it, back into them."""


CTYPES: dict[str, Any] = {
    "int8": ctypes.c_int8,
    "uint8": ctypes.c_uint8,
    "int16": ctypes.c_int16,
    "uint16": ctypes.c_uint16,
    "int32": ctypes.c_int32,
    "uint32": ctypes.c_uint32,
    "int64": ctypes.c_int64,
    "float32": ctypes.c_float,
    "float64": ctypes.c_double,
}


class Host:
    """A shared library in this process."""

    name = "host"

    def __init__(self, path: Path) -> None:
        try:
            self._library = ctypes.CDLL(str(path.absolute()))
        except OSError as fault:
            raise GoldgradError(f"{path} cannot be loaded: {fault}; give a shared library of this machine") from None
        self._constants: dict[bytes, ctypes.Array[ctypes.c_char]] = {}

    def has(self, symbol: str) -> bool:
        """Whether the library exports it."""
        return hasattr(self._library, symbol)

    def place(self, arrays: Sequence[Array]) -> list[int]:
        """Where the arrays are already."""
        return [array.ctypes.data for array in arrays]

    def constant(self, data: bytes) -> int:
        """A copy in memory that C may read; one for equal data."""
        if data not in self._constants:
            self._constants[data] = ctypes.create_string_buffer(data, len(data))
        return ctypes.addressof(self._constants[data])

    def call(self, symbol: str, arguments: Sequence[Word]) -> int:
        """Call through ctypes."""
        words = [
            CTYPES[word.type](word.value) if isinstance(word, Value) else ctypes.c_void_p(word or None)
            for word in arguments
        ]
        function = getattr(self._library, symbol)
        function.restype = ctypes.c_int32
        return int(function(*words))

    def collect(self) -> None:
        """Nothing: C worked on the arrays themselves."""
