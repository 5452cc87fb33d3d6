"""For tests of generated programs: a step on this machine beside the interpreter's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from goldgrad import kernels
from goldgrad.board.host import HostProgram
from goldgrad.codegen import generate
from goldgrad.interpreter import Provider, run
from goldgrad.memory.plan import Plan
from goldgrad.training import Session

RATE = 0.1


def differences(
    session: Session,
    plan: Plan,
    samples: list[Mapping[str, Any]],
    program: Any = None,
    provider: Provider = kernels.run,
) -> list[str]:
    """What of a step's kept tensors a program has with other bits than the interpreter, after each sample's step.

    ``program``: one that was compiled already, or the board.  The session's parameters move on as the program's.
    """
    program = HostProgram(generate(session, plan)) if program is None else program
    found = []
    for step, sample in enumerate(samples):
        scalars = {"lr": np.float32([RATE]), "mu": np.float32([session.mu]), "step": np.array([step], np.int32)}
        feeds = {**session.constants, **session.parameters, **sample, **scalars}
        outside = {tensor.name for tensor in session.graph.outside()}
        wanted = run(session.graph, {name: feeds[name] for name in outside}, provider)
        program.step({name: value for name, value in {**sample, **scalars}.items() if name in outside})
        for name in session.graph.outputs:
            if program.read(name) != wanted[name].tobytes():
                found.append(f"step {step}: {name}")
        for old, new in session.graph.updates.items():
            if program.read(old) != wanted[new].tobytes():
                found.append(f"step {step}: {old}")
            session.parameters[old] = wanted[new]
    return found
