"""Streamed blocks are undone where the arena has room, and nowhere else."""

from dataclasses import replace

import pytest

from goldgrad import schemes
from goldgrad.composites import unfold as without_composites
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


@pytest.mark.rules("MEM-S11")
def test_without_room_nothing_is_undone(planned):
    assert unfolded(planned).graph != planned.graph
    tight = replace(planned, placement={"image": 0})
    assert tight.arena_bytes < planned.arena_bytes
    assert unfolded(tight) is tight
