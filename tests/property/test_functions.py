"""Every function of the operator table under every property of the suite, in C and in the reference.

``CITED`` says which rules a property checks on a function; ``goldgrad spec --check`` reads it.
"""

from __future__ import annotations

import pytest
from hypothesis import settings

from goldgrad.conformance import PROPERTIES, PROVIDERS
from goldgrad.conformance.search import search
from goldgrad.ops import FUNCTIONS

mark = pytest.mark

EVERYWHERE = {
    "frame": mark.rules("ABI-F1", "ABI-F2"),
    "scratch": mark.rules("ABI-M1"),
    "determinism": mark.rules("ABI-C1", "ABI-M2"),
    "optional": mark.rules("ABI-I2"),
    "samples": mark.rules("ABI-S2", "TRAIN-S5"),
    "alias": mark.rules("ABI-A1"),
    "sparse": mark.rules("TRAIN-S7", "SAVE-S1", "UPW-S3", "UPW-F1"),
}
"""Rules that a property checks on every function."""

CITED = {
    "add.forward": {
        "bits": mark.rules("ADD-S1", "ADD-S2", "ADD-S3"),
        "frame": mark.rules("ADD-F1", "MASK-S2"),
        "alias": mark.rules("ADD-A1"),
    },
    "add.vjp_x": {
        "bits": mark.rules("ADD-S4", "MASK-S3"),
        "frame": mark.rules("ADD-F1"),
        "alias": mark.rules("ADD-A2"),
        "adjoint": mark.rules("ADD-S4"),
    },
    "avg_pool2d.forward": {
        "bits": mark.rules("AVGP-S1", "AVGP-S2", "AVGP-S3", "AVGP-S4", "WIN-S1", "WIN-S2"),
        "frame": mark.rules("AVGP-F1", "AVGP-A1", "MASK-S2"),
    },
    "avg_pool2d.vjp_x": {
        "bits": mark.rules("AVGP-S5", "AVGP-S2", "MASK-S3"),
        "frame": mark.rules("AVGP-F1"),
        "alias": mark.rules("AVGP-A2"),
        "adjoint": mark.rules("AVGP-S5"),
    },
    "bias_gradient.forward": {
        "bits": mark.rules("BIAS-S1"),
        "frame": mark.rules("BIAS-F1"),
        "alias": mark.rules("BIAS-A1"),
        "adjoint": mark.rules("BIAS-S1"),
    },
    "bias_step.update": {
        "bits": mark.rules("STEP-S1", "MASK-S3"),
        "frame": mark.rules("STEP-F1"),
        "alias": mark.rules("STEP-A1", "STEP-A2"),
    },
    "conv2d.forward": {
        "bits": mark.rules("CONV-S1", "CONV-S2", "CONV-S3", "CONV-C6", "WIN-S1", "WIN-S2", "WIN-S3", "CONV-S7"),
        "frame": mark.rules("CONV-F1", "CONV-A1", "MASK-S2"),
    },
    "conv2d.vjp_x": {
        "bits": mark.rules("CONV-S4", "WIN-S2", "CONV-S7"),
        "frame": mark.rules("CONV-F1"),
        "alias": mark.rules("CONV-A2"),
        "adjoint": mark.rules("CONV-S4", "CONV-S7"),
    },
    "conv2d.vjp_w": {
        "bits": mark.rules("CONV-S5", "WIN-S2"),
        "frame": mark.rules("CONV-F1"),
        "alias": mark.rules("CONV-A3"),
        "adjoint": mark.rules("CONV-S5"),
        "sparse": mark.rules("CONV-S6"),
    },
    "depthwise_conv2d.forward": {
        "bits": mark.rules("DW-S1", "DW-S2", "DW-S3", "DW-C6", "WIN-S1", "WIN-S2", "WIN-S3", "DW-S7"),
        "frame": mark.rules("DW-F1", "DW-A1", "MASK-S2"),
    },
    "depthwise_conv2d.vjp_x": {
        "bits": mark.rules("DW-S4", "WIN-S2", "DW-S7"),
        "frame": mark.rules("DW-F1"),
        "alias": mark.rules("DW-A2"),
        "adjoint": mark.rules("DW-S4", "DW-S7"),
    },
    "depthwise_conv2d.vjp_w": {
        "bits": mark.rules("DW-S5", "DW-S6", "WIN-S2"),
        "frame": mark.rules("DW-F1"),
        "alias": mark.rules("DW-A3"),
        "adjoint": mark.rules("DW-S5"),
        "sparse": mark.rules("DW-S6"),
    },
    "fully_connected.forward": {
        "bits": mark.rules("FC-S1", "FC-S2", "FC-S3", "FC-C6", "FC-S7"),
        "frame": mark.rules("FC-F1", "FC-A1", "MASK-S2"),
    },
    "fully_connected.vjp_x": {
        "bits": mark.rules("FC-S4", "FC-S7"),
        "frame": mark.rules("FC-F1"),
        "alias": mark.rules("FC-A2"),
        "adjoint": mark.rules("FC-S4", "FC-S7"),
    },
    "fully_connected.vjp_w": {
        "bits": mark.rules("FC-S5"),
        "frame": mark.rules("FC-F1"),
        "alias": mark.rules("FC-A3"),
        "adjoint": mark.rules("FC-S5"),
        "sparse": mark.rules("FC-S6"),
    },
    "mask.pack": {
        "bits": mark.rules("MASK-S1", "MASK-S2"),
        "frame": mark.rules("MASK-F1", "MASK-A1"),
    },
    "mask.unpack": {
        "bits": mark.rules("MASK-S1", "MASK-S3"),
        "frame": mark.rules("MASK-F1", "MASK-A1"),
    },
    "mask_scale.forward": {
        "bits": mark.rules("SCALE-S1", "SCALE-S2", "MASK-S3", "TRAIN-S3"),
        "frame": mark.rules("SCALE-F1"),
        "alias": mark.rules("SCALE-A1"),
        "adjoint": mark.rules("SCALE-S1", "SCALE-S2"),
    },
    "max_pool2d.forward": {
        "bits": mark.rules("MAXP-S1", "MAXP-S2", "MAXP-S3", "WIN-S1", "WIN-S2"),
        "frame": mark.rules("MAXP-F1", "MAXP-A1", "MASK-S2"),
    },
    "max_pool2d.vjp_x": {
        "bits": mark.rules("MAXP-S4", "MAXP-S5", "MASK-S3"),
        "frame": mark.rules("MAXP-F1"),
        "alias": mark.rules("MAXP-A2"),
        "adjoint": mark.rules("MAXP-S4"),
    },
    "quantize_input.from_uint8": {
        "bits": mark.rules("QIN-S1"),
        "frame": mark.rules("QIN-F1"),
        "alias": mark.rules("QIN-A1"),
    },
    "quantize_input.from_float32": {
        "bits": mark.rules("QIN-S2"),
        "frame": mark.rules("QIN-F1"),
        "alias": mark.rules("QIN-A2"),
    },
    "save_channels.forward": {
        "bits": mark.rules("SAVE-S1"),
        "frame": mark.rules("SAVE-F1"),
        "alias": mark.rules("SAVE-A1"),
    },
    "sgd_update_bias.update": {
        "bits": mark.rules("UPB-S1", "UPB-S2", "UPB-S3", "UPB-S4"),
        "frame": mark.rules("UPB-F1"),
        "alias": mark.rules("UPB-A1"),
    },
    "sgd_update_weight.update": {
        "bits": mark.rules("UPW-S1", "UPW-S2", "UPW-S3", "UPW-S4", "UPW-S5", "UPW-F1"),
        "frame": mark.rules("UPW-F2"),
        "alias": mark.rules("UPW-A1"),
    },
    "sgd_update_weight_master.update": {
        "bits": mark.rules("UPM-S1", "UPM-S2", "UPM-S3"),
        "frame": mark.rules("UPM-F1"),
        "alias": mark.rules("UPM-A1", "UPM-A2"),
    },
    "sgd_update_weight_momentum.update": {
        "bits": mark.rules("UPMO-S1", "UPMO-S2", "UPMO-S3"),
        "frame": mark.rules("UPMO-F1"),
        "alias": mark.rules("UPMO-A1", "UPMO-A2"),
    },
    "sgd_update_weight_stochastic.update": {
        "bits": mark.rules("UPS-S1", "UPS-S2", "UPS-S3", "UPS-S4", "UPS-S5", "UPS-S6"),
        "frame": mark.rules("UPS-F1"),
        "alias": mark.rules("UPS-A1"),
    },
    "softmax_cross_entropy.forward": {
        "bits": mark.rules("SCE-S1", "SCE-S2", "SCE-S3", "SCE-S5"),
        "frame": mark.rules("SCE-F1", "SCE-A1"),
        "samples": mark.rules("SCE-S6"),
    },
    "softmax_cross_entropy.from_probabilities": {
        "bits": mark.rules("SCE-S1", "SCE-S2", "SCE-S4", "SCE-S5"),
        "frame": mark.rules("SCE-F1", "SCE-A1"),
        "samples": mark.rules("SCE-S6"),
    },
}
"""Rules that a property checks on one function."""

IN_REFERENCE = ("frame", "samples", "adjoint", "adjoint_bound")
"""Properties that are held against the reference too: the others compare with it, or are about C memory."""

FEWER = {("frame", "reference"), ("samples", "reference"), ("determinism", "c")}
"""Held against half as many cases: a fault of these shows in nearly any case, whatever its values."""


def under_test():
    for function, entry in FUNCTIONS.items():
        for name, each in PROPERTIES.items():
            marks = [rules[name] for rules in (EVERYWHERE, CITED.get(function, {})) if name in rules]
            for provider in ("c", "reference") if name in IN_REFERENCE else ("c",):
                if each.applies(entry):
                    yield pytest.param(function, name, provider, id=f"{function}-{name}-{provider}", marks=marks)


@pytest.mark.parametrize(("function", "name", "provider"), [*under_test()])
def test_holds(function, name, provider):
    candidate = PROVIDERS[provider]()
    if not candidate.provides(function):
        pytest.skip(f"no {provider} kernel for {function}")
    found = search(name, function, candidate, settings().max_examples // (2 if (name, provider) in FEWER else 1))
    if found is not None:
        pytest.fail(str(found), pytrace=False)


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_the_rules_of_a_function_are_cited(function):
    """What the reference says it implements, and what its table of aliases says, stands in CITED."""
    cited = {name: set(rules.args) for name, rules in CITED[function].items()}
    entry = FUNCTIONS[function]
    assert {r for r in entry.run.__rules__ if r.rpartition("-")[2][0] in "SNAF"} <= set.union(*cited.values())
    assert {row.rule for row in entry.aliases} <= cited.get("alias", set())
