"""Archives of published weights: real ones where they lie beside the repository, and small ones made from a model."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from goldgrad.graph import Graph
from goldgrad.model import Model
from goldgrad.models._bottlenecks import Bottleneck, build
from goldgrad.models._network import Scales

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "models"
REAL = {
    "mcunet-5fps": FOLDER / "mcunet-5fps.npz",
    "mobilenet-v2-w0.35": FOLDER / "mbv2-w0.35.npz",
    "proxyless-nas-w0.3": FOLDER / "proxyless-w0.3.npz",
}
CLASSES = 7
"""Of the published classifier; it is replaced."""


def network(quantization: Scales, batch: int = 1) -> Graph:
    """Two bottlenecks, the second with its sum; as published, a mean has the scale of what it is the mean of."""
    if "add01.y" in quantization:
        quantization["pool.y"] = quantization["add01.y"]
    return build("small", (Bottleneck(16, 6, stride=2), Bottleneck(9, 6, kernel=5)), quantization, batch)


def members(model: Model) -> dict[str, Any]:
    """The members of the archive in which the model's weights would be published."""
    content: dict[str, Any] = {"meta": np.frombuffer(b'{"model": "small"}', np.uint8)}
    for number, node in enumerate(model.layers()):
        x, y = model.graph[str(node.operand("x"))], model.graph[str(node.result("y"))]
        w = model.arrays[str(node.operand("w"))]
        if w.ndim == 2:
            weight = np.ones((CLASSES, w.shape[1], 1, 1), np.int8)
        else:
            weight = np.moveaxis(w, 3, 1) if w.ndim == 4 else np.moveaxis(w, 2, 0)[:, None]
        content |= {
            f"conv{number:02}.weight_oihw": np.ascontiguousarray(weight),
            f"conv{number:02}.bias": np.array(model.arrays[str(node.operand("b"))]),
            f"conv{number:02}.w_scale": np.array(model.scales[str(node.operand("w"))]),
            f"conv{number:02}.x_scale": np.float64(x.scale),
            f"conv{number:02}.x_zero": np.int32(x.zero_point),
            f"conv{number:02}.y_scale": np.float64(y.scale),
            f"conv{number:02}.y_zero": np.int32(y.zero_point),
        }
    return content


def archive(content: dict[str, Any], packed: bool = True) -> bytes:
    """The bytes of an npz archive."""
    buffer = io.BytesIO()
    (np.savez_compressed if packed else np.savez)(buffer, **content)
    return buffer.getvalue()
