"""Structure of tables: identities, dependencies, missing values and orders that hold in all rows."""

from likewise.data.structure.expressions import Expression, ExpressionError
from likewise.data.structure.find import find_structure
from likewise.data.structure.requirements import read_requirement, require
from likewise.data.structure.rules import (
    Constant,
    Dependency,
    Identity,
    Order,
    Pattern,
    Presence,
    Requirement,
    Rule,
)
from likewise.data.structure.structure import RowRules, Structure

__all__ = [
    "Constant",
    "Dependency",
    "Expression",
    "ExpressionError",
    "Identity",
    "Order",
    "Pattern",
    "Presence",
    "Requirement",
    "RowRules",
    "Rule",
    "Structure",
    "find_structure",
    "read_requirement",
    "require",
]
