"""A provider in a process of its own: a crash or a hang of one case fails that case, and nothing else.

The process that opens the provider (the keeper) runs no case itself.  It forks a worker that does, tells its number,
and waits; when the worker dies it says how, and forks another.  A fork takes milliseconds, so that a search may shrink
a case that crashes.  Worker and caller share a pipe: the caller sends blocks of memory, guards included, and gets them
back as the worker left them.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from ...conformance.memory import GUARD
from ...conformance.providers import NotProvided, Provider, Scratch, keeping_to, lacking
from ...errors import GoldgradError
from ...numerics import Array

LINE = 64
"""Addresses in the worker agree with the caller's modulo this."""
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""A process with threads is not to be forked, and small matrices gain nothing from them."""
START_SECONDS = 120.0
"""How long opening may take: it compiles."""
END_SECONDS = 2.0
"""How long ending may take unless it is forced."""


class Crashed(Exception):  # noqa: N818  (the provider's fault)
    """The worker died while it ran a case."""


class Hung(Exception):  # noqa: N818  (the provider's fault)
    """The worker was still running a case when its time was over, and was ended."""


@dataclass(frozen=True)
class _View:
    """Where an array lies: number of its block, offset there, element type and shape."""

    block: int
    start: int
    dtype: str
    shape: tuple[int, ...]


class Isolated:
    """The provider that ``text`` names, opened in another process.  A context manager; close it in the end."""

    _worker = 0
    _lacks: Mapping[str, frozenset[str]]
    _only: Mapping[str, Mapping[str, Sequence[int]]]

    def __init__(self, text: str, options: Mapping[str, Any], seconds: float = 10.0) -> None:
        if not hasattr(os, "fork"):
            raise GoldgradError("kernels of one's own are checked on Linux and macOS; run goldgrad check there")
        self._seconds = seconds
        here, there = socket.socketpair()
        program = f"from {__name__} import keep; keep({there.fileno()})"
        self._keeper = subprocess.Popen(
            [sys.executable, "-c", program],
            pass_fds=[there.fileno()],
            stdin=subprocess.DEVNULL,
            env={**os.environ, **ONE_THREAD},
            start_new_session=True,  # one group with all that it starts
        )
        there.close()
        self._pipe = Connection(here.detach())
        self._pipe.send((text, dict(options), sys.path))
        opened = self._answer(START_SECONDS)
        if opened[0] != "opened":
            self.close()
            raise opened[1]
        _, self.name, self._provided, self._lacks, self._only = opened
        self._worker = self._answer(START_SECONDS)[1]

    def __enter__(self) -> Isolated:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End both processes: the worker ends what it has started when it sees the pipe's end, or all are ended."""
        self._pipe.close()
        with suppress(subprocess.TimeoutExpired):
            self._keeper.wait(END_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(self._keeper.pid, signal.SIGKILL)
        self._keeper.wait()

    def provides(self, function: str) -> bool:
        """Whether the provider has the function."""
        return function in self._provided

    def lacks(self, function: str) -> frozenset[str]:
        """Optional operands and results that its function does not have."""
        return self._lacks.get(function, frozenset())

    def only(self, function: str) -> Mapping[str, Sequence[int]]:
        """What shapes the function is made for."""
        return self._only.get(function, {})

    def run(
        self,
        function: str,
        inputs: Sequence[Array | None],
        outputs: Sequence[Array | None],
        scratch: Scratch,
        attributes: Mapping[str, Any],
    ) -> None:
        """Run it over there; :class:`Crashed`, :class:`Hung`, or what the provider raised."""
        blocks: list[Array] = []
        views = [_view(array, blocks) for array in (*inputs, *outputs)]
        sent = [(block.tobytes(), block.ctypes.data % LINE) for block in blocks]
        self._pipe.send(("run", function, views[: len(inputs)], views[len(inputs) :], sent, dict(attributes)))
        while True:
            answer = self._answer(self._seconds)
            match answer[0]:
                case "scratch":
                    memory = scratch(answer[1])
                    view = _view(memory, blocks)
                    self._pipe.send((view, blocks[-1].tobytes(), blocks[-1].ctypes.data % LINE))
                case "done":
                    for block, data in zip(blocks, answer[1], strict=True):
                        block[...] = np.frombuffer(data, np.uint8)
                    return
                case "not provided":
                    raise NotProvided
                case "raised":
                    raise answer[1]
                case "died":
                    self._worker = self._answer(START_SECONDS)[1]
                    raise Crashed(answer[1])

    def _answer(self, seconds: float) -> Any:
        try:
            if self._pipe.poll(seconds):
                return self._pipe.recv()
            os.kill(self._worker, signal.SIGKILL)
            self._pipe.recv()  # that it died
            self._worker = self._pipe.recv()[1]
        except (EOFError, OSError):
            raise GoldgradError("the provider's process is gone; run goldgrad check again") from None
        raise Hung(f"no end after {seconds:g} s")


def _view(array: Array | None, blocks: list[Array]) -> _View | None:
    """Where the array lies among ``blocks``, to which its own is added if need be."""
    if array is None:
        return None
    base = array if array.base is None else array.base
    assert isinstance(base, np.ndarray)
    number = next((i for i, block in enumerate(blocks) if block is base or block.base is base), None)
    if number is None:
        number = len(blocks)
        blocks.append(base.reshape(-1).view(np.uint8))
    return _View(number, array.ctypes.data - blocks[number].ctypes.data, str(array.dtype), array.shape)


# --- the other side ------------------------------------------------------------------------------------------------


def keep(fd: int) -> None:
    """Open a provider, and keep a worker going until the caller is gone; never returns."""
    warnings.simplefilter("ignore")
    pipe = Connection(fd)
    code = 0
    try:
        text, options, sys.path[:] = pipe.recv()
        from ...ops import FUNCTIONS
        from .opening import open_here

        try:
            provider = open_here(text, **options)
        except GoldgradError as error:
            pipe.send(("failed", _sendable(error)))
            sys.exit(0)
        provided = frozenset(name for name in FUNCTIONS if provider.provides(name))
        lacks = {name: lacking(provider, name) for name in provided}
        only = {name: keeping_to(provider, name) for name in provided}
        pipe.send(("opened", provider.name, provided, lacks, only))
        while code == 0:
            worker = os.fork()
            if worker == 0:
                _work(pipe, provider)
            pipe.send(("worker", worker))
            _, status = os.waitpid(worker, 0)
            if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0:
                break  # the caller has closed its end
            pipe.send(("died", _how(status)))
    except (OSError, EOFError, SystemExit):
        pass
    except BaseException:  # nothing of it may come up in the caller's code
        traceback.print_exc()
        code = 1
    sys.exit(code)  # and remove what was made for the time of this process


def _how(status: int) -> str:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return f"crashed: {signal.strsignal(number) or 'signal'} (signal {number})"
    return f"ended the process with exit code {os.WEXITSTATUS(status)}"


def _work(pipe: Connection, provider: Provider) -> None:
    """Run what is asked; never returns."""
    code = 0
    try:
        while True:
            _, function, inputs, outputs, sent, attributes = pipe.recv()
            _serve(pipe, provider, function, inputs, outputs, sent, attributes)
    except (OSError, EOFError):
        pass
    except BaseException:  # as above
        traceback.print_exc()
        code = 70
    end: Callable[[], None] = getattr(provider, "close", lambda: None)
    with suppress(Exception):
        end()
    os._exit(code)


def _serve(
    pipe: Connection,
    provider: Provider,
    function: str,
    inputs: Sequence[_View | None],
    outputs: Sequence[_View | None],
    sent: Sequence[tuple[bytes, int]],
    attributes: Mapping[str, Any],
) -> None:
    blocks = [_block(*each) for each in sent]

    def scratch(size: int) -> Array:
        pipe.send(("scratch", size))
        view, data, place = pipe.recv()
        blocks.append(_block(data, place))
        array = _array(view, blocks)
        assert array is not None
        return array

    try:
        provider.run(
            function, [_array(v, blocks) for v in inputs], [_array(v, blocks) for v in outputs], scratch, attributes
        )
    except NotProvided:
        pipe.send(("not provided",))
    except Exception as error:
        pipe.send(("raised", _sendable(error)))
    else:
        pipe.send(("done", [block.tobytes() for block in blocks]))


def _block(data: bytes, place: int) -> Array:
    """A copy of a block whose address agrees with the caller's modulo :data:`LINE`."""
    room = np.empty(len(data) + 2 * LINE + 2 * GUARD, np.uint8)  # more than the guards: a wild write stays in the heap
    start = GUARD + (place - room.ctypes.data - GUARD) % LINE
    block = room[start : start + len(data)]
    block[...] = np.frombuffer(data, np.uint8)
    return block


def _array(view: _View | None, blocks: Sequence[Array]) -> Array | None:
    if view is None:
        return None
    dtype = np.dtype(view.dtype)
    size = int(np.prod(view.shape)) * dtype.itemsize
    return blocks[view.block][view.start : view.start + size].view(dtype).reshape(view.shape)


def _sendable(error: Exception) -> Exception:
    """The error itself, or its text where another process cannot have it."""
    import pickle

    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
