"""Every emulator that is here finds the same: for each model and scheme, instructions, memory images and outputs.

``make test`` has a network of each kind; ``make emulators`` has all, in some minutes.
"""

import os

import pytest

from goldgrad.board.emulators import BACKENDS, backend, present
from goldgrad.jobs import digits, on_board
from goldgrad.models import MODELS
from goldgrad.schemes import names

STEPS = {"digits": 3}
"""Others: one."""
CASES = [("digits", scheme) for scheme in digits.SCHEMES]
CASES += [(name, scheme) for name in MODELS if name != "digits" for scheme in names(name)]
ALWAYS = {("digits", "sparse"), ("mcunet-5fps", "49kb")}
ALL = bool({"GOLDGRAD_EMULATORS", "GOLDGRAD_DEEP"} & set(os.environ))


def test_all_published_schemes_are_among_the_cases():
    assert len(CASES) == len(digits.SCHEMES) + 15
    assert set(CASES) > ALWAYS


@pytest.mark.rules("MEAS-S8", "MEAS-S1", "MEAS-S2", "BOARD-M2", "PROG-S6")
@pytest.mark.parametrize(
    ("model", "scheme"),
    [
        pytest.param(
            *case,
            marks=pytest.mark.skipif(not ALL and case not in ALWAYS, reason="takes minutes: make emulators"),
            id="-".join(case),
        )
        for case in CASES
    ],
)
def test_emulators_agree(model, scheme):
    """Skips where there is nobody to agree with; the printed line says who was here, and why others were not."""
    here = present()
    absent = {name: str(backend(name).missing()) for name in BACKENDS if name not in here}
    if len(here) < 2:
        pytest.skip(f"only {', '.join(here)} is here; {'; '.join(absent.values())}")
    made, runs = None, []
    for name in here:
        session = on_board.session(model, scheme)
        made = made or on_board.firmware(session)
        steps = STEPS.get(model, 1)
        samples = on_board.samples(model, session, steps)
        runs.append(on_board.train(session, made, samples, on_board.RATE, name))
    assert [run.first_difference for run in runs] == [None] * len(runs), "none may differ from the interpreter"
    assert on_board.disagreements(runs) == []
    assert all(set(run.memory) >= {"arena"} for run in runs)
    m = runs[0].measurement
    print(
        f"{model} {scheme}: {', '.join(here)} agree on {m.instructions:,} instructions (steps: {m.steps}) and "
        f"{m.sram.total:,} bytes of SRAM; absent: {', '.join(absent) or 'none'}"
    )
