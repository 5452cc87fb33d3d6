"""The checker of the ties between specs/, code and tests, on small made-up trees."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from goldgrad.errors import GoldgradError
from goldgrad.spec import checkout, faults, find, scan, table

PAGE = """# toy

## Semantics

### TOY-S1: Sum
The sum.

### TOY-A1: In place
y may be x.

### TOY-C1: Any batch [host]
See TOY-S1.
"""
OPERATOR = '''"""A toy."""

@function("x", "y", types, aliases="y=x:TOY-A1")
@rule("TOY-S1")
def forward(x):
    require(x, "TOY-C1", "x is odd", "give an even one")
'''
TEST = """import pytest

@pytest.mark.rules("TOY-S1", "TOY-A1")
def test_sum(): ...

@pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.rules("TOY-C1"))])
def test_batch(x): ...
"""
GOOD = {
    "specs/ops/toy.md": PAGE,
    "refimpl/goldgrad/ops/toy.py": OPERATOR,
    "refimpl/goldgrad/kernels/toy.py": '@binds("toy.forward")\ndef _forward(): ...\n',
    "refimpl/goldgrad/conformance/cases.py": '@case("toy.forward")\ndef _toy(): ...\n',
    "kernels_c/include/goldgrad/toy.h": "/* TOY-S1: the sum.  TOY-A1: y may be x. */\n",
    "kernels_c/src/portable/toy.c": "/* TOY-S1 */\n",
    "tests/unit/test_toy.py": TEST,
}


@pytest.fixture
def tree(tmp_path):
    """Write the good tree with the changed files put over it; None leaves a file out."""

    def write(changes: dict[str, str | None] | None = None) -> Path:
        for name, text in {**GOOD, **(changes or {})}.items():
            if text is not None:
                path = tmp_path / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        return tmp_path

    return write


def test_good_tree_has_no_fault(tree):
    spec = scan(tree())
    assert faults(spec) == []
    assert sorted(spec.rules) == ["TOY-A1", "TOY-C1", "TOY-S1"]
    assert spec.rules["TOY-C1"].marks == {"[host]"}
    assert spec.rules["TOY-S1"].text == "The sum."


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"refimpl/goldgrad/ops/toy.py": OPERATOR + "# TOY-S9\n"}, "TOY-S9 dangles: refimpl/goldgrad/ops/toy.py:7"),
        ({"kernels_c/src/portable/toy.c": "/* TOY-S2 */"}, "TOY-S2 dangles: kernels_c/src/portable/toy.c:1"),
        ({"tests/unit/test_toy.py": TEST.replace("A1", "A2")}, "TOY-A2 dangles: tests/unit/test_toy.py:3"),
        ({"specs/other.md": "as TOY-N1 says"}, "TOY-N1 dangles: specs/other.md:1"),
        ({"refimpl/goldgrad/ops/toy.py": OPERATOR.replace("@rule", "# @rule")}, "TOY-S1 is implemented nowhere"),
        ({"refimpl/goldgrad/ops/toy.py": OPERATOR.replace(":TOY-A1", "")}, "TOY-A1 is implemented nowhere"),
        ({"kernels_c/include/goldgrad/toy.h": "/* TOY-S1 */"}, "TOY-A1 is promised by no header"),
        ({"tests/unit/test_toy.py": TEST.replace('"TOY-C1"', "")}, "TOY-C1 is tested nowhere"),
        ({"tests/unit/test_toy.py": '"""TOY-S1 TOY-A1 TOY-C1"""'}, "TOY-S1 is tested nowhere"),
        ({"specs/again.md": "### TOY-S1: Sum\n"}, "TOY-S1 is defined twice: specs/again.md:1 and specs/ops/toy.md:5"),
        ({"specs/ops/toy.md": PAGE.replace("S1: Sum", "S1 Sum")}, "specs/ops/toy.md:5 is no rule heading"),
        ({"specs/ops/toy.md": PAGE.replace("S1: Sum", "X1: Sum")}, "specs/ops/toy.md:5 is no rule heading"),
        ({"specs/ops/toy.md": PAGE.replace("[host]", "[hots]")}, "specs/ops/toy.md:11 is no rule heading"),
    ],
)
def test_each_fault_is_found(tree, changes, fault):
    found = faults(scan(tree(changes)))
    assert any(line.startswith(fault) for line in found), found
    assert all(";" in line for line in found), "each fault has a remedy"


def test_naming_a_rule_to_check_it_does_not_implement_it(tree):
    changes = {
        "refimpl/goldgrad/ops/toy.py": OPERATOR.replace('@rule("TOY-S1")', ""),
        "refimpl/goldgrad/conformance/properties.py": 'RULE = "TOY-S1"\n',
    }
    assert [line[:28] for line in faults(scan(tree(changes)))] == ["TOY-S1 is implemented nowher"]


def test_operator_without_header_needs_no_promise(tree):
    assert faults(scan(tree({"kernels_c/include/goldgrad/toy.h": None}))) == []


def test_kernel_rule_is_implemented_in_c(tree):
    page = PAGE + "\n### TOY-M1: No allocation [kernel]\nNone.\n"
    test = TEST.replace('"TOY-A1"', '"TOY-A1", "TOY-M1"')
    header = GOOD["kernels_c/include/goldgrad/toy.h"] + "/* TOY-M1 */"
    changes = {"specs/ops/toy.md": page, "tests/unit/test_toy.py": test}
    assert [line[:30] for line in faults(scan(tree(changes)))] == [
        "TOY-M1 is implemented nowhere ",
        "TOY-M1 is promised by no heade",
    ]
    assert faults(scan(tree({**changes, "kernels_c/include/goldgrad/toy.h": header}))) == []


def test_table_counts(tree):
    operators, others = table(scan(tree({"specs/other.md": "### OTHER-S1: Alone\n"})))
    (toy,), (other,) = operators, others
    assert (toy.name, toy.rules, toy.implemented, toy.promised, toy.promisable, toy.tested) == ("toy", 3, 3, 2, 2, 3)
    assert toy.functions == toy.bound == toy.properties == ("forward",)
    assert (other.name, other.rules, other.implemented, other.promised) == ("other", 1, 0, None)


def test_table_shows_what_is_missing(tree):
    changes = {"refimpl/goldgrad/kernels/toy.py": None, "refimpl/goldgrad/conformance/cases.py": None}
    ((toy,), _) = table(scan(tree(changes)))
    assert (toy.functions, toy.bound, toy.properties) == (("forward",), (), ())


def test_find_suggests(tree):
    spec = scan(tree())
    assert find(spec, "toy-s1").title == "Sum"
    with pytest.raises(GoldgradError, match="no page defines TOY-S11; the nearest is TOY-S1"):
        find(spec, "TOY-S11")


def test_places_name_the_function(tree):
    spec = scan(tree())
    assert [str(place) for place in spec.implemented["TOY-S1"]] == ["refimpl/goldgrad/ops/toy.py:4 (forward)"]
    assert [str(place) for place in spec.tested["TOY-C1"]] == ["tests/unit/test_toy.py:6 (test_batch)"]


@pytest.mark.parametrize("name", ["refimpl/goldgrad/ops/toy.py", "tests/unit/test_toy.py"])
def test_source_that_does_not_parse_is_named(tree, name):
    with pytest.raises(GoldgradError, match=f"^{name}:2: .*; mend it"):
        scan(tree({name: "import math\n<<<<<<< ours\n"}))


def test_outside_a_checkout(tmp_path):
    with pytest.raises(GoldgradError, match="is not inside a checkout of goldgrad; run"):
        checkout(tmp_path)


def goldgrad(*arguments, cwd):
    command = [sys.executable, "-c", "from goldgrad.cli import main; main()", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_command_line(tree):
    root = tree()
    checked = goldgrad("spec", "--check", cwd=root)
    assert (checked.returncode, checked.stdout) == (0, "3 rules, 1 functions, 0 faults\n")
    shown = goldgrad("spec", "TOY-S1", cwd=root / "specs")
    assert shown.returncode == 0
    assert "TOY-S1: Sum" in shown.stdout
    assert "refimpl/goldgrad/ops/toy.py:4 (forward)" in shown.stdout
    listed = goldgrad("spec", cwd=root)
    assert listed.returncode == 0
    assert "toy" in listed.stdout
    (root / "tests" / "unit" / "test_toy.py").write_text("")
    assert goldgrad("spec", "--check", cwd=root).returncode == 1
    unknown = goldgrad("spec", "NO-S1", cwd=root)
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert unknown.stderr == "goldgrad: no page defines NO-S1; the prefixes are TOY\n"
