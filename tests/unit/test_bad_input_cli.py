"""What the command line makes of bad input: one line on stderr, exit code 2, nothing written."""

import sys

import pytest

from goldgrad import cli


def goldgrad(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["goldgrad", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    out, err = capsys.readouterr()
    return caught.value.code, out, err


@pytest.mark.rules("SCHEME-I1", "SCHEME-C2", "SCHEME-C4", "SCHEME-C5")
@pytest.mark.parametrize(
    ("text", "named"),
    [
        (None, "'mine.toml'; use full, sparse, bias, head or a TOML file"),
        ("[", "SCHEME-I1: mine.toml is no TOML"),
        ("[weights]\nnone = 1", "SCHEME-C4: scheme mine names the layer 'none', which digits does not have; it has "),
        ("[weights]\nstem = 1.5", "SCHEME-C2: the ratio of 'stem' is 1.5; give a number above 0 and at most 1"),
        ("[weights]\nstem = { ratio = 1, axis = 'channel' }", "SCHEME-C5: 'stem' is to be sliced along 'channel', and"),
        ('[weights]\n"a\\nb" = 1', r"SCHEME-C4: scheme mine names the layer 'a\nb', which digits does not have"),
    ],
)
def test_schemes(monkeypatch, capsys, tmp_path, text, named):
    monkeypatch.chdir(tmp_path)
    if text is not None:
        (tmp_path / "mine.toml").write_text(text)
    before = sorted(tmp_path.rglob("*"))
    code, _, err = goldgrad(monkeypatch, capsys, "run", "digits", "--scheme", "mine.toml", "--json", "found.json")
    assert code == 2
    assert err.startswith("goldgrad: ")
    assert named in err
    assert err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before
