"""Streamed blocks are undone where the arena has room, and nowhere else."""

from dataclasses import replace
from functools import partial

import pytest

from goldgrad import schemes
from goldgrad.codegen import generate, kernel_scratch
from goldgrad.composites import unfold as without_composites
from goldgrad.graph import validate
from goldgrad.kernels import scratch_bytes
from goldgrad.memory.demand import demands, profile
from goldgrad.memory.groups import row_sizes, with_larger_groups, with_row_groups, without_row_groups
from goldgrad.memory.offsets import place
from goldgrad.memory.plan import check_plan, plan
from goldgrad.memory.scratch import scratch_name
from goldgrad.memory.unfold import unfolded
from goldgrad.models import architecture
from goldgrad.training import Session


@pytest.fixture(scope="module")
def planned():
    model = architecture("mcunet-5fps").model(None)
    return plan(Session(model, schemes.named(model, "49kb")).graph)


@pytest.fixture(scope="module")
def undone(planned):
    return unfolded(planned)


def blocks(found):
    return [node.results[0] for node in found.graph.nodes if node.function == "composite.rows"]


@pytest.mark.rules("MEM-S11")
def test_blocks_are_undone_in_the_same_arena(planned, undone):
    found = undone
    check_plan(found.graph, found.placement)
    assert found.arena_bytes <= planned.arena_bytes
    assert found.profile.peak <= found.arena_bytes
    assert set(blocks(found)) < set(blocks(planned))
    assert blocks(planned)[0] in blocks(found), "the block at the peak"
    assert found.passes == (*planned.passes, "unfold")
    assert without_composites(found.graph).nodes == without_composites(planned.graph).nodes
    assert blocks(unfolded(found)) == blocks(found)


def rows_of(found):
    """By the result of each streamed forward block, how many rows run at a time."""
    streamed = [node for node in found.graph.nodes if node.function == "composite.rows"]
    return {node.results[0]: node.attributes.get("group", 1) for node in streamed}


@pytest.mark.rules("STREAM-S15", "MEM-S11")
def test_rows_run_in_groups_in_the_same_arena(planned, undone):
    """Every block but the one at the peak; and in a program those that are not undone."""
    model = architecture("mcunet-5fps").model(None)
    alone = plan(Session(model, schemes.named(model, "49kb")).graph, without=["group"])
    assert set(rows_of(alone).values()) == {1}
    for found in (planned, undone):
        (at_the_peak, size), *others = rows_of(found).items()
        assert (at_the_peak, size) == ("conv02.y", 1)
        assert all(size > 1 for _, size in others)
        assert found.arena_bytes <= alone.arena_bytes
        assert found.live_peak_bytes == alone.live_peak_bytes
        for node in found.graph.nodes:
            larger = row_sizes(found.graph, replace(node, attributes={}))
            assert node.function != "composite.rows" or node.attributes.get("group", 1) in (1, *larger)
    assert rows_of(undone) == {"conv02.y": 1, "conv05.y": 3, "add02.y": 8, "conv11.y": 8, "add04.y": 8}


@pytest.mark.rules("STREAM-S15")
def test_scratch_takes_what_is_free_where_nothing_else_finds_a_place(planned):
    graph = without_row_groups(planned.graph)
    placement = place(graph, demands(graph))
    live, limit = profile(graph).live, planned.arena_bytes
    beyond = {**planned.placement, "image": limit}
    grouped, found = with_row_groups(graph, placement, live, limit, limit, lambda changed: beyond)
    check_plan(validate(grouped), found)
    scratch = {scratch_name(node) for node in graph.nodes if node.function == "composite.rows"}
    assert {name for name in placement if found[name] != placement[name]} <= scratch
    sizes = rows_of(replace(planned, graph=grouped))
    assert sizes["conv02.y"] == 1
    assert sum(size > 1 for size in sizes.values()) > len(sizes) / 2
    assert replace(planned, graph=grouped, placement=found).arena_bytes <= limit
    none, same = with_row_groups(graph, placement, live, 0, limit, lambda changed: beyond)
    assert (none, same) == (graph, placement), "where nothing is idle there are no groups"


@pytest.mark.rules("MEM-S11")
def test_channels_take_what_is_free(planned):
    """Smaller groups than there is room for get larger, and nothing moves but their own scratch."""
    smaller = [
        replace(node, attributes={"group": 8})
        if node.function == "composite.channels" and "group" in node.attributes
        else node
        for node in planned.graph.nodes
    ]
    graph = replace(planned.graph, nodes=tuple(smaller))
    live, limit = profile(graph).live, planned.arena_bytes
    grouped, found = with_larger_groups(graph, planned.placement, live, limit, limit)
    check_plan(validate(grouped), found)
    widened = [(a, b) for a, b in zip(graph.nodes, grouped.nodes, strict=True) if a != b]
    assert len(widened) >= 5
    assert all(8 < b.attributes["group"] <= 64 for _, b in widened)
    assert max(b.attributes["group"] for _, b in widened) == 64
    moved = {name for name in found if found[name] != planned.placement[name]}
    assert moved <= {scratch_name(node) for node, _ in widened}
    assert replace(planned, graph=grouped, placement=found).arena_bytes <= limit


@pytest.mark.rules("STREAM-S15")
def test_tiles_of_columns_have_no_groups_of_rows(planned):
    block = next(node for node in planned.graph.nodes if node.function == "composite.rows")
    assert row_sizes(planned.graph, block) == [64, 32, 22, 16, 13, 11, 10, 8, 7, 6, 5, 4, 3, 2]
    for attributes in ({"columns": 4}, {"group": 2}):
        assert row_sizes(planned.graph, replace(block, attributes=attributes)) == []


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
