"""``goldgrad run digits``: what it finds, what it says, and that the shipped model is what its script makes."""

import importlib.util
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from goldgrad import cli, kernels
from goldgrad.interpreter import reference
from goldgrad.jobs import digits as job
from goldgrad.model_file import save
from goldgrad.models import digits
from goldgrad.sparse import FULL
from goldgrad.training import Session

REFIMPL = Path(digits.__file__).parents[2]


def goldgrad(capsys, monkeypatch, *arguments):
    """Exit code, standard output and standard error of a command."""
    monkeypatch.setattr("sys.argv", ["goldgrad", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return stop.value.code or 0, *capsys.readouterr()


@pytest.fixture(scope="module")
def model():
    return job.model()


@pytest.mark.rules("TRAIN-S6", "TRAIN-S7")
@pytest.mark.parametrize("scheme", job.SCHEMES)
def test_the_interpreter_and_c_agree_in_every_bit(model, scheme):
    result = job.run(model, job.scheme(scheme), steps=12, rate=0.02)
    assert result.bit_exact is True
    assert result.compared > 12 * 14_000
    assert result.first_difference is None
    assert result.loss[0] == job.run_c(model, job.scheme(scheme), steps=1, rate=0.02).loss[0]


def test_a_wrong_bit_in_a_kernel_is_found_and_named(model, monkeypatch):
    def wrong(name, *arrays, **attributes):
        results = kernels.run(name, *arrays, **attributes)
        if name == "sgd_update_bias.update" and len(arrays[0]) == 10:
            results[0][3] += 1
        return results

    monkeypatch.setattr(job, "reference", wrong)
    result = job.run(model, job.scheme("head"), steps=3, rate=0.02)
    assert result.bit_exact is False
    assert result.first_difference.startswith("step 0, classifier.b[3]: ")


def test_without_a_second_implementation_nothing_is_claimed(model):
    result = job.run(model, job.scheme("head"), steps=2, rate=0.02, kernels=False)
    assert result.bit_exact is None
    assert result.compared == 0


def test_training_bytes_are_those_of_the_scheme(model):
    everything = sum(array.nbytes for array in model.arrays.values())
    assert job.run_c(model, job.scheme("full"), 1, 0.02).trained_bytes == everything
    assert job.run_c(model, job.scheme("head"), 1, 0.02).trained_bytes == 10 * 24 + 4 * 10


@pytest.mark.rules("TRAIN-S9")
def test_sparse_gains_nearly_as_much_as_full_and_no_qas_visibly_less(model):
    full = job.run_c(model, job.scheme("full"), 2000, 0.02)
    sparse = job.run_c(model, job.scheme("sparse"), 2000, 0.02)
    assert full.gain > 0.5
    assert sparse.gain >= 0.9 * full.gain
    assert sparse.trained_bytes < 0.4 * full.trained_bytes
    same_rate = job.run_c(model, job.scheme("sparse"), 300, 0.02, qas=False)
    assert same_rate.gain < 0.02
    retuned = job.run_c(model, job.scheme("sparse"), 2000, 600, qas=False)
    assert retuned.gain < sparse.gain - 0.05


def test_held_out_scans_are_never_trained_on():
    train, held_out = digits.new_scans()
    assert len(held_out) == digits.HELD_OUT
    assert digits.PRETRAINING + len(train) + len(held_out) == len(digits.load_scans())
    upright = digits.load_scans()[digits.PRETRAINING :]
    np.testing.assert_array_equal(train.images[0, ::-1, :, 0].T, upright.images[0, ..., 0])
    assert sorted(job.order(5, 5)) == [0, 1, 2, 3, 4]
    assert max(job.order(len(train), 2000)) < len(train)


def test_the_json_carries_what_was_found(capsys, monkeypatch, tmp_path):
    out = tmp_path / "new" / "digits.json"
    code, text, _ = goldgrad(
        capsys,
        monkeypatch,
        "run",
        "digits",
        "--scheme",
        "head",
        "--steps",
        5,
        "--json",
        out,
        "--picture",
        tmp_path / "p.png",
    )
    assert code == 0
    assert "bit-exact: interpreter and C kernels agreed in every bit" in text.replace("\n", " ")
    document = json.loads(out.read_text())
    assert {"accuracy_before", "accuracy_after", "loss", "bit_exact", "steps", "scheme", "seconds"} <= set(document)
    assert (document["steps"], document["scheme"], document["bit_exact"], len(document["loss"])) == (5, "head", True, 5)
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


BAD_TOML = '[weights]\n"block9.expand" = 0.5\n'


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "letters"], "there is no model 'letters'"),
        (["run", "digits", "--scheme", "most"], "there is no scheme or file 'most'; use full, sparse"),
        (["run", "digits", "--steps", "0"], "--steps is 0; give at least 1"),
        (["run", "digits", "--rate", "-1"], "--rate is -1.0; give a positive number"),
        (["run", "digits", "--rate", "nan"], "--rate is nan; give a positive number"),
        (["run", "digits", "--kernels", "rust"], "--kernels is 'rust'; use one of c, none"),
        (["run", "digits", "--scheme", "bad.toml"], "block9.expand"),
        (["run", "digits", "--json", "."], "is a folder; name another file"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(capsys, monkeypatch, tmp_path, arguments, said):
    monkeypatch.chdir(tmp_path)
    Path("bad.toml").write_text(BAD_TOML)
    code, _, error = goldgrad(capsys, monkeypatch, *arguments)
    assert code == 2
    assert said in error
    assert error.count("\n") == 1
    assert [file.name for file in tmp_path.iterdir()] == ["bad.toml"]


def test_a_damaged_model_file_is_one_line_and_writes_nothing(capsys, monkeypatch, tmp_path):
    shipped = Path(digits.__file__).parent
    monkeypatch.chdir(tmp_path)
    for name in ("digits.json", "digits.npz"):
        Path(name).write_bytes((shipped / name).read_bytes()[:-7])
    code, _, error = goldgrad(capsys, monkeypatch, "run", "digits", "--model", "digits.json")
    assert (code, error.count("\n")) == (2, 1)
    assert "digits.json" in error
    Path("digits.json").write_bytes((shipped / "digits.json").read_bytes())
    code, _, error = goldgrad(capsys, monkeypatch, "run", "digits", "--model", "digits.json")
    assert (code, error.count("\n")) == (2, 1)
    assert "digits.npz" in error
    assert sorted(file.name for file in tmp_path.iterdir()) == ["digits.json", "digits.npz"]


def test_a_model_for_something_else_is_refused(capsys, monkeypatch, tmp_path, model):
    monkeypatch.chdir(tmp_path)
    save(replace(model, graph=replace(model.graph, outputs=("loss",))), tmp_path / "other.json")
    code, _, error = goldgrad(capsys, monkeypatch, "run", "digits", "--model", "other.json")
    assert (code, error.count("\n")) == (2, 1)
    assert "no network for digits" in error


# --- the shipped model ---


@pytest.fixture(scope="module")
def script():
    path = REFIMPL / "tools" / "pretrain_digits.py"
    spec = importlib.util.spec_from_file_location("pretrain_digits", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.rules("TRAIN-S12", "UPM-S1")
def test_pre_training_gives_the_same_bytes_in_the_interpreter_and_in_c(script, monkeypatch, tmp_path):
    monkeypatch.setattr(script, "CALIBRATION", 8)
    scans = digits.pretraining_scans()[:10]
    for name, provider in (("reference", reference), ("c", kernels.run)):
        *_, (model, _) = script.pretrain(scans, 2, 0.02, provider)
        (tmp_path / name).mkdir()
        save(model, tmp_path / name / "digits.json")
    for file in ("digits.json", "digits.npz"):
        assert (tmp_path / "reference" / file).read_bytes() == (tmp_path / "c" / file).read_bytes()


@pytest.mark.skipif("GOLDGRAD_DEEP" not in os.environ, reason="takes a minute: set GOLDGRAD_DEEP=1 (make deep)")
def test_the_script_makes_the_shipped_model_byte_for_byte(script, tmp_path):
    *_, (model, _) = script.pretrain(digits.pretraining_scans(), 8, 0.02, kernels.run)
    save(model, tmp_path / "digits.json")
    for file in ("digits.json", "digits.npz"):
        assert (tmp_path / file).read_bytes() == (Path(digits.__file__).parent / file).read_bytes()


def test_the_shipped_model_reads_the_scans_it_was_trained_on(model):
    scans = digits.pretraining_scans()
    logits = Session(model, FULL, kernels.run).predict(scans.feeds())["classifier.y"]
    assert (logits.argmax(axis=1) == scans.labels).mean() > 0.99
    assert np.unique(logits).size > 100
