"""Data: what there is to learn, the check of every row, and formulas while they are typed."""

from __future__ import annotations

import inspect
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from likewise.core.options import validate_options
from likewise.data.datasets import DATASETS
from likewise.modalities import KINDS
from likewise.server.data.formulas import check_formula
from likewise.server.http.bodies import StrictBody
from likewise.server.http.errors import invalid, not_found
from likewise.server.limits import MAX_LISTED, MAX_NAME, MAX_PATTERN
from likewise.server.server import CurrentServer
from likewise.server.services import CurrentServices
from likewise.server.training.answers import DataList, DataReport, FormulaAnswer
from likewise.server.training.options import data_parameters
from likewise.server.training.request import view_names

router = APIRouter(prefix="/v1", tags=["data"])
MAX_CHECKED_COLUMNS = 20_000


class CheckBody(StrictBody):
    """POST /v1/data/check: an upload or a data set by name, and how it is read."""

    file_id: Annotated[str, Field(min_length=1, max_length=MAX_NAME)] | None = None
    name: Annotated[str, Field(min_length=1, max_length=MAX_NAME)] | None = None
    kinds: dict[str, str] = Field(
        default={}, description="column -> kind, where the inferred one is to be overridden"
    )
    options: dict[str, Any] = Field(default={}, description="options of the data, as of a training")


class FormulaBody(StrictBody):
    """POST /v1/formulas/check."""

    formula: Annotated[str, Field(max_length=MAX_PATTERN)]
    columns: Annotated[dict[str, str], Field(max_length=MAX_CHECKED_COLUMNS)] = Field(
        default={}, description="of the data: name -> kind"
    )
    cursor: Annotated[int, Field(ge=0, le=MAX_PATTERN)] | None = Field(
        default=None, description="where the next letter is typed, by default at the end"
    )


@router.get("/data", response_model=DataList)
def list_data(server: CurrentServer) -> dict[str, Any]:
    """Data sets that come with the package, and uploads."""
    bundled = [
        {
            "id": name,
            "object": "data",
            "name": name,
            "kind": "bundled",
            "description": inspect.getdoc(function).partition("\n")[0],  # type: ignore[union-attr]
            "bytes": None,
            "created_at": None,
        }
        for name, function in DATASETS.items()
    ]
    files, _ = server.store.files(limit=MAX_LISTED, purpose="fine-tune")
    uploads = [
        {
            "id": file.id,
            "object": "data",
            "name": file.name or file.id,
            "kind": "upload",
            "description": f"{file.bytes:,} bytes",
            "bytes": file.bytes,
            "created_at": int(file.created),
        }
        for file in files
    ]
    return {"object": "list", "data": [*uploads, *bundled]}


@router.post("/data/check", response_model=DataReport)
async def check_data(body: CheckBody, services: CurrentServices) -> dict[str, Any]:
    """Read a data set and check every row: columns and their kinds, rows that cannot be used, and some rows."""
    if (body.file_id is None) == (body.name is None):
        raise invalid("give file_id, of an upload, or name, of a data set", "file_id")
    param = "name" if body.file_id is None else "file_id"
    id = body.name if body.file_id is None else body.file_id
    assert id is not None
    if body.name is not None and body.name not in DATASETS:
        raise not_found("data set", body.name, list(DATASETS), "name")
    if body.file_id is not None:
        services.data.file(body.file_id, "file_id")
    for column, kind in body.kinds.items():
        if kind not in KINDS:
            known = ", ".join(KINDS)
            raise invalid(
                f"there is no kind of column {kind[:100]!r}; write one of {known}", f"kinds.{column[:100]}"
            )
    options = _table_options(body)
    report = await services.data.check(id, options, param)
    return {"object": "data.report", "id": id, "name": services.data.name(id), **report}


def _table_options(body: CheckBody) -> dict[str, Any]:
    """The keywords of `Table.open`."""
    of_columns, of_table = data_parameters()
    try:
        options = validate_options(body.options, {**of_columns, **of_table}, "option")
    except ValueError as error:
        raise invalid(error, "options") from None
    found: dict[str, Any] = {n: v for n, v in options.items() if n in of_table and v is not None}
    found.pop("skip_bad", None)  # they are listed
    columns = {name: value for name, value in options.items() if name in of_columns}
    return {
        **found,
        **({"kinds": body.kinds} if body.kinds else {}),
        **({"options": columns} if columns else {}),
    }


@router.post("/formulas/check", response_model=FormulaAnswer)
def check_typed_formula(body: FormulaBody, server: CurrentServer) -> dict[str, Any]:
    """Whether a formula can be read and fits the columns, what it means, and how its last word may go on."""
    return check_formula(body.formula, body.columns, lambda: view_names(server.registry), body.cursor)
