"""Programs made of plans (specs/program.md): the same bits as the interpreter, in the plan's memory and no other."""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import graphs
import programs
import tiny_model
from goldgrad import paths
from goldgrad.board.errors import BuildError
from goldgrad.board.host import HostProgram
from goldgrad.board.toolchain import STRICT, find_toolchain, host_toolchains
from goldgrad.codegen import generate
from goldgrad.codegen._memory import Memory
from goldgrad.codegen._rows import row_calls
from goldgrad.codegen._text import Names, number
from goldgrad.composites import KINDS
from goldgrad.errors import GoldgradError
from goldgrad.graph import validate
from goldgrad.kernels import Struct, describe
from goldgrad.memory.demand import demands, profile
from goldgrad.memory.offsets import place
from goldgrad.memory.plan import plan
from goldgrad.memory.scratch import scratch_bytes
from goldgrad.model_file import load
from goldgrad.models import architecture
from goldgrad.ops import FUNCTIONS, Type
from goldgrad.optimizers import OPTIMIZERS
from goldgrad.passes.stream_forward import stream_forward
from goldgrad.schemes import named, names
from goldgrad.sparse import FULL, Scheme
from goldgrad.training import Session

mark = pytest.mark
NETWORKS = ("mcunet-5fps", "mobilenet-v2-w0.35", "proxyless-nas-w0.3")
SPARSE = Scheme("sparse", biases=3, weights={"block.expand": (1, 3), "block.depthwise": 0.5})
WITHOUT = {"": (), "op by op": ("stream-forward", "stream-backward", "fuse"), "in order": ("reorder", "in-place")}


def ends(schemes):
    """The smallest, the largest and the full update: those between have the same nodes, and fewer or more channels."""
    return schemes if "GOLDGRAD_DEEP" in os.environ else (schemes[0], *schemes[-2:])


def samples(graph, count):
    return [graphs.sample(graph, seed) for seed in range(count)]


@mark.rules("PROG-S1", "PROG-S2", "PROG-S3", "PROG-S4", "PROG-S5", "PROG-S6")
@mark.parametrize("optimizer", OPTIMIZERS)
@mark.parametrize("scheme", [FULL, SPARSE], ids=["full", "sparse"])
@mark.parametrize("without", WITHOUT.values(), ids=WITHOUT)
def test_three_steps_of_a_small_network(optimizer, scheme, without):
    session = Session(tiny_model.model(), scheme, optimizer=optimizer, mu=0.5)
    planned = plan(session.graph, without=without)
    assert not programs.differences(session, planned, [tiny_model.sample(seed) for seed in range(3)])


def by_rows(planned, rows):
    """The plan with so many rows at a time in every streamed forward block."""
    blocks = [node for node in planned.graph.nodes if node.function == "composite.rows"]
    assert blocks
    nodes = [replace(n, attributes={"group": rows}) if n in blocks else n for n in planned.graph.nodes]
    graph = validate(replace(planned.graph, nodes=tuple(nodes)))
    asked = demands(graph)
    return replace(planned, graph=graph, placement=place(graph, asked), profile=profile(graph, asked))


@mark.rules("PROG-S1", "PROG-S3", "STREAM-S2", "STREAM-M1", "STREAM-A1")
@mark.parametrize("rows", [1, 2, 3, 9])
@mark.parametrize("scheme", [FULL, SPARSE], ids=["full", "sparse"])
def test_rows_in_groups(scheme, rows):
    """Of maps of 4 rows: groups that divide them, one that does not, and more than there are."""
    session = Session(tiny_model.model(), scheme)
    planned = by_rows(plan(session.graph, without=["group"]), rows)
    assert not programs.differences(session, planned, [tiny_model.sample(seed) for seed in range(2)])
    text = generate(session, planned)
    assert ("counts[" in text) == (rows > 1)


@mark.rules("ABI-M1", "ABI-S5", "MEM-S2")
@mark.parametrize("rows", [1, 2, 3])
def test_kernels_that_want_scratch_are_those_that_are_called(rows):
    """The sizes of the calls of a streamed block, as the interpreter makes them."""
    session = Session(load(Path(paths.__file__).parent / "models" / "digits.json"), Scheme("head"))
    planned = by_rows(plan(session.graph, without=["group"]), rows)
    memory = Memory(planned)
    for node in (node for node in planned.graph.nodes if node.function == "composite.rows"):
        made = set()

        def call(function, operands, destinations, attributes, made=made):
            names = FUNCTIONS[function].inputs
            given = {n: None if a is None else Type.of(a) for n, a in zip(names, operands, strict=False)}
            made.add((function, arguments(describe(function, given, attributes))))

        tensors = planned.graph.inside(node).tensors
        arrays = {name: np.zeros(tensors[name].type.shape, tensors[name].type.dtype) for name in node.operands}
        results = {name: np.zeros(tensors[name].type.shape, tensors[name].type.dtype) for name in node.results}
        scratch = np.zeros(scratch_bytes(planned.graph, node), np.uint8)
        KINDS[node.function].execute(planned.graph, node, arrays, results, scratch, call)
        functions = {f"gg_{function.replace('.', '_')}": function for function, _ in made}
        assert {(functions[c.symbol], arguments(c)) for c in row_calls(memory, node)} == made


def arguments(call):
    """What a call is given besides pointers."""
    return tuple(a.packed if isinstance(a, Struct) else a for a in call.arguments if isinstance(a, Struct | int))


@mark.rules("PROG-S1", "STREAM-S12")
def test_program_that_computes_maps_again():
    session = Session(tiny_model.model(), FULL)
    planned = plan(session.graph, also=["recompute"])
    assert any(".again" in name for node in planned.graph.nodes for part in node.body for name in part.results)
    assert not programs.differences(session, planned, [tiny_model.sample(seed) for seed in range(2)])


@mark.rules("PROG-S1")
@mark.parametrize("scheme", ["sparse", "full"])
def test_digits(scheme):
    here = Path(paths.__file__).parent / "schemes" / "digits-sparse.toml"
    model = architecture("digits").model()
    session = Session(model, named(model, str(here) if scheme == "sparse" else scheme))
    assert not programs.differences(session, plan(session.graph), samples(model.graph, 3))


@mark.rules("PROG-S1", "PROG-M1")
@mark.parametrize(("network", "scheme"), [(n, s) for n in NETWORKS for s in ends((*names(n), "full"))])
def test_every_published_scheme(network, scheme):
    """One step, in an arena of the plan's bytes, and not a byte of scratch besides; `make deep` has all schemes."""
    model = architecture(network).model()
    session = Session(model, named(model, scheme))
    planned = plan(session.graph, tries=0)
    program = HostProgram(generate(session, planned))
    assert program.arena_bytes == planned.arena_bytes
    assert program.scratch_bytes == 0
    assert not programs.differences(session, planned, samples(model.graph, 1), program)


@mark.rules("PROG-S5")
def test_first_values_come_back():
    session = Session(tiny_model.model(), SPARSE, optimizer="momentum", mu=0.5)
    first = {name: session.parameters[name].tobytes() for name in session.graph.updates}
    planned = plan(session.graph)
    program = HostProgram(generate(session, planned))
    assert {name: program.read(name) for name in first} == first
    assert not programs.differences(session, planned, [tiny_model.sample()], program)
    assert {name: program.read(name) for name in first} != first
    program.restart()
    assert {name: program.read(name) for name in first} == first


@mark.rules("PROG-S1", "PROG-M1")
def test_a_program_is_where_its_plan_is():
    """Another offset in the text is another program: the test above would see it."""
    session = Session(tiny_model.model(), FULL)
    planned = plan(session.graph)
    text = generate(session, planned)
    place = planned.placement["block.expand.w"]
    moved = re.sub(
        rf"arena \+ {place}\)\) /\* .*int8\[7, 1, 1, 5\]", f"arena + {place + 1})) /* int8[7, 1, 1, 5]", text
    )
    assert moved != text
    assert programs.differences(session, planned, [tiny_model.sample()], HostProgram(moved))


@mark.rules("PROG-M1")
def test_frozen_weights_are_constant_and_trained_ones_are_not_twice_in_flash():
    session = Session(tiny_model.model(), SPARSE)
    text = generate(session, plan(session.graph))
    defined = re.findall(r"^static const \w+ (\w+)\[", text, re.MULTILINE)
    assert "stem_w" in defined
    assert "block_expand_w" in defined
    assert "block_expand_trained_start" not in defined, "it is taken from the whole weight"
    assert "classifier_w_start" in defined
    assert len(defined) == len(set(defined))
    written = re.findall(r"^static (?!const)(?:GG_\w+ )?\w+ (\w+)\[", text, re.MULTILINE)
    assert written == ["arena"]


@mark.rules("PROG-S2")
@mark.parametrize("toolchain", host_toolchains(), ids=lambda toolchain: toolchain.name)
def test_program_compiles_without_a_warning_on_this_machine(toolchain):
    if toolchain.missing:
        pytest.skip(toolchain.missing)
    session = Session(tiny_model.model(), SPARSE)
    assert not programs.differences(
        session,
        plan(session.graph),
        [tiny_model.sample()],
        HostProgram(generate(session, plan(session.graph)), toolchain),
    )


@mark.rules("PROG-S2")
@mark.parametrize("name", ["gcc", "zig"])
def test_program_compiles_without_a_warning_for_the_board_and_wants_nothing_else(name, tmp_path):
    try:
        toolchain = find_toolchain(name)
    except BuildError as missing:
        pytest.skip(str(missing))
    from elftools.elf.elffile import ELFFile

    session = Session(tiny_model.model(), SPARSE)
    source, target = tmp_path / "program.c", tmp_path / "program.o"
    source.write_text(generate(session, plan(session.graph)))
    run = toolchain.run(*STRICT, f"-I{paths.data('renode') / 'firmware'}", "-c", source, "-o", target)
    assert run.returncode == 0, run.stderr
    with target.open("rb") as file:
        symbols = [s for s in ELFFile(file).get_section_by_name(".symtab").iter_symbols() if s.name]
    wanted = {s.name for s in symbols if s["st_shndx"] == "SHN_UNDEF"}
    assert {name for name in wanted if not name.startswith(("gg_", "__aeabi_mem"))} <= {"memcpy", "memmove", "memset"}
    given = {s.name for s in symbols if s["st_shndx"] != "SHN_UNDEF" and s["st_info"]["bind"] == "STB_GLOBAL"}
    assert given == {"gg_program", "gg_program_init", "gg_program_step"}


@mark.rules("PROG-S3")
def test_plans_that_no_program_can_follow():
    session = Session(tiny_model.model(), FULL)
    with pytest.raises(GoldgradError, match="image comes row by row"):
        generate(session, plan(session.graph, also=["stream-image"]))
    model = architecture("mcunet-5fps").model()
    head = Session(model, named(model, "head"))
    tiled = plan(stream_forward(head.graph, columns=4), tries=0)
    with pytest.raises(GoldgradError, match="in tiles"):
        generate(head, tiled)


@mark.rules("PROG-S6")
def test_every_node_is_a_region_and_marked_as_often_as_it_runs():
    """A composite's nodes one by one: a row or a channel at a time."""
    model = architecture("mcunet-5fps").model()
    session = Session(model, named(model, "49kb"))
    planned = plan(session.graph)
    text = generate(session, planned)
    nodes = [part for node in planned.graph.nodes for part in (node.body or (node,))]
    table = text[text.index("gg_region_t regions") :]
    regions = [re.findall(r'"([^"]*)"', line) for line in table.splitlines()[1 : len(nodes) + 1]]
    assert [region[:2] for region in regions] == [[node.results[0], node.function] for node in nodes]
    program = HostProgram(text)
    assert not programs.differences(session, planned, samples(model.graph, 1), program)
    runs = Counter(program.marks())
    assert sorted(set(runs) - {-1}) == list(range(len(nodes)))
    assert runs[-1] == 1
    by_name = {node.results[0]: runs[i] for i, node in enumerate(nodes)}
    assert by_name["classifier.y"] == 1
    assert by_name["conv00.y"] == 64, "rows"
    block = next(n for n in planned.graph.nodes if any("conv39.y.grad" in part.results for part in n.body))
    assert by_name["conv39.y.grad"] == 576 // block.attributes["group"], "groups of channels"


@mark.parametrize(
    ("value", "text"),
    [
        (np.int8(-128), "-128"),
        (np.int32(-(2**31)), "(-2147483647 - 1)"),
        (np.float32(0.1), "0x1.99999a0000000p-4f"),
        (np.float32(-0.0), "-0x0.0p+0f"),
        (np.float32(np.inf), "__builtin_inff()"),
        (np.float32(-np.inf), "-__builtin_inff()"),
        (np.float32(np.nan), '__builtin_nanf("")'),
    ],
)
def test_numbers_keep_their_bits(value, text):
    assert number(value) == text


def test_names_are_c_and_each_its_own():
    spelled = Names()
    given = ["a.b", "a_b", "a-b", "int", "arena", "gg_x", "conv0.w"]
    words = [spelled[name] for name in given]
    assert len(set(words)) == len(given)
    assert all(re.fullmatch(r"[A-Za-z_]\w*", word) for word in words)
    assert not {"int", "arena", "gg_x"} & set(words)
    assert [spelled[name] for name in given] == words


@mark.rules("PROG-S6")
def test_a_buffer_of_another_size_is_an_error():
    session = Session(tiny_model.model(), FULL)
    program = HostProgram(generate(session, plan(session.graph)))
    with pytest.raises(BuildError, match="image has 16 bytes, not 4"):
        program.write("image", np.zeros(4, np.uint8))
