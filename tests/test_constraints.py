"""Constraints: what is drawn obeys, whatever the model, the tokens, the temperature, the batch and the length."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
import toy
from jsonschema import Draft202012Validator

pytest.importorskip("llguidance")

from likewise.cli.main import main
from likewise.data.table import Table
from likewise.generation.sequence.constraints import Constraint
from likewise.modalities.document import Document
from likewise.modalities.label import Label
from likewise.modalities.text import Text
from likewise.models.model import Model

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 4},
        "colour": {"enum": ["red", "green"]},
        "n": {"type": "integer", "minimum": 3, "maximum": 120},
        "rows": {
            "type": "array",
            "maxItems": 2,
            "items": {"type": "array", "minItems": 1, "maxItems": 2, "items": {"type": "boolean"}},
        },
    },
    "required": ["name", "colour", "n", "rows"],
    "additionalProperties": False,
    "x-guidance": {"whitespace_flexible": False},
}
TEXTS = [
    json.dumps({"name": f"ab{i % 7}", "colour": "red", "n": i + 3, "rows": [[i % 2 == 0]]}) for i in range(99)
]
BYTES, PAIRS = Text.fit(TEXTS[:1], length=90), Text.fit(TEXTS, vocabulary=340, length=60)
OPEN = {
    "type": "object",
    "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
    "required": ["a", "b"],
    "additionalProperties": False,
}


def model(text: Text, formula: str = "text", **more) -> Model:
    return Model(formula, {"text": text, **more}, "autoregressive", width=32, depth=1).eval()


def draw(m: Model, constraint: Constraint, n: int = 200, **sampling_options) -> list[str]:
    return [
        row["text"]
        for row in m.sample([{}] * n, constraint={"text": constraint}, batch=100, **sampling_options)
    ]


def obeys(text: str) -> bool:
    """Whether a text is JSON that the schema allows, as jsonschema judges, with properties in its order."""
    row = json.loads(text)
    return list(row) == list(SCHEMA["properties"]) and Draft202012Validator(SCHEMA).is_valid(row)


@pytest.mark.parametrize("text", [BYTES, PAIRS], ids=["bytes", "pairs"])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_every_draw_of_an_untrained_model_obeys(text: Text, temperature: float) -> None:
    m = model(text)
    drawn = draw(m, Constraint.json(SCHEMA), temperature=temperature)
    assert all(map(obeys, drawn)) and len(set(drawn)) > 100
    assert not any(
        obeys(t) for t in [json.dumps({**json.loads(drawn[0]), "n": 2}), "{}".replace("}", ',"x":1}'[1:])]
    )
    pattern = "[a-c]{2,5}[0-9]+(x| é)"
    assert all(re.fullmatch(pattern, t) for t in draw(m, Constraint.regex(pattern), temperature=temperature))
    choices = ["a", "ab", "", " c", 'd,e/\n"é']
    assert set(draw(m, Constraint.choice(choices), temperature=temperature)) == set(choices)


def test_what_was_learned_is_kept() -> None:
    rows = [{"text": t} for t in ("red", "green") for _ in range(32)]
    table = Table.from_rows(rows, {"text": "text"}, holdout=0.0)
    m = toy.trained(Model("text", table.columns, "autoregressive", width=32, depth=1), table, 40)
    constraint = Constraint.choice(["red", "blue"])
    assert draw(m, constraint, 100).count("red") > 80
    assert set(draw(m, constraint, 50, top_p=0.5)) == {"red"} == set(draw(m, constraint, 5, temperature=0.0))


@pytest.mark.parametrize("text", [BYTES, PAIRS], ids=["bytes", "pairs"])
def test_what_the_length_would_cut_is_closed(text: Text) -> None:
    with pytest.warns(UserWarning, match="completed"):
        drawn = draw(model(text), Constraint.json(OPEN), 30)
    assert all(list(json.loads(t)) == ["a", "b"] for t in drawn)
    assert all(text.num_tokens(t) <= 2 * text.length for t in drawn) and max(map(len, drawn)) > 20


def test_a_draw_does_not_depend_on_its_batch() -> None:
    m, constraint = model(PAIRS), {"text": Constraint.json(OPEN)}
    with pytest.warns(UserWarning):
        whole = m.sample([{}] * 9, constraint=constraint, seed=3)
        part = m.sample([{}] * 2, constraint=constraint, seed=3, indices=[7, 4])
    assert part == [whole[7], whole[4]] and whole != m.sample([{}] * 9, seed=3)


def test_rows_end_where_they_are_complete() -> None:
    bound = Constraint.choice(["a", "ab"]).bind(BYTES.vocabulary.token_bytes, 5, b" ")
    rows, byte = bound.start(2), bound.byte
    ids = [[byte(32)] * 2, [byte(97)] * 2, [0, byte(98)], [0, 0]]
    may = [[{byte(32)}] * 2, [{byte(97)}] * 2, [{0, byte(98)}] * 2, [{0}] * 2]
    for token, allowed in zip(ids, may, strict=True):
        assert [set(mask.nonzero()[:, 0].tolist()) for mask in rows.allowed_ids()] == allowed
        rows.push(torch.tensor(token))
    out = torch.tensor(ids + [[0, 0]]).T
    assert rows.close(out)[0].equal(out) and not rows.close(out)[1]


def test_a_text_may_be_empty() -> None:
    """A document may end before it begins; what has a blank before it begins with that."""
    for made in (Document.fit(TEXTS, vocabulary=257, length=20), BYTES):
        m = Model("text", {"text": made}, "autoregressive", width=32, depth=1)
        assert {row["text"] for row in m.sample([{}] * 4, constraint={"text": Constraint.regex("")})} == {""}
        drawn = {
            row["text"]
            for row in m.sample([{}] * 200, constraint={"text": Constraint.regex("(a)?")}, temperature=20)
        }
        assert drawn == {"", "a"}


def test_later_columns_see_what_was_closed() -> None:
    columns = {"text": Text.fit(["ab"], length=24), "label": Label.fit(list("abcdefgh"))}
    m = Model("text, label", columns, "autoregressive", width=32, depth=1, infill=0.0).eval()
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in m.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=noise))
    with pytest.warns(UserWarning, match="completed"):
        rows = m.sample([{}] * 12, constraint={"text": Constraint.json(OPEN)})
    for i, row in enumerate(rows):
        assert m.sample([{}], indices=[i], known={"text": row["text"]})[0]["label"] == row["label"]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda: Constraint.json({"type": "integer", "minimum": 5, "maximum": 1}),
            "no text satisfies .*minimum",
        ),
        (lambda: Constraint.json({"enum": []}), "no text satisfies the JSON schema"),
        (lambda: Constraint.json({"propertees": {}}), "did you mean 'properties'"),
        (lambda: Constraint.json({"properties": {"a": {"minimun": 1}}}), "did you mean 'minimum'"),
        (lambda: Constraint.json({"type": "strin"}), "not valid at type: 'strin'"),
        (lambda: Constraint.json("{"), "is not JSON"),
        (lambda: Constraint.json({"not": {}}), "Unimplemented keys"),
        (lambda: Constraint.regex("(a"), "the regex .* is not supported: unclosed group"),
        (lambda: Constraint.grammar("start: foo"), 'unknown name: "foo"'),
        (lambda: Constraint.choice([]), "one or more"),
        (lambda: Constraint.parse("jsn", ""), "did you mean 'json'"),
        (
            lambda: draw(model(BYTES), Constraint.grammar('start: "a" start'), 1),
            "text: no text satisfies the grammar",
        ),
        (lambda: draw(model(BYTES), Constraint.regex("a{90}"), 1), "takes some 91 tokens.* room for 90"),
        (lambda: model(BYTES).sample([{}], constraint={"txt": Constraint.regex("a")}), "did you mean 'text'"),
        (lambda: draw(model(BYTES), Constraint.regex("a"), 1, known={"text": "a"}), "known and constrained"),
        (
            lambda: Model(
                "label", {"label": Label.fit(["a", "b"])}, "autoregressive", width=32, depth=1
            ).sample([{}], constraint={"label": Constraint.regex("a")}),
            "a constraint is for a text",
        ),
        (
            lambda: Model("text", {"text": Text.fit(["ab"])}, "flow", width=64, depth=1).sample(
                [{}], constraint={"text": Constraint.regex("a")}
            ),
            "flow cannot sample texts .*those that can: autoregressive",
        ),
    ],
)
def test_mistakes_are_named(make, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()


def test_the_command_line(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    model(BYTES).save("r", step=1, plan={}, data={})
    Path("s.json").write_text(json.dumps(SCHEMA))
    Path("g.lark").write_text('start: "a"+ "b"')
    for words, good in (
        (["--json", "s.json"], obeys),
        (["--regex", "x[0-9]{2}"], re.compile("x[0-9]{2}").fullmatch),
        (["--choice", "a,b"], ["a", "b"].__contains__),
        (["--grammar", "g.lark"], re.compile("a+b").fullmatch),
    ):
        assert main(["sample", "r", "-n", "3", *words]) == 0
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert len(lines) == 3 and all(
            good(line["text"]) and "text" in line["likewise"]["constraint"] for line in lines
        )
    for words, said in (
        (["--json", "none.json"], "--json none.json: No such file"),
        (["--regex", "(a"], "--regex (a: "),
        (["--regex", "a", "--choice", "b"], "--choice: text has a constraint already, --regex"),
    ):
        assert main(["sample", "r", *words]) == 1
        assert said in capsys.readouterr().err
