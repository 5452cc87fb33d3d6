"""Streamed backward blocks: channel by channel of the wide gradients, or group by group of channels.

Every part of the body is run for channel 0, then for channel 1, and so on; of the tensors that the channel runs through
only the channel's *slice* exists at a time: a plane of a map, a row of a weight's gradient, one element of a bias's.
What a function does with one channel is in :data:`CUTS`: along which axis the channel cuts each operand and result.
With the attribute ``group`` it is as many channels at a time: kernels then have something to work on side by side, and
read what all channels have in common once a group.
The gradient that all channels contribute to (dx of the expanding convolution) is a chain over output channels, so that
channel by channel continues it in its own order.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

from ..errors import require, show
from ..graph import Graph, Node, Tensor
from ..numerics import Array
from ..ops import Type
from ..rules import rule
from ._scratch import Call, Shelf, align, may_alias, view


class Cut(Enum):
    """What one channel is of a tensor."""

    FIRST = "its element of the first axis: a row of a weight, an element of a vector"
    LAST = "its element of the last axis: a plane of a map, a kernel of a depthwise weight"
    BIT = "its bits of a mask"
    WHOLE = "all of it, the same for every channel"
    CHAIN = "all of it, which every channel continues"


FIRST, LAST, BIT, WHOLE, CHAIN = Cut
Cuts = Mapping[str, Cut]
"""By the names that a function gives its operands and results; what is not listed is WHOLE."""

_PLANE = {"gy": LAST, "mask": BIT, "dx0": LAST, "dx": LAST}
_STATE = ("master", "master_new", "velocity", "velocity_new")
_ROW_UPDATE = dict.fromkeys(("w", "dw", "q", "w_new", *_STATE), FIRST)
_KERNEL_UPDATE = {**dict.fromkeys(_ROW_UPDATE, LAST), "q": FIRST}
_COLUMN_UPDATE = {**dict.fromkeys(_ROW_UPDATE, LAST), "q": WHOLE}
CUTS: Mapping[str, Cuts] = {
    "mask_scale.forward": {"gy": LAST, "mask": BIT, "m": FIRST, "g": LAST},
    "add.vjp_x": _PLANE,
    "avg_pool2d.vjp_x": _PLANE,
    "max_pool2d.vjp_x": {**_PLANE, "index": LAST},
    "bias_gradient.forward": {"g": LAST, "db0": FIRST, "db": FIRST},
    "bias_step.update": {
        **{"gy": LAST, "mask": BIT, "m": FIRST, "g": LAST},
        **dict.fromkeys(("b", "q", "b_new"), FIRST),
    },
    "fully_connected.vjp_w": {"g": LAST, "dw0": FIRST, "dw": FIRST},
    "conv2d.forward": {"w": FIRST, "trained": FIRST, "b": FIRST, "m": FIRST, "y": LAST, "mask": BIT},
    "depthwise_conv2d.forward": {
        **{"x": LAST, "w": LAST, "trained": LAST, "b": FIRST, "m": FIRST},
        **{"y": LAST, "mask": BIT},
    },
    "depthwise_conv2d.vjp_x": {"g": LAST, "w": LAST, "trained": LAST, "dx0": LAST, "dx": LAST},
    "depthwise_conv2d.vjp_w": {"g": LAST, "x": LAST, "dw0": LAST, "dw": LAST},
    "sgd_update_bias.update": dict.fromkeys(("b", "db", "q", "b_new"), FIRST),
}
SOURCE: Cuts = {"w": LAST, "trained": LAST, "dx0": LAST, "dx": LAST}
"""conv2d.vjp_x from a whole g: one channel of dx."""
SINK: Cuts = {"g": LAST, "w": FIRST, "trained": FIRST, "dx0": CHAIN, "dx": CHAIN}
"""conv2d.vjp_x of one channel of g: a link of every chain of dx."""
OUTPUTS: Cuts = {"g": LAST, "dw0": FIRST, "dw": FIRST}
"""conv2d.vjp_w by output channels: a row of dw from one channel of g."""
INPUTS: Cuts = {"x": LAST, "dw0": LAST, "dw": LAST}
"""conv2d.vjp_w by input channels: a column of dw from one channel of x, which is computed in the body."""
UPDATES = ("sgd_update_weight.update", "sgd_update_weight_master.update", "sgd_update_weight_momentum.update")
"""Updates whose elements each stand alone; those of sgd_update_weight_stochastic draw by their place in the weight."""
COMPACT = frozenset(("x", "dw0", "dw", *_STATE))
"""Of a depthwise vjp_w or update: what holds the channels of the operand ``channels`` only, where that is given."""
BYTE = 8
"""Channels in a byte of a mask: groups are whole bytes."""
POISON = 0xFF


@rule("STREAM-S4")
def cuts_of(
    tensors: Mapping[str, Tensor], node: Node, made: Container[str], columns: Container[str] = ()
) -> Cuts | None:
    """What one channel is of each operand and result; None if the function has no channels that stand alone.

    ``made`` are the tensors that come channel by channel; ``columns`` those of them that are a weight's gradient cut
    along its input channels.
    """
    match node.function:
        case "conv2d.vjp_x":
            return SINK if node.operand("g") in made else SOURCE
        case "conv2d.vjp_w":
            return OUTPUTS if node.operand("g") in made or node.operand("x") not in made else INPUTS
        case function if function in UPDATES:
            w = node.operand("w")
            assert w is not None
            if node.operand("dw") in columns:
                return _COLUMN_UPDATE
            return _KERNEL_UPDATE if len(tensors[w].type.shape) == 3 else _ROW_UPDATE
    return CUTS.get(node.function)


@dataclass(frozen=True)
class Piece:
    """What a part reads or writes: the function's name for it, the tensor, and which channels of it there are."""

    name: str
    tensor: str
    cut: Cut
    listed: str | None = None
    """The tensor that lists the channels that there are; None if all are."""


@dataclass(frozen=True)
class Part:
    """A node of the body as it is called for one channel.

    ``only`` names the list of the channels for which it is called, None for all; ``instead`` is the compact trained
    weight that stands for the channels of w that it lists.
    """

    node: Node
    operands: tuple[Piece, ...]
    results: tuple[Piece, ...]
    only: str | None = None
    instead: Piece | None = None


class Slicing:
    """What a streamed backward block does with a channel; made of the graph alone."""

    def __init__(self, graph: Graph, node: Node) -> None:
        self.tensors = graph.inside(node).tensors
        self.group: int = node.attributes.get("group", 1)
        """How many channels run at a time."""
        self.inner = {tensor.name for tensor in node.inner}
        self.maker = {name: i for i, part in enumerate(node.body) for name in part.results}
        self.parts: list[Part] = []
        self.lists: dict[str, str] = {}
        """By tensor: what lists the channels of a compact gradient, or of an update made with it."""
        self.columns: set[str] = set()
        """Gradients of weights that are cut along the input channels."""
        for part in node.body:
            self.parts.append(self._part(part))
            if part.function == "conv2d.vjp_w":
                self.columns |= {p.tensor for p in self.parts[-1].results if p.cut is LAST}
            self.lists |= {p.tensor: p.listed for p in self.parts[-1].results if p.listed is not None}

    @rule("STREAM-S5")
    def _part(self, node: Node) -> Part:
        cuts = cuts_of(self.tensors, node, self.maker, self.columns) or {}
        definition = node.definition
        given = {n: t for n, t in zip(definition.inputs, node.inputs, strict=False) if t is not None}
        made = {n: t for n, t in zip(definition.outputs, node.outputs, strict=True) if t is not None}
        listed: dict[str, str] = {}
        only = instead = None
        if "channels" in given and LAST in (cuts.get("w"), cuts.get("dw")):
            channels = given.pop("channels")
            if "trained" in given:
                instead = Piece("w", given.pop("trained"), LAST, channels)
            else:
                only, listed = channels, dict.fromkeys(COMPACT, channels)
        elif node.function in UPDATES and cuts.get("w") is LAST:
            only = self.lists.get(given["dw"])
            listed = dict.fromkeys(cuts, only) if only else {}
        operands, results = (
            tuple(Piece(n, t, cuts.get(n, WHOLE), listed.get(n)) for n, t in names.items()) for names in (given, made)
        )
        return Part(node, operands, results, only, instead)

    @cached_property
    def channels(self) -> int:
        """How many channels the block runs through; 0 if its parts do not agree."""
        counts = set()
        for piece in (p for part in self.parts for p in (*part.operands, *part.results)):
            if piece.listed is None and piece.cut in (FIRST, LAST):
                counts.add(self.tensors[piece.tensor].type.shape[0 if piece.cut is FIRST else -1])
        return counts.pop() if len(counts) == 1 else 0

    def takes(self, group: int) -> bool:
        """Whether the block can run so many channels at a time: all groups are alike.

        A part that is run for some channels only takes one at a time; a weight of which some channels are elsewhere is
        put together in a copy.
        """
        if group == 1:
            return True
        mixed = any(part.instead is not None for part in self.parts)
        alone = any(part.only is not None for part in self.parts)
        return not alone and self.channels % group == 0 and (group < self.channels or not mixed)

    def width(self, piece: Piece) -> int:
        """Elements of the axis that is cut that one group takes; of a mask bytes."""
        return -(-self.group // BYTE) if piece.cut is BIT else self.group

    def slice_type(self, piece: Piece) -> Type:
        """The type of one group of channels of a tensor, with its axis kept."""
        type_ = self.tensors[piece.tensor].type
        if piece.cut is FIRST:
            return Type((self.width(piece), *type_.shape[1:]), type_.dtype)
        if piece.cut in (LAST, BIT):
            return Type((*type_.shape[:-1], self.width(piece)), type_.dtype)
        return type_

    def is_copied(self, piece: Piece) -> bool:
        """Whether a channel of a tensor outside is copied: its elements do not lie side by side there."""
        apart = piece.cut in (LAST, BIT) and self.tensors[piece.tensor].type.shape[-1] > self.width(piece)
        one_bit = piece.cut is BIT and self.group == 1
        return (apart or one_bit) and piece.tensor not in self.inner

    def key(self, part: int, piece: Piece) -> tuple[int, str] | str:
        """What the layout calls an operand or result of a part: an inner tensor has one place, a copy one a part."""
        return piece.tensor if piece.tensor in self.inner else (part, piece.name)

    @rule("STREAM-M3")
    def layout(self) -> tuple[Mapping[tuple[int, str] | str, int], int]:
        """Offsets in scratch by :meth:`key`, and the bytes of all.

        An inner tensor's slice lives from its maker to its last reader, and takes the place of one that ends there if
        the function allows it; copies of a part's operands and results live while the part is called.
        """
        shelf, offsets = Shelf(), dict[tuple[int, str] | str, int]()
        last = {p.tensor: i for i, part in enumerate(self.parts) for p in (*part.results, *part.operands)}
        for i, part in enumerate(self.parts):
            for piece in part.results:
                if piece.tensor in self.inner:
                    ending = [p for p in part.operands if last[p.tensor] == i]
                    ended = next((p for p in ending if self._succeeds(part, piece, p)), None)
                    if ended is None:
                        offsets[piece.tensor] = shelf.put(piece.tensor, self.slice_type(piece))
                    else:
                        offsets[piece.tensor] = shelf.move(ended.tensor, piece.tensor)
            for piece in (*part.operands, *part.results):
                if self.is_copied(piece):
                    offsets[i, piece.name] = shelf.put((i, piece.name), self.slice_type(piece))
            for piece in (*part.operands, *part.results):
                shelf.free((i, piece.name))
                if last[piece.tensor] == i:
                    shelf.free(piece.tensor)
        return offsets, align(shelf.size, "float32")

    def _succeeds(self, part: Part, result: Piece, operand: Piece) -> bool:
        """Whether an inner slice may take the place of another."""
        alike = operand.tensor in self.inner and self.slice_type(result) == self.slice_type(operand)
        return alike and may_alias(part.node, result.tensor, operand.tensor)

    @rule("STREAM-A3")
    def may_share(self, result: str, operand: str) -> bool:
        """Whether every channel of the result is written after all reads of the operand's, where that lay."""
        maker = self.maker[result]
        written = next(p for p in self.parts[maker].results if p.tensor == result)
        if not self._lies_within(result, operand, written.cut):
            return False
        for i, part in enumerate(self.parts):
            everything = part.operands if part.instead is None else (*part.operands, part.instead)
            for read in (p for p in everything if p.tensor == operand):
                if (read.cut, read.listed) != (written.cut, written.listed) or i > maker:
                    return False
                if written.cut is CHAIN and i < maker:
                    return False
                both_copied = self.is_copied(read) and self.is_copied(written)
                if i == maker and not both_copied and not may_alias(part.node, result, operand):
                    return False
            if operand in (part.only, part.instead and part.instead.listed):
                return False
        return True

    @rule("STREAM-A3")
    def _lies_within(self, result: str, operand: str, cut: Cut) -> bool:
        """Whether a channel of the result, lying on the operand, touches that channel of it alone.

        A plane of fewer pixels, of equally many channels, does: its elements lie on the plane's first ones.
        """
        r, x = self.tensors[result].type, self.tensors[operand].type
        fewer = cut is LAST and r.dtype == x.dtype and r.shape[-1] == x.shape[-1] and r.nbytes <= x.nbytes
        return r == x or fewer


@rule("STREAM-C4")
def check(graph: Graph, node: Node, where: str) -> None:
    """Raise unless every part has channels that stand alone, all equally many, and passes them on one by one."""
    unknown = sorted(set(node.attributes) - {"group"})
    require(not unknown, "STREAM-C4", f"{where} has the attributes {unknown}", "give group or none")
    group = node.attributes.get("group", 1)
    require(
        type(group) is int and (group == 1 or (group > 0 and group % BYTE == 0)),
        "STREAM-C4",
        f"{where} runs {show(group)} channels at a time",
        f"give group 1 or a multiple of {BYTE}",
    )
    slicing = Slicing(graph, node)
    for part in slicing.parts:
        require(
            all(_one_sample(slicing, piece) for piece in (*part.operands, *part.results)),
            "STREAM-C4",
            f"{where} cuts {part.node.function} into channels, or more than one sample",
            f"cut one sample of {', '.join((*CUTS, 'conv2d.vjp_x', *UPDATES))}",
        )
        for piece in part.operands:
            made = slicing.maker.get(piece.tensor)
            require(
                made is None or _same_cut(slicing.parts[made], piece),
                "STREAM-C4",
                f"{where}: {part.node.function} reads {piece.tensor} otherwise than channel by channel",
                "leave the part out of the body",
            )
    require(slicing.channels > 0, "STREAM-C4", f"{where} has parts with different channels", "part them")
    require(
        slicing.takes(group),
        "STREAM-C4",
        f"{where} runs {group} of {slicing.channels} channels at a time",
        "let groups divide the channels, and run a block one by one in which a depthwise weight trains in part",
    )


def _one_sample(slicing: Slicing, piece: Piece) -> bool:
    """Whether the piece is cut, if it is a result, and is of one sample, if it is a map."""
    made_here = piece.tensor in slicing.maker
    is_cut = not made_here or (piece.cut is not WHOLE and (piece.cut is not BIT or piece.tensor in slicing.inner))
    is_map = piece.name in ("g", "gy", "mask", "index", "dx0", "dx", "x", "y")
    return is_cut and (not is_map or slicing.tensors[piece.tensor].type.shape[0] == 1)


def _same_cut(maker: Part, read: Piece) -> bool:
    written = next(piece for piece in maker.results if piece.tensor == read.tensor)
    return (read.cut, read.listed) == (written.cut, written.listed) and read.cut in (FIRST, LAST, BIT)


def scratch_bytes(graph: Graph, node: Node) -> int:
    """Bytes of the slices and copies that live at once."""
    return Slicing(graph, node).layout()[1]


def legal_pairs(graph: Graph, node: Node) -> set[tuple[str, str]]:
    """Pairs (result, operand) that may start at one address."""
    slicing = Slicing(graph, node)
    return {(r, x) for r in node.results for x in node.operands if slicing.may_share(r, x)}


# --- execution -----------------------------------------------------------------------------------------------------


class Streaming:
    """A streamed backward block as it runs."""

    def __init__(self, slicing: Slicing, arrays: Mapping[str, Array], scratch: Array, call: Call) -> None:
        self.slicing, self.arrays, self.call = slicing, arrays, call
        offsets, size = slicing.layout()
        assert scratch.nbytes == size
        scratch[:] = POISON
        self.slices: list[dict[str, Array]] = []
        """For each part, its operands and results that lie in scratch, by name."""
        for i, part in enumerate(slicing.parts):
            homes = {piece: offsets.get(slicing.key(i, piece)) for piece in (*part.operands, *part.results)}
            views = {p.name: view(scratch, at, slicing.slice_type(p)) for p, at in homes.items() if at is not None}
            self.slices.append(views)
        lists = {name for part in slicing.parts for name in (part.only, part.instead and part.instead.listed) if name}
        self.position = {name: {int(c): k for k, c in enumerate(arrays[name])} for name in lists}

    @rule("STREAM-S4", "STREAM-F1")
    def run(self) -> None:
        """Every part for every group of channels, channels ascending."""
        for c in range(0, self.slicing.channels, self.slicing.group):
            for i, part in enumerate(self.slicing.parts):
                if part.only is None or c in self.position[part.only]:
                    self._compute(i, part, c)
                else:
                    self._keep(part, c)

    def _compute(self, i: int, part: Part, c: int) -> None:
        given = {piece.name: self._read(i, part, piece, c) for piece in part.operands}
        homes = {piece.name: self._home(i, piece, c) for piece in part.results}
        for piece in part.results:
            if piece.cut is CHAIN and c > 0:
                given["dx0"] = homes[piece.name]
        definition = part.node.definition
        operands = [given.get(name) for name in definition.inputs]
        while operands[-1] is None:
            operands.pop()
        self.call(definition.name, operands, [homes.get(name) for name in definition.outputs], part.node.attributes)
        for piece in part.results:
            if piece.name in self.slices[i] and piece.tensor in self.arrays:
                k = self._index(piece, c)
                self.arrays[piece.tensor][..., k : k + self.slicing.group] = homes[piece.name]

    def _keep(self, part: Part, c: int) -> None:
        """A channel that does not train: what is the same dense weight's next value keeps its bits."""
        for piece in part.results:
            if piece.listed is None and piece.cut is LAST:
                old = next(p for p in part.operands if f"{p.name}_new" == piece.name)
                self.arrays[piece.tensor][..., c] = self.arrays[old.tensor][..., c]

    def _index(self, piece: Piece, c: int) -> int:
        return c if piece.listed is None else self.position[piece.listed][c]

    def _read(self, i: int, part: Part, piece: Piece, c: int) -> Array:
        """What the function is given for an operand; copied into scratch first, if need be."""
        copy, group = self.slices[i].get(piece.name), self.slicing.group
        if copy is not None and piece.tensor not in self.arrays:
            return copy
        array, k = self.arrays[piece.tensor], self._index(piece, c)
        instead = part.instead if piece.name == "w" else None
        position = self.position[instead.listed or ""] if instead is not None else {}
        if copy is None:
            if instead is not None and c in position:
                return self.arrays[instead.tensor]
            return array[k : k + group] if piece.cut is FIRST else array
        if piece.cut is BIT:
            first = k // BYTE
            copy[...] = array[..., first : first + self.slicing.width(piece)]
            if group == 1:
                copy[...] = copy >> k % BYTE & 1
            return copy
        copy[...] = array[..., k : k + group]
        if instead is not None:
            for j in range(group):
                if c + j in position:
                    copy[..., j] = self.arrays[instead.tensor][..., position[c + j]]
        return copy

    def _home(self, i: int, piece: Piece, c: int) -> Array:
        """Where the function writes a result."""
        if piece.name in self.slices[i]:
            return self.slices[i][piece.name]
        array, k = self.arrays[piece.tensor], self._index(piece, c)
        return array[k : k + self.slicing.group] if piece.cut is FIRST else array


def execute(
    graph: Graph, node: Node, operands: Mapping[str, Array], results: Mapping[str, Array], scratch: Array, call: Call
) -> None:
    """Run the block in memory that exists."""
    Streaming(Slicing(graph, node), {**operands, **results}, scratch, call).run()
