"""Pipelines: the product rule over models, and errors for links that do not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
import toy

from likewise.cli.main import main
from likewise.core.formula import FormulaError
from likewise.data.table import Table
from likewise.evaluation.evaluator import evaluate
from likewise.models.checkpoint import RunError
from likewise.models.io import load
from likewise.models.model import Model
from likewise.models.pipeline import Pipeline
from likewise.training.plan import Plan
from likewise.training.trainer import train


@pytest.fixture(scope="module")
def table() -> Table:
    rows = [{n: row[n] for n in ("image", "label", "number")} for row in toy.rows(256)]
    kinds = {"image": "image", "label": "label", "number": "number"}
    return Table.from_rows(rows, kinds, holdout=0.1).add_views("image | image[size=7]")


def raw(table: Table, formula: str) -> Model:
    """A model that has learned nothing."""
    return Model(formula, table.columns, width=32, depth=1)


def trained(model: Model, table: Table, steps: int) -> Model:
    plan = Plan(
        steps=steps,
        batch=32,
        lr=4e-3,
        muon_lr=0.03,
        warmup=20,
        source_dropout=0.1,
        precision="float32",
        save_seconds=1e9,
    )
    for _ in train(model, table, plan):
        pass
    return model.eval()


@pytest.fixture(scope="module")
def cascade(table: Table) -> Pipeline:
    """A small picture of a label, and a larger one of the small one, which may be noisy."""
    small = Model("image[size=7] | label", table.columns, width=64, depth=1)
    large = Model("image | image[size=7]", table.columns, width=64, depth=1, source_noise=0.8)
    return Pipeline({"small": trained(small, table, 150), "large": trained(large, table, 150)})


def test_a_cascade_draws_what_was_asked(cascade: Pipeline) -> None:
    assert str(cascade.formula) == "image | label" and list(cascade.columns) == ["image", "label"]
    things = [i % 4 for i in range(40)]
    drawn = cascade.sample([{"label": str(t)} for t in things])
    assert toy.agreement(things, "image", drawn) > 0.9
    assert drawn[0]["image[size=7]"].size == (7, 7) and drawn[0]["image"].size == (10, 10)
    first = cascade.links["small"].sample([{"label": str(t)} for t in things])  # as it draws by itself
    assert first[7]["image[size=7]"].tobytes() == drawn[7]["image[size=7]"].tobytes()
    part = cascade.sample([{"label": str(things[7])}], indices=[7])
    assert part[0]["image"].tobytes() == drawn[7]["image"].tobytes()
    one = cascade.given(label="0").sample(1)
    assert one[0]["image"].tobytes() == drawn[0]["image"].tobytes()


def test_knobs_are_for_all_links_or_for_one(cascade: Pipeline) -> None:
    rows = [{"label": "2"}]

    def pair(**sampling_options) -> tuple[bytes, bytes]:
        row = cascade.sample(rows, **sampling_options)[0]
        return row["image[size=7]"].tobytes(), row["image"].tobytes()

    plain, last, both = pair(), pair(large={"steps": 3}), pair(steps=3)
    assert plain[0] == last[0] and plain[1] != last[1] and both[0] != plain[0]
    with pytest.raises(
        ValueError, match="unknown sampling option of this pipeline 'stepz': did you mean 'steps'"
    ):
        cascade.sample(rows, stepz=3)
    with pytest.raises(ValueError, match="unknown sampling option of the link large 'stepz'"):
        cascade.sample(rows, large={"stepz": 3})
    square = toy.rows(2)[1]["image"]  # the small picture is known: of another label than asked
    drawn = cascade.sample([{"label": "2"}] * 8, known={"image[size=7]": square})
    assert toy.agreement([1] * 8, "image", drawn) == 1
    with pytest.raises(ValueError, match="unknown target 'imgae': did you mean 'image'"):
        cascade.sample(rows, known={"imgae": square})
    with pytest.raises(ValueError, match="unknown column 'lable': did you mean 'label'"):
        cascade.given(lable="2")


def test_a_variation_starts_every_picture_of_a_cascade(cascade: Pipeline) -> None:
    square = toy.rows(2)[1]["image"]
    near = cascade.sample([{}] * 8, init=({"image": square}, 0.05))
    assert toy.agreement([1] * 8, "image", near) > 0.8
    small = cascade.links["small"].columns["image[size=7]"]
    other = cascade.sample([{"label": "2"}] * 8)

    def off(rows: list) -> float:
        given = small.encode(square)
        return float(np.mean([(small.encode(row["image[size=7]"]) - given).square().mean() for row in rows]))

    assert off(near) < 0.5 * off(other)
    plain, scratch = (
        cascade.sample([{"label": "2"}], **start)[0]["image"].tobytes()
        for start in ({}, {"init": ({"image": square}, 1.0)})
    )
    assert plain == scratch
    with pytest.raises(ValueError, match="unknown target 'imgae': did you mean 'image'"):
        cascade.sample([{}], init=({"imgae": square}, 0.5))
    with pytest.raises(ValueError, match="init needs a value"):
        cascade.links["small"].sample([{}], init=({}, 0.5))


def test_a_pipeline_interpolates_between_sources(cascade: Pipeline) -> None:
    rows = cascade.interpolate({"label": "0"}, {"label": "3"}, 5, seeds=(0, 4))
    for row, label, seed in ((rows[0], "0", 0), (rows[-1], "3", 4)):
        end = cascade.sample([{"label": label}], seed=seed)[0]
        for name in ("image[size=7]", "image"):
            assert abs(np.asarray(row[name], int) - np.asarray(end[name], int)).max() <= 1
    assert toy.seen(rows[0]["image"]) == 0 and toy.seen(rows[-1]["image"]) == 3
    with pytest.raises(ValueError, match="n must be a whole number from 2 to 10,000, not 1"):
        cascade.interpolate({"label": "0"}, {"label": "3"}, 1)


@pytest.mark.usefixtures("short_classifier")
def test_a_pipeline_is_one_folder_and_is_evaluated(cascade: Pipeline, table: Table, tmp_path: Path) -> None:
    cascade.save(tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "b")
    again = load(tmp_path / "b")
    assert isinstance(again, Pipeline) and list(again.links) == ["small", "large"]
    rows = [{"label": "3"}]
    assert again.sample(rows)[0]["image"].tobytes() == cascade.sample(rows)[0]["image"].tobytes()
    report = evaluate(again, table, n=20)
    assert any("KID" in line.name for line in report.results)
    assert all(line.name != "held-out loss" for line in report.results)
    with pytest.raises(RunError, match=r"holds no chain\.json"):
        Pipeline.load(tmp_path)


@pytest.mark.parametrize(
    "formulas, says",
    [
        (["image | label"], "two links or more"),
        (["image | image[size=7]", "image[size=7] | label"], "put b before a"),
        (["number | label", "image | label"], "no link after a reads its targets, number: b needs label"),
        (
            ["image[size=7] | label", "image, number | image[size=7]", "number | image"],
            "the links b and c both have the target number",
        ),
    ],
)
def test_links_that_do_not_fit_are_refused(table: Table, formulas: list[str], says: str) -> None:
    with pytest.raises(FormulaError, match=says):
        Pipeline({"abc"[i]: raw(table, formula) for i, formula in enumerate(formulas)})


def test_a_picture_is_read_at_the_size_that_the_next_link_knows(table: Table) -> None:
    pipeline = Pipeline({"a": raw(table, "image | label"), "b": raw(table, "number | image[size=7]")})
    assert pipeline.connections == {"a": {}, "b": {"image[size=7]": "image"}}
    assert str(pipeline.formula) == "number | label"
    assert isinstance(pipeline.sample([{"label": "1"}])[0]["number"], float)


@pytest.mark.usefixtures("short_classifier")
def test_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    toy.folder(tmp_path / "data", 40)
    small = ["--steps", "2", "--width", "32", "--depth", "1", "--batch", "8"]
    assert main(["train", "data", "image[size=7] | label", "--out", "runs/small", *small]) == 0
    assert main(["train", "data", "image | image[size=7]", "--out", "runs/large", *small]) == 0
    assert main(["chain", "runs/large", "runs/small", "--out", "system"]) == 1
    assert "put small before large" in capsys.readouterr().err
    assert main(["chain", "runs/small", "runs/large", "--out", "system"]) == 0
    assert "P(image | label)" in capsys.readouterr().out
    assert main(["sample", "system", "--given", "label=1", "-n", "2", "--steps", "2", "--out", "x.png"]) == 0
    assert main(["evaluate", "system", "--n", "4", "--steps", "2"]) == 0
    assert main(["sample", "runs/large", "--given", "image[size=7]=x.png", "--out", "y.png"]) == 0
    few = ["--given", "label=1", "-n", "2", "--steps", "2"]
    whole = np.asarray(PIL.Image.open("data/3.png"))
    assert main(["infill", "system", "data/3.png", "--box", "5,0,10,10", *few, "--out", "filled/"]) == 0
    files = sorted((tmp_path / "filled").glob("*.png"))
    assert len(files) == 2 and all(
        (np.asarray(PIL.Image.open(f))[:, :5] == whole[:, :5]).all() for f in files
    )
    assert main(["vary", "system", "data/3.png", *few, "--out", "varied/"]) == 0
    line = json.loads((tmp_path / "varied" / "samples.jsonl").read_text().splitlines()[0])["likewise"]
    assert line["strength"] == 0.5 and line["sources"] == {"label": "1"}
    assert (
        main(["interpolate", "system", "--from", "label=0", "--to", "label=3", "-n", "3", "--steps", "2"])
        == 0
    )
    capsys.readouterr()
    assert main(["infill", "system", "data/3.png"]) == 1
    assert "data/3.png has no hole" in capsys.readouterr().err
    assert main(["vary", "system", "none.png"]) == 1
    assert "none.png: no such file or directory; name a file" in capsys.readouterr().err
    text = (tmp_path / "system" / "chain.json").read_text()
    (tmp_path / "system" / "chain.json").write_text('{"format": 1}')
    assert main(["sample", "system"]) == 1
    assert "chain.json is damaged (it lacks 'formula')" in capsys.readouterr().err
    (tmp_path / "system" / "chain.json").write_text(text)
    assert main(["chain", "runs/small", "runs/large", "--out", "system"]) == 1
    assert "holds a model already" in capsys.readouterr().err


def test_noise_on_small_pictures_is_learned_and_can_be_asked_for(cascade: Pipeline, table: Table) -> None:
    with pytest.raises(ValueError, match="there is none; leave it out"):
        Model("image | label", table.columns, width=32, depth=1, source_noise=0.5)
    model = cascade.links["large"]
    rows = [{"image[size=7]": row["image"]} for row in toy.rows(40, seed=1)]
    things = [i % 4 for i in range(40)]
    assert toy.agreement(things, "image", model.sample(rows)) > 0.9
    assert toy.agreement(things, "image", model.sample(rows, source_noise=0.2)) > 0.9
    assert toy.agreement(things, "image", model.sample(rows, source_noise=0.8)) < 0.9  # it is put on for real
    with pytest.raises(ValueError, match=r"at most 0\.8 in training, not 0\.9"):
        model.sample(rows, source_noise=0.9)
    scores = model.log_prob(
        [{**row, "image": full["image"]} for row, full in zip(rows, toy.rows(40, seed=1), strict=True)],
        draws=4,
    )
    assert bool(scores.nats.isfinite().all())


@pytest.fixture(scope="module")
def with_embedding(table: Table) -> Pipeline:
    """An embedding of a label, and a picture of the embedding, with random weights."""
    clip = Model("image, label", table.columns, "contrastive", width=16, depth=1)
    seen = table.add_views("image | image@clip", clip=clip)
    links = {"prior": raw(seen, "image@clip | label"), "decoder": raw(seen, "image | image@clip")}
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():  # so that a picture depends on the embedding
        for weight in links["decoder"].family.parameters():
            weight += 0.05 * torch.randn(weight.shape, generator=generator)
    return Pipeline(links)


def test_a_row_of_a_pipeline_has_every_column_that_it_was_sampled_through(with_embedding: Pipeline) -> None:
    picture, other = toy.rows(2)[0]["image"], toy.rows(2)[1]["image"]
    column = with_embedding.target_columns["image@clip"]
    vector = column.encode(picture).flatten().numpy()
    few: dict[str, Any] = {"steps": 2}
    start = ({"image": picture}, 0.5)
    sampled = with_embedding.sample([{"label": "1"}], **few)[0]
    varied = with_embedding.sample([{"label": "1"}, {}], init=start, **few)
    assert sampled.keys() == varied[0].keys() == {"label", "image", "image@clip"}
    for row in varied:
        assert type(row["image@clip"]) is type(sampled["image@clip"]) is np.ndarray
        assert np.allclose(row["image@clip"], vector, atol=1e-5)
    # what is given counts more than what an init has: in a row, as known, and beside others in one batch
    here = with_embedding.sample([{"image@clip": other}], init=start, **few)[0]
    known = with_embedding.sample([{}], known={"image@clip": other}, init=start, **few)[0]
    assert here["image@clip"] is other and known["image@clip"] is other
    assert here["image"].tobytes() == known["image"].tobytes() != varied[0]["image"].tobytes()
    both = with_embedding.sample([{}, {"image@clip": other}, {"image@clip": vector}], init=start, **few)
    assert (
        both[1]["image"].tobytes()
        == with_embedding.sample([{"image@clip": other}], init=start, indices=[1], **few)[0][
            "image"
        ].tobytes()
    )
    assert all(row.keys() >= {"image@clip", "image"} for row in both)


@pytest.mark.usefixtures("short_classifier")
def test_an_embedding_is_drawn_given_and_chained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    toy.folder(tmp_path / "data", 40)
    small = ["--steps", "2", "--width", "32", "--depth", "1", "--batch", "8"]
    assert (
        main(["train", "data", "image, label", "--family", "contrastive", "--out", "runs/clip", *small]) == 0
    )
    assert main(["train", "data", "image@clip | label", "--out", "runs/prior", *small]) == 0
    assert main(["train", "data", "image | image@clip", "--out", "runs/decoder", *small]) == 0
    assert "--given image@clip=image.png" in capsys.readouterr().out
    assert main(["chain", "runs/prior", "runs/decoder", "--out", "system"]) == 0
    assert main(["sample", "system", "--given", "label=1", "-n", "1", "--out", "x.png"]) == 0
    assert main(["sample", "runs/decoder", "--given", "image@clip=x.png", "--out", "y.png"]) == 0
    assert main(["vary", "system", "x.png", "-n", "2", "--steps", "2", "--out", "varied/"]) == 0
    line = json.loads((tmp_path / "varied" / "samples.jsonl").read_text().splitlines()[0])["likewise"]
    assert line["strength"] == 1 and line["sources"] == {}  # the embedding says what to draw
    assert main(["vary", "runs/decoder", "x.png", "-n", "1", "--steps", "2", "--out", "v2/"]) == 0
    line = json.loads((tmp_path / "v2" / "samples.jsonl").read_text())["likewise"]
    assert line["strength"] == 1 and line["sources"] == {"image@clip": "x.png"}
    assert main(["infill", "system", "--known", "image@clip=x.png", "-n", "1", "--out", "w.png"]) == 0
    capsys.readouterr()
    for words in (["--given", "label=1"], ["--negative", "label=1"]):
        assert main(["vary", "system", "x.png", *words]) == 1
        assert (
            "label has no effect on a variation: it is read to sample image@clip" in capsys.readouterr().err
        )
    (tmp_path / "bad.json").write_text('{"a": 1}')
    assert main(["sample", "runs/decoder", "--given", "image@clip=bad.json"]) == 1
    assert "bad.json: a vector is written as a list of numbers" in capsys.readouterr().err
    (tmp_path / "bad.json").write_text("[1, 2, 3]")
    assert main(["sample", "runs/decoder", "--given", "image@clip=bad.json"]) == 1
    assert "an array of (3,) instead of a vector of 64 numbers" in capsys.readouterr().err
    assert main(["chain", "runs/clip", "runs/decoder", "--out", "odd"]) == 1
    assert "the family contrastive draws nothing" in capsys.readouterr().err
    assert main(["chain", "system", "runs/decoder", "--out", "odd"]) == 1
    assert (
        "system is a pipeline, and a single model is needed here; name a link: system/links/prior"
        in capsys.readouterr().err
    )
    assert main(["evaluate", "system", "--clip", "runs/clip", "--n", "4", "--steps", "2"]) == 0
    assert "image, label: CLIP score" in capsys.readouterr().out
    assert main(["evaluate", "system", "--clip", "runs/prior", "--n", "4"]) == 1
    assert "the family flow has no embedding; train one of the family contrastive" in capsys.readouterr().err
    assert main(["sample", "runs/prior", "--given", "label=1", "-n", "1"]) == 0
    vector = json.loads(capsys.readouterr().out)["image@clip"]
    (tmp_path / "v.json").write_text(json.dumps(vector))
    assert len(vector) == 64
    assert main(["sample", "runs/decoder", "--given", "image@clip=v.json", "--out", "z.png"]) == 0
    assert (
        main(
            [
                "train",
                "data",
                "image, label",
                "--family",
                "contrastive",
                "--out",
                "runs/other/clip",
                "--seed",
                "1",
                *small,
            ]
        )
        == 0
    )
    assert (
        main(
            [
                "train",
                "data",
                "image | image@clip",
                "--view",
                "clip=runs/other/clip",
                "--out",
                "runs/odd",
                *small,
            ]
        )
        == 0
    )
    assert main(["chain", "runs/prior", "runs/odd", "--out", "odd"]) == 1
    assert "codes of another; train both links with the same one" in capsys.readouterr().err
