"""ColumnEncoder: the part of a model that turns values into tensors, codes and embeddings."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from likewise.core.batch import Context
from likewise.core.formula import Formula
from likewise.core.options import validated
from likewise.core.ranges import PositiveInt
from likewise.core.spec import Spec
from likewise.data.structure import RowRules, Structure
from likewise.families.base import Family
from likewise.families.capabilities import CanDecode, CanEmbed, CanEncode
from likewise.modalities.base import Modality, Row
from likewise.modalities.latent import Coder, Latent
from likewise.models.processor import RowProcessor


class ColumnEncoder(nn.Module):
    """The columns of a formula and a family that encodes them.

    It is a Coder (modalities/latent.py): columns of other models can be seen through it, as `image@codes`.
    """

    formula: Formula
    learned: Formula  # without the targets that are computed
    structure: Structure
    columns: dict[str, Modality]
    family: Family
    family_name: str

    @property
    def targets(self) -> list[str]:
        """The names of the targets."""
        return self.formula.target_names

    @property
    def sources(self) -> list[str]:
        """The names of the sources."""
        return self.formula.source_names

    @property
    def views(self) -> dict[str, Coder]:
        """The encoders that columns are seen through, by their names in the formula: `codes` of `image@codes`."""
        return {
            name: column.coder
            for view, column in self.columns.items()
            if isinstance(column, Latent) and (name := self.formula.view(view).through)
        }

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(itertools.chain(self.family.parameters(), self.family.buffers())).device

    @property
    def fingerprint(self) -> str:
        """A hash of the weights."""
        state = self.family.state_dict()
        parts = (
            f"{n} {v.dtype} {tuple(v.shape)}".encode()
            + v.cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
            for n, v in sorted(state.items())
        )
        return hashlib.sha256(b"".join(parts)).hexdigest()[:16]

    @property
    def processor(self) -> RowProcessor:
        """Converts rows to tensors of the family, and back."""
        rules = RowRules(self.structure, self.columns)
        return RowProcessor(self.learned, self.columns, self.device, rules)

    def encode(self, name: str, values: Sequence[Any]) -> Tensor:
        """Values of a column -> (B, T, C) or (B, T) on the model's device. Raises ValueError."""
        return self.processor.encode(name, values)

    def context(self, rows: Sequence[Row]) -> Context:
        """The encoded sources of rows; one that is missing or None is absent."""
        return self.processor.context(rows)

    # ---- embeddings

    @validated
    def embed(self, name: str, values: Sequence[Any] | Tensor, *, batch: PositiveInt = 256) -> Tensor:
        """Values of a target, or a tensor of encoded ones -> unit vectors (N, floats) on the CPU.

        Vectors of values that belong together are near each other. Raises ValueError if the family has no
        embedding, or none of this column.
        """
        family = self._embedding_family()
        self.processor.target(name)
        parts = (values[i : i + batch] for i in range(0, len(values), batch))
        encoded = (part if isinstance(part, Tensor) else self.encode(name, part) for part in parts)
        with torch.no_grad():
            return torch.cat([family.embed(name, x).cpu() for x in encoded])

    def require_embedding(self) -> None:
        """Raise ValueError unless the family has an embedding."""
        self._embedding_family()

    def _embedding_family(self) -> CanEmbed:
        if not isinstance(self.family, CanEmbed) or isinstance(self.family.embed, nn.Module):
            raise ValueError(
                f"the family {self.family_name} has no embedding; train one of the family contrastive"
            )
        return self.family

    # ---- codes

    @property
    def has_decoder(self) -> bool:
        """Whether codes can be decoded to values."""
        return isinstance(self.family, CanDecode)

    def view(self, column: str, values: Sequence[Any]) -> Latent:
        """The column as codes of this model, scaled by training values. Raises ValueError if it has none."""
        return Latent.fit(values, coder=self, column=column)

    def modality_of(self, column: str) -> Modality:
        """The modality of the target that is `column`, or a view of it. Raises ValueError if it has no codes."""
        return self.columns[self._encoder(column)[0]]

    def code_spec(self, column: str) -> Spec:
        """The shape of the codes of a column."""
        name, family = self._encoder(column)
        return family.code_spec(name)

    def to_codes(self, column: str, values: Sequence[Any]) -> Tensor:
        """Values of a column -> codes, (N, T, C) float32 or (N, T) int64."""
        name, family = self._encoder(column)
        return family.to_codes(name, self.encode(name, values)).cpu()

    def from_codes(self, column: str, codes: Tensor) -> list[Any]:
        """The inverse of `to_codes`. Raises ValueError if the family has no decoder."""
        name, _ = self._encoder(column)
        if not isinstance(self.family, CanDecode):
            raise ValueError(f"the family {self.family_name} has no decoder")
        return self.columns[name].decode_all(self.family.from_codes(name, codes.to(self.device)).cpu())

    def _encoder(self, column: str) -> tuple[str, CanEncode]:
        """The target that is `column`, or a view of it, and the family, which encodes it."""
        if not isinstance(self.family, CanEncode):
            raise ValueError(
                f"{column} cannot be seen through a model of the family {self.family_name}, "
                "which has no codes; train one of the family autoencoder, vae or contrastive"
            )
        for view in self.formula.targets:
            if view.column == column:
                return view.name, self.family
        raise ValueError(
            f"{column} cannot be seen through a model of P({self.formula}), which has no such target"
        )
