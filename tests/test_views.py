"""Views: a column fitted with options, or seen through a trained model, is a column like any other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import toy

from likewise.cli.main import main
from likewise.core.formula import FormulaError
from likewise.data.table import Table
from likewise.evaluation.evaluator import evaluate
from likewise.modalities.latent import Latent
from likewise.models.checkpoint import RunError
from likewise.models.model import Model
from likewise.training.loss import heldout_loss

CODER = {"width": 32, "codec_depth": 1, "depth": 1, "max_grid": 4, "code_dim": 4}


@pytest.fixture(scope="module")
def table() -> Table:
    return held_out_rows()


@pytest.fixture(scope="module")
def codes(table: Table) -> Model:
    """An autoencoder of pictures alone."""
    return toy.trained(Model("image", table.columns, "autoencoder", **CODER), table, 200, batch=32)


def held_out_rows() -> Table:
    """The toy world without its texts, which are too few to hold any out."""
    rows = [{n: row[n] for n in ("image", "label", "number")} for row in toy.rows(256)]
    return Table.from_rows(rows, {"image": "image", "label": "label", "number": "number"}, holdout=0.1)


# ---- options


def test_a_view_with_options_is_the_column_fitted_with_them(table: Table) -> None:
    seen = table.add_views("image | image[size=5]")
    assert seen.columns["image[size=5]"].spec.grid == (5, 5) and seen.columns["image"].spec.grid == (10, 10)
    assert seen.kinds["image[size=5]"] == "image" and "image[size=5]" not in table.kinds
    batch = next(seen.train.batches(["image", "image[size=5]"], 8))
    assert batch["image"].shape == (8, 100, 1) and batch["image[size=5]"].shape == (8, 25, 1)
    small = batch["image"].view(8, 5, 2, 5, 2).mean((2, 4)).flatten()  # the same rows: means of 2 x 2
    assert np.corrcoef(small, batch["image[size=5]"].flatten())[0, 1] > 0.95
    assert seen.fingerprint == table.fingerprint and len(seen.test) == len(table.test)


def test_what_cannot_be_seen_is_said(table: Table, codes: Model) -> None:
    with pytest.raises(FormulaError, match="did you mean 'size'"):
        table.add_views("image[siez=5]")
    with pytest.raises(FormulaError, match="did you mean 'image'"):
        table.add_views("imgae[size=5]")
    with pytest.raises(FormulaError, match="unknown model to see through 'codez': did you mean 'codes'"):
        table.add_views("image@codez", codes=codes)
    with pytest.raises(FormulaError, match="has no options"):
        table.add_views("image@codes[size=5]", codes=codes)
    with pytest.raises(FormulaError, match=r"table\.add_views"):
        Model("image[size=5]", table.columns)
    with pytest.raises(ValueError, match="no such target"):
        table.add_views("number@codes", codes=codes)
    flow = Model("image", table.columns, width=32, depth=1)
    with pytest.raises(ValueError, match="family flow, which has no codes"):
        table.add_views("image@codes", codes=flow)
    both = Model("image, label", table.columns, "autoencoder", **CODER)
    with pytest.raises(ValueError, match="train one of image alone"):
        table.add_views("image@codes", codes=both)


def test_only_keeps_its_rows_when_seen(table: Table) -> None:
    few = table.subset_train(range(10)).add_views("image[size=5]")
    assert len(few.train) == 10 and "image[size=5]" in few.train.columns


# ---- through a model


@pytest.mark.parametrize(
    "family, options, spec",
    [
        ("autoencoder", {}, ((3, 3), 4, False)),
        ("autoencoder", {"bottleneck": "fsq"}, ((3, 3), 1, True)),
        ("autoencoder", {"bottleneck": "rvq", "num_codebooks": 2, "codebook_size": 16}, ((3, 3, 2), 1, True)),
        ("vae", {"latent_dim": 6}, ((1,), 6, False)),
    ],
)
def test_the_shape_of_codes(table: Table, family: str, options: dict, spec: tuple) -> None:
    given = CODER if family == "autoencoder" else {"width": 32}
    coder = Model("image", table.columns, family, **{**given, **options})
    column = table.add_views("image@z", z=coder).columns["image@z"]
    assert (column.spec.grid, column.spec.width, bool(column.spec.classes)) == spec
    tokens = column.encode_all([row["image"] for row in toy.rows(3)])
    assert tokens.shape[1] == column.spec.tokens
    assert tokens.dtype == (torch.int64 if column.spec.classes else torch.float32)
    assert column.decode(tokens[0]).size == (10, 10)


def test_codes_are_scaled_and_come_back(table: Table, codes: Model) -> None:
    seen = table.add_views("image@codes", codes=codes)
    tokens = seen.train.encoded("image@codes")
    assert tokens.mean((0, 1)).abs().max() < 0.05 and (tokens.std((0, 1)) - 1).abs().max() < 0.05
    column = seen.columns["image@codes"]
    back = column.decode_all(tokens[:40])
    truth = [int(label) for label in seen.train.column("label")[:40]]
    assert np.mean([toy.seen(image) == thing for image, thing in zip(back, truth, strict=True)]) > 0.9


def test_a_flow_in_the_codes_learns_and_moves_as_one_folder(
    table: Table, codes: Model, tmp_path: Path
) -> None:
    seen = table.add_views("image@codes | label", codes=codes)
    model = toy.trained(Model("image@codes | label", seen.columns, width=64, depth=2), table, 150)
    things = [i % 4 for i in range(40)]
    drawn = model.sample([{"label": str(t)} for t in things])
    assert toy.agreement(things, "image", [{"image": row["image@codes"]} for row in drawn]) > 0.9
    model.save(tmp_path / "run")
    (tmp_path / "run").rename(tmp_path / "moved")
    again = Model.load(tmp_path / "moved").sample([{"label": str(t)} for t in things])
    assert all(
        a["image@codes"].tobytes() == b["image@codes"].tobytes() for a, b in zip(drawn, again, strict=True)
    )
    (tmp_path / "moved" / "views" / "codes").rename(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="lacks views/codes"):
        Model.load(tmp_path / "moved")


def test_known_pixels_of_a_latent_come_back_exactly(table: Table, codes: Model) -> None:
    seen = table.add_views("image@codes | label", codes=codes)
    model = toy.trained(Model("image@codes | label", seen.columns, width=32, depth=1, infill=0.5), table, 10)
    row = toy.rows(4)[1]  # a square in the upper right corner
    mask = torch.zeros(10, 10, dtype=torch.bool)
    mask[:, :6] = True
    for label in ("1", "3"):
        drawn = model.sample([{"label": label}] * 20, known={"image@codes": (row["image"], mask)})
        for image in (other["image@codes"] for other in drawn):
            assert np.array_equal(np.asarray(image)[:, :6], np.asarray(row["image"])[:, :6])
    whole = model.sample([{"label": "3"}], known={"image@codes": row["image"]})[0]["image@codes"]
    assert np.array_equal(np.asarray(whole), np.asarray(row["image"]))
    with pytest.raises(ValueError, match="the mask has 7 places, the column 100"):
        model.sample([{}], known={"image@codes": (row["image"], mask.flatten()[:7])})


def test_a_code_holds_if_all_under_it_does(table: Table, codes: Model) -> None:
    column = table.add_views("image@codes", codes=codes).columns["image@codes"]
    mask = torch.ones(10, 10, dtype=torch.bool)
    mask[0, 9] = False
    assert column.token_mask(mask).view(3, 3).tolist() == [[True, True, False], [True] * 3, [True] * 3]
    assert torch.equal(column.token_mask(torch.ones(9, dtype=torch.bool)), torch.ones(9, dtype=torch.bool))


@pytest.mark.usefixtures("short_classifier")
def test_a_latent_model_is_judged_by_its_pictures(table: Table, codes: Model) -> None:
    seen = table.add_views("image@codes | label", codes=codes)
    model = Model("image@codes | label", seen.columns, width=32, depth=1)
    assert heldout_loss(model, table) == heldout_loss(model, seen)  # it sees by itself
    report = evaluate(model, table, n=20)
    assert any("one of codes, not of values" in note for note in report.notes)
    assert any("KID" in line.name for line in report.results)


@pytest.mark.full
def test_codes_may_be_a_source_and_two_models_may_have_one_name(table: Table, codes: Model) -> None:
    seen = table.add_views("label | image@codes", codes=codes)
    model = toy.trained(
        Model("label | image@codes", seen.columns, "autoregressive", width=64, depth=2), table, 250
    )
    rows = [table.test[i] for i in range(len(table.test))]
    drawn = model.sample([{"image@codes": row["image"]} for row in rows])
    assert np.mean([a["label"] == b["label"] for a, b in zip(drawn, rows, strict=True)]) > 0.8
    other = Model("image", table.columns, "vae", width=32, latent_dim=5)
    assert seen.add_views("image@codes", codes=other).columns["image@codes"].spec.width == 5
    assert isinstance(seen.columns["image@codes"], Latent) and seen.columns["image@codes"].spec.width == 4


# ---- the command line


def test_train_finds_runs_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    toy.folder(tmp_path / "data", 40)
    assert main(["train", "data", "image@codes | label", "--steps", "2"]) == 1
    assert "train one there" in capsys.readouterr().err
    small = ["--steps", "2", "--width", "32", "--depth", "1", "--batch", "8"]
    assert main(["train", "data", "image", "--family", "autoencoder", "--out", "runs/codes", *small]) == 0
    assert main(["train", "data", "image@codes | label", "--out", "runs/latent", *small]) == 0
    assert (
        main(["train", "data", "image@z | label", "--view", "z=runs/codes", "--out", "runs/other", *small])
        == 0
    )
    assert main(["train", "--resume", "--out", "runs/latent", "--steps", "3"]) == 0
    assert main(["sample", "runs/latent", "--given", "label=1", "-n", "2", "--out", "x.png"]) == 0
    assert (tmp_path / "x.png").exists()
    assert main(["train", "data", "image@z | label", "--view", "y=runs/codes"]) == 1
    assert "--view y: unknown view 'y'" in capsys.readouterr().err
