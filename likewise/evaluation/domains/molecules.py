"""Molecules as SMILES, by RDKit."""

from __future__ import annotations

from collections.abc import Sequence

from likewise.evaluation.domains.base import DomainCheck, Row, import_tool


class Molecules(DomainCheck):
    """Parsed and sanitised; two are the same if their canonical SMILES are."""

    criterion = "RDKit reads it as a molecule with possible valences"

    def __init__(self, column: str, train: Sequence[str]) -> None:
        super().__init__(column, train)
        self.chem = import_tool("rdkit.Chem", "molecules")
        self.base = import_tool("rdkit.rdBase", "molecules")

    def valid(self, row: Row) -> bool:
        return self._canonical(row[self.column]) is not None

    def key(self, text: str) -> str:
        return self._canonical(text) or text

    def _canonical(self, text: str) -> str | None:
        with self.base.BlockLogs():
            molecule = self.chem.MolFromSmiles(text) if text.strip() else None
            return None if molecule is None else self.chem.MolToSmiles(molecule)
