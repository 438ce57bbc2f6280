"""Healing: prompts that end within a token go on with the tokens that training sees, and are kept to the letter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import tokenizers
import torch
from tokenizers import decoders, models, pre_tokenizers

from likewise.core.batch import Context
from likewise.core.rng import Rng
from likewise.generation.controls import Step
from likewise.modalities.document import Document
from likewise.modalities.text import Text
from likewise.models.model import Model
from likewise.models.text_prompt import TextPrompts
from likewise.models.text_stream import stream_text

PAIRS = [
    ("Ġ", "H"),
    ("a", "m"),
    ("l", "e"),
    ("le", "t"),
    ("am", "let"),
    ("ĠH", "amlet"),
    ("t", "o"),
    ("Ġ", "to"),
]
PROMPTS = ["", "x", "to ", "to Hamle", " Hamle", "to Ham", "to Hamlet", "é to Hamlet x "]


def column(kind: type[Text], length: int = 24, pairs: list[tuple[str, str]] = PAIRS) -> Text:
    """A vocabulary by hand: " Hamlet" is one token and " Hamle" are three; " to" is one token and " t" are two."""
    words = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *map("".join, pairs)]
    tokenizer = tokenizers.Tokenizer(models.BPE({word: i for i, word in enumerate(words)}, pairs))
    tokenizer.pre_tokenizer, tokenizer.decoder = (
        pre_tokenizers.ByteLevel(add_prefix_space=False),
        decoders.ByteLevel(),
    )
    return kind(tokenizer.to_str(), length)


def model(text: Text, likes: Mapping[bytes, float], spread: float = 0.0, **options: Any) -> Model:
    """It draws ids whatever stands before them, by logits that are 0, as far as `spread` is, but for these."""
    made = Model("text", {"text": text}, width=32, depth=1, **options).eval()
    head = made.family.heads[0].out
    with torch.no_grad():
        head.weight.normal_(std=spread, generator=torch.Generator().manual_seed(0))
        head.bias.zero_()
        for piece, logit in likes.items():
            head.bias[text.vocabulary.token_bytes.index(piece)] = logit
    return made


def drawn(made: Model, prompts: list[Any], **sampling_options: Any) -> list[list[bytes]]:
    """The ids that come after a prompt's own, as bytes."""
    writing, text = TextPrompts(made.target_columns, prompts), made.columns["text"]
    rows = made.family.sample(
        Context({}, torch.zeros(len(prompts), 0, dtype=torch.bool)),
        known=None,
        rng=Rng(range(len(prompts)), "sample", 0),
        **writing.controls,
        **sampling_options,
    )["text"].tolist()
    return [
        [text.vocabulary.token_bytes[i] for i in row[writing.prompt_length(k) :] if i]
        for k, row in enumerate(rows)
    ]


def test_a_prompt_goes_on_with_the_tokens_of_the_whole_word() -> None:
    made = model(column(Document), {b" Hamlet": 9.0, b" H": 7.0, b" ": 8.0, b"x": 5.0})
    prompts = ["to ", "to Hamle", "to Ham", "to"]
    assert [{*ids} for ids in drawn(made, prompts, temperature=0, tokens=1)] == [{b" Hamlet"}] * 4
    rows = made.sample([{}] * 4, prompts=prompts, temperature=0, tokens=1)
    assert [row["text"] for row in rows] == ["to" + n * " Hamlet" for n in (2, 4, 3, 1)]
    other = model(column(Document), {b" ": 9.0, b" H": 8.0, b" Hamlet": 7.0, b"am": 6.0})
    assert drawn(other, ["to Hamle", "to Ham"], temperature=0, tokens=2) == [
        [b" H", b"am", b"le", b" ", b" "],
        [b" H", b"am", b" ", b" "],
    ]  # as it was written, and no shorter ids


def test_a_text_may_be_taken_back_to_its_opening() -> None:
    made = model(column(Text), {b" Hamlet": 9.0})
    assert drawn(made, ["Hamle"], temperature=0, tokens=1) == [[b" Hamlet"] * 4]
    assert made.sample([{}], prompts=["Hamle"], temperature=0, tokens=1) == [
        {"text": "Hamlet" + " Hamlet" * 3}
    ]
    assert list(made.stream(prompt="Hamle", temperature=0, tokens=1)) == ["t", *[" Hamlet"] * 3]
    assert made.sample([{}], prompts=[""], temperature=0, tokens=1) == [{"text": "Hamlet"}]


@pytest.mark.parametrize("kind", [Document, Text])
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_every_text_begins_with_its_prompt_whatever_is_beside_it(
    kind: type[Text], temperature: float
) -> None:
    made = model(column(kind), {b" H": 4.0, b" Hamlet": 4.0}, spread=0.3)
    sampling_options: dict[str, Any] = {"temperature": temperature, "tokens": 5}
    rows = made.sample([{}] * 40, prompts=PROMPTS * 5, **sampling_options)
    for i, (prompt, row) in enumerate(zip(PROMPTS * 5, rows, strict=True)):
        assert row["text"].startswith(prompt)
        if i % 5 == 0:
            assert made.sample([{}], prompts=[prompt], indices=[i], **sampling_options) == [row]
    assert len({row["text"] for row in rows}) > 30
    for prompt in PROMPTS:
        [row] = made.sample([{}], prompts=[prompt], seed=1, **sampling_options)
        assert prompt + "".join(made.stream(prompt=prompt, seed=1, **sampling_options)) == row["text"]


def test_a_limit_is_of_what_is_not_owed() -> None:
    made = model(column(Document), {b" H": 3.0, b" Hamlet": 3.0}, spread=0.3)
    counts = [len(ids) for ids in drawn(made, ["to Hamle"] * 40, tokens=1)]
    assert set(counts) <= {1, 2, 3, 4} and max(counts) == 4 and min(counts) < 4
    short = model(column(Text, length=8), {b" H": 9.0})  # and there is always room for it
    assert all(row["text"].startswith("xxxHamle") for row in short.sample([{}] * 8, prompts=["xxxHamle"] * 8))


def test_stops_are_looked_for_in_what_is_new() -> None:
    made = model(column(Document), {b" Hamlet": 9.0, b"x": 8.0})
    for stop, text in (
        ("le", "to Hamlet Ham"),
        (" Ham", "to Hamlet"),
        ("t", "to Hamle"),
        ("et", "to Hamlet Haml"),
    ):
        [row] = made.sample([{}], prompts=["to Hamle"], stop=[stop], temperature=0, tokens=9)
        assert row["text"] == text
        assert (
            "to Hamle" + "".join(made.stream(prompt="to Hamle", stop=[stop], temperature=0, tokens=9))
            == row["text"]
        )
    ids = column(Document).ids("to Hamle mx")
    writing = TextPrompts(made.target_columns, ["to Hamle", "to Hamlet"], ["m"])
    ends = [writing.stopped(ids[:n].repeat(2, 1)).tolist() for n in range(1, len(ids) + 1)]
    assert [end[0] for end in ends] == [False] * 5 + [True] * 2  # not where am of Hamle is drawn
    longer = [torch.cat([ids[:4], ids[-1:].repeat(n)]) for n in range(20)]
    assert not any(writing.stopped(ids[None]).item() for ids in longer)
    assert all(writing.stopped(torch.cat([more, ids[5:6]])[None]).item() for more in longer)


def test_a_stream_of_what_is_owed_is_whole_letters() -> None:
    """Of a token that is the end of a letter, which is owed, and the beginning of the next."""
    text = column(Document, pairs=[("¬", "â")])  # € is the bytes E2 82 AC
    ids, writing = text.ids("€€")[None], TextPrompts({"text": text}, ["€"])
    assert ids.shape[1] == 5 and writing.prompt_length(0) == 2 and writing.pending_bytes(0) == b"\xac"
    assert list(
        stream_text(
            writing,
            lambda on_step: [on_step(Step(n, 5, lambda n=n: {"text": ids[:, :n]})) for n in range(1, 6)],
        )
    ) == ["€"]


def test_a_middle_heals_its_prefix() -> None:
    made = model(column(Document), {b" Hamlet": 9.0, b"x": 8.0}, fim=0.5)
    pairs = [("to Hamle", " to"), ("", " to"), ("to ", ""), ("x", "Hamle")]
    rows = made.sample([{}] * 4, prompts=pairs, temperature=0, tokens=1)
    assert [row["text"] for row in rows] == [
        "to Hamlet Hamlet Hamlet Hamlet to",
        " Hamlet to",
        "to Hamlet Hamlet",
        "x HamletHamle",
    ]
    assert list(made.stream(prompt=pairs[0], temperature=0, tokens=1)) == ["t", *[" Hamlet"] * 3]
    warm = model(column(Document), {b" H": 4.0}, spread=0.3, fim=0.5)
    for (prefix, suffix), row in zip(
        pairs * 9, warm.sample([{}] * 36, prompts=pairs * 9, temperature=3.0), strict=True
    ):
        assert row["text"].startswith(prefix) and row["text"].endswith(suffix)


def test_nothing_is_owed_of_bytes_nor_beside_known_parts() -> None:
    plain = column(Document, pairs=[])
    writing = TextPrompts({"text": plain}, PROMPTS)
    assert set(writing.controls) == {"prompt"}
    assert [writing.prompt_length(k) for k in range(len(PROMPTS))] == [
        len(prompt.encode()) for prompt in PROMPTS
    ]
    text = column(Text)
    made = model(text, {b" Hamlet": 9.0, b"x": 8.0})
    mask = torch.arange(24) == 20
    [row] = made.sample([{}], prompts=["to Hamle"], known={"text": ("x" * 23, mask)}, temperature=0)
    assert row["text"].startswith("to Hamle Hamlet")
