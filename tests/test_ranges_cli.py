"""Numbers on the command line: each is read with its range, refused in one sentence, and shown by --help."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
from toy import table as toy_table

from likewise.cli.flags import Parser, parameters
from likewise.cli.main import COMMANDS, main
from likewise.core import ranges
from likewise.data.table import Table


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


WRONG = [  # a command, and the option that it has wrong
    *(
        (f"sample emoji apple --{option} {value}", option)
        for option, values in {
            "guidance": ("nan", "inf", "-1", "101"),
            "shift": ("nan", "0", "-1"),
            "steps": ("0", "2.5", "1e3", "100000"),
            "eta": ("-3", "1.5", "nan"),
            "guidance-from": ("nan", "2"),
            "guidance-to": ("-0.1",),
            "source-noise": ("1",),
            "seed": ("-1", "x", "99999999999999999999"),
        }.items()
        for value in values
    ),
    ("sample emoji apple -n 0", "n"),
    ("sample emoji apple --n many", "n"),
    *(
        (f"train things image|label --{option} {value}", option)
        for option, values in {
            "width": ("33", "31", "63", "65", "0", "-64", "nan"),
            "depth": ("0", "2.0"),
            "warmup": ("-3",),
            "minutes": ("nan", "inf", "0", "-1"),
            "steps": ("0", "1.5"),
            "infill": ("2", "-0.1", "nan"),
            "lr": ("0", "nan", "1000"),
            "cooldown": ("1",),
            "source-dropout": ("1.5",),
            "holdout": ("1", "nan"),
            "size": ("0", "nan"),
            "length": ("0",),
            "save-seconds": ("inf",),
        }.items()
        for value in values
    ),
    ("vary emoji a.png --strength 0", "strength"),
    ("vary emoji a.png --strength nan", "strength"),
    ("vary emoji a.png --strength 1.5", "strength"),
    ("interpolate emoji a b -n 1", "n"),
    ("interpolate emoji a b --shift inf", "shift"),
    ("infill emoji a.png -n -1", "n"),
    ("score emoji things --seed -1", "seed"),
    ("evaluate emoji --n 1", "n"),
    ("evaluate emoji --draws 0", "draws"),
    ("evaluate emoji --likelihood-rows -1", "likelihood-rows"),
    ("compare things image|label --minutes nan", "minutes"),
    ("compare things image|label --n 1", "n"),
    ("compare things image|label --seeds 0", "seeds"),
    ("compare things image|label --draws 0", "draws"),
    ("data things --holdout nan", "holdout"),
    ("demo --minutes nan", "minutes"),
    ("import folder --out r --length 1", "length"),
]


@pytest.mark.parametrize(("command", "option"), WRONG)
def test_a_number_out_of_range_is_one_sentence_with_status_2(
    here: Path, capsys: pytest.CaptureFixture[str], command: str, option: str
) -> None:
    with pytest.raises(SystemExit) as end:
        main(command.split())
    out, err = capsys.readouterr()
    assert end.value.code == 2 and not out and err.count("\n") == 1
    assert err.startswith(f"likewise {command.split()[0]}: -") and f"-{option} must be " in err
    assert not any(here.iterdir())


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (
            "sample emoji apple --guidance-from .9 --guidance-to .1",
            "guidance_from=0.9 is above guidance_to=0.1",
        ),
        ("sample emoji apple --guidance-from .95", "guidance_from=0.95 is above guidance_to=0.9"),
        ("infill emoji a.png --box 0,0,1,nan", "each number of --box must be a whole number from 0"),
        (
            "infill emoji a.png --pad 0,0,0,99999999",
            "each number of --pad must be a whole number from 0 to 4,096",
        ),
        ("interpolate emoji a b --seeds 0,-1", "--seeds must be a whole number from 0"),
        ("interpolate emoji a b --seeds nan", "--seeds must be a whole number from 0"),
        ("evaluate emoji --sweep guidance=1,nan", "guidance must be a number from 0 to 100, not nan"),
        ("evaluate emoji --sweep steps=0", "steps must be a whole number from 1 to 10,000, not 0"),
        ("evaluate emoji --sweep zero_star=maybe", "zero_star must be true or false, not 'maybe'"),
        (
            "train icons image[size=nan]|text --steps 1",
            "size must be a whole number from 1 to 4,096, not 'nan'",
        ),
        ("train icons image[size=0]|text --steps 1", "size must be a whole number from 1 to 4,096, not 0"),
    ],
)
def test_other_numbers_are_one_sentence_with_status_1(
    here: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
    command: str,
    expected: str,
) -> None:
    rows, picture = toy_table(16), tmp_path_factory.mktemp("pictures") / "a.png"
    PIL.Image.new("RGB", (32, 32)).save(picture)
    monkeypatch.setattr(
        Table,
        "open",
        lambda *_, **__: Table.from_rows([{"image": r["image"], "text": r["text"]} for r in rows]),
    )
    assert main(command.replace("a.png", str(picture)).split()) == 1
    err = capsys.readouterr().err
    assert expected in err and err.splitlines()[-1].startswith("likewise: ")
    assert not any(here.iterdir())


def test_help_shows_every_range(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    lines: dict[str, str] = {}
    for command in COMMANDS:
        words = (
            [command, "emoji", "--help"] if command in ("sample", "vary", "evaluate") else [command, "--help"]
        )
        with pytest.raises(SystemExit):
            main(words)
        for line in capsys.readouterr().out.splitlines():
            if line.lstrip().startswith("-") and (" N " in line or " X " in line):
                lines[f"{command} {line.split()[0]}"] = line
    unbounded = [
        line for line in lines.values() if not (" to " in line or " at most " in line or " below " in line)
    ]
    assert len(lines) > 60 and not unbounded, "\n".join(unbounded)
    assert (
        "from 0 to 100" in lines["sample --guidance"] and "above 0 and at most 100" in lines["sample --shift"]
    )
    assert "a multiple of 2 from 2 to 8,192" in lines["train --width"]
    assert "default 0.1, at most 1,000 rows; from 0 to below 1" in lines["train --holdout"]


def test_no_command_reads_a_number_without_a_range(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither those of signatures nor those that a command declares by hand: all are read by `flags.py`."""
    parsers: list[Parser] = []
    parse = Parser.parse

    def keep(self: Parser, argv: Sequence[str]) -> Any:
        parsers.append(self)
        return parse(self, argv)

    monkeypatch.setattr(Parser, "parse", keep)
    for command in COMMANDS:
        with pytest.raises(SystemExit):
            main([command, "--help"])
    assert len(parsers) == len(COMMANDS)
    plain = [
        action.option_strings
        for parser in parsers
        for action in parser._actions
        if action.type in (int, float) or (isinstance(action.default, int | float) and action.type is None)
        if not isinstance(action.default, bool)
    ]
    assert not plain


def test_the_defaults_of_an_option_of_several_owners(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def small(*, size: ranges.ImageSize = 8) -> None:
        """size  of a picture"""

    def large(*, size: ranges.ImageSize = 64) -> None: ...

    def neither(*, size: ranges.ImageSize | None = None) -> None: ...

    monkeypatch.setenv("COLUMNS", "1000")
    parser = Parser("x")
    parser.add_signature_options("g", [("a", small), ("b", large), ("c", neither)])
    assert "of a picture (default 8 of a, 64 of b; from 1 to 4,096)" in parser.format_help()
    assert parameters(small)["size"].default == 8
