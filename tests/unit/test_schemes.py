"""Schemes by name, and the published count of what they need (specs/scheme.md)."""

from __future__ import annotations

import pytest

from goldgrad import GoldgradError, schemes
from goldgrad.autodiff import differentiate
from goldgrad.models import MODELS, architecture
from goldgrad.sparse import Scheme, analytic_bytes, apply, check_scheme
from goldgrad.training import Session
from networks import small_graph, small_model

PUBLISHED = {
    "mcunet-5fps": (49, 74, 99, 124, 148),
    "mobilenet-v2-w0.35": (49, 73, 99, 123, 138),
    "proxyless-nas-w0.3": (49, 74, 98, 120, 148),
}
CASES = [(name, f"{kb}kb") for name, labels in PUBLISHED.items() for kb in labels]
SMALL = small_model()


@pytest.mark.rules("SCHEME-S5", "SCHEME-S6")
@pytest.mark.parametrize(("name", "label"), CASES)
def test_a_published_scheme_needs_the_kilobytes_in_its_name(name, label):
    model = architecture(name).model()
    scheme = schemes.named(model, label)
    assert scheme.name == label and (scheme.selector, scheme.head) == ("largest-norm", "train")
    count = analytic_bytes(model.graph, scheme)
    assert f"{count.total // 1024}kb" == label
    head = sum(model.arrays[f"classifier.{word}"].nbytes for word in ("w", "b"))
    assert Session(model, scheme).trained_bytes == count.weights + count.biases + head


def test_the_published_schemes_are_all_there_in_order():
    assert {name: tuple(schemes.names(name)) for name in PUBLISHED} == {
        name: tuple(f"{kb}kb" for kb in labels) for name, labels in PUBLISHED.items()
    }


@pytest.mark.rules("SCHEME-S6")
def test_the_published_count_of_a_small_network_by_hand():
    graph = small_graph()  # 6 x 5 x 1; stem 4 channels to 3 x 3; expand to 6, depthwise 3 x 3, project to 4
    scheme = Scheme("s", biases=2, weights={"block.expand": 0.5, "block.depthwise": (0, 1, 4), "stem": 1.0})
    count = analytic_bytes(graph, scheme)
    assert count.saved == 9 * 2 + 9 * 3 + 30
    assert count.weights == 6 * 2 + 9 * 3 + 4 * 9
    assert count.biases == 4 * (6 + 4)
    assert count.masks == (9 * 6 + 9 * 4 + 7) // 8
    full = analytic_bytes(graph, Scheme("f", biases=None, weights=None))
    assert full.biases == 4 * (4 + 6 + 6 + 4) and full.weights == 36 + 24 + 54 + 24


@pytest.mark.rules("SCHEME-S5")
def test_general_schemes():
    training = differentiate(SMALL.graph, "loss")
    everything = set(training.updates)
    head = {"classifier.w", "classifier.b"}
    biases = {name for name in everything if name.endswith(".b")}

    def trained(name):
        scheme = schemes.named(SMALL, name)
        assert scheme.name == name
        return set(apply(SMALL, training, scheme)[0].updates)

    assert trained("full") == everything
    assert trained("head") == trained("last-0") == head
    assert trained("bias-only") == biases | head
    assert trained("last-2") == head | {f"block.{layer}.{p}" for layer in ("depthwise", "project") for p in "wb"}
    assert trained("last-4") == everything


@pytest.mark.rules("SCHEME-S5")
def test_a_scheme_from_a_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("biases = 1\n")
    assert schemes.named(SMALL, str(path)) == Scheme("mine", biases=1)


@pytest.mark.parametrize("name", ["50kb", "last-", "last-x", "", "../schemes/mcunet-5fps-49kb", "-1", "last--1"])
def test_a_scheme_that_there_is_not_is_named_with_those_there_are(name):
    model = architecture("mcunet-5fps").model()
    with pytest.raises(GoldgradError, match=r"has no scheme '.*'; use full, bias-only, head, last-K, 49kb, 74kb"):
        schemes.named(model, name)


def test_more_layers_than_there_are():
    with pytest.raises(GoldgradError, match=r"small has 4 convolutions, not 5; use fewer"):
        schemes.named(SMALL, "last-5")
    with pytest.raises(GoldgradError, match=r"SCHEME-I1: there is no file 'none.toml'"):
        schemes.named(SMALL, "none.toml")


def test_every_scheme_that_comes_with_a_model_fits_it():
    for name in MODELS:
        model = architecture(name).model()
        for scheme in schemes.names(name):
            check_scheme(model, schemes.named(model, scheme))
