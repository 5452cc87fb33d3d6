"""Streamed blocks are undone where the arena has room, and nowhere else."""

from dataclasses import replace
from functools import partial

import pytest

from goldgrad import schemes
from goldgrad.codegen import generate, kernel_scratch
from goldgrad.composites import unfold as without_composites
from goldgrad.kernels import scratch_bytes
from goldgrad.memory.plan import check_plan, plan
from goldgrad.memory.unfold import unfolded
from goldgrad.models import architecture
from goldgrad.training import Session


@pytest.fixture(scope="module")
def planned():
    model = architecture("mcunet-5fps").model(None)
    return plan(Session(model, schemes.named(model, "49kb")).graph)


def blocks(found):
    return [node.results[0] for node in found.graph.nodes if node.function == "composite.rows"]


@pytest.mark.rules("MEM-S11")
def test_blocks_are_undone_in_the_same_arena(planned):
    found = unfolded(planned)
    check_plan(found.graph, found.placement)
    assert found.arena_bytes <= planned.arena_bytes
    assert found.profile.peak <= found.arena_bytes
    assert set(blocks(found)) < set(blocks(planned))
    assert blocks(planned)[0] in blocks(found), "the block at the peak"
    assert found.passes == (*planned.passes, "unfold")
    assert without_composites(found.graph).nodes == without_composites(planned.graph).nodes
    assert blocks(unfolded(found)) == blocks(found)


@pytest.mark.rules("MEM-S2", "ABI-S5", "ABI-M1")
def test_a_program_has_the_scratch_of_its_kernels(planned):
    model = architecture("mcunet-5fps").model(None)
    session = Session(model, schemes.named(model, "49kb"))
    for kernels in ("portable", "m7"):
        scratch_of = partial(scratch_bytes, kernels=kernels)
        by_row, whole = kernel_scratch(planned, scratch_of), kernel_scratch(unfolded(planned), scratch_of)
        assert (by_row > 0) == (kernels == "m7")
        assert by_row <= whole
        text = generate(session, planned, scratch_of)
        assert (f"scratch[{by_row}];" in text) == (by_row > 0)


@pytest.mark.rules("MEM-S11")
def test_without_room_nothing_is_undone(planned):
    assert unfolded(planned).graph != planned.graph
    tight = replace(planned, placement={"image": 0})
    assert tight.arena_bytes < planned.arena_bytes
    assert unfolded(tight) is tight
