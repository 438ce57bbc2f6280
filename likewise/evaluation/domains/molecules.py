"""TODO evaluation.domains.molecules."""

from __future__ import annotations

from collections.abc import Sequence

from likewise.evaluation.domains.base import DomainCheck, Row, import_tool


class Molecules(DomainCheck):
    """SMILES, by RDKit; two are the same if their canonical SMILES is."""

    what = "RDKit reads it as a molecule, with valences that there are"

    def __init__(self, column: str, train: Sequence[str]) -> None:
        super().__init__(column, train)
        self.chem, self.base = (
            import_tool("rdkit.Chem", "molecules"),
            import_tool("rdkit.rdBase", "molecules"),
        )

    def valid(self, row: Row) -> bool:
        return self._canonical(row[self.column]) is not None

    def key(self, text: str) -> str:
        return self._canonical(text) or text

    def _canonical(self, text: str) -> str | None:
        with self.base.BlockLogs():
            found = self.chem.MolFromSmiles(text) if text.strip() else None
            return None if found is None else self.chem.MolToSmiles(found)
