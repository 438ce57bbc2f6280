"""Samples that are drawn again, as they do not satisfy the rules of a model (rejection), and how many these are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from likewise.core.errors import warn
from likewise.data.structure import Requirement, RowRules, Rule
from likewise.modalities.base import Row
from likewise.models.sample_request import SampleRequest

FOUND_ATTEMPTS, REQUIRED_ATTEMPTS = (
    20,
    200,
)  # of a sample, for rules that were found and for those that are required
MAX_NAMED = 3  # rules in a message
SAID_SHARE = 0.001  # of the samples that are drawn again, below which nothing is said
Draw = Callable[[Sequence[SampleRequest]], list[Row | None]]


@dataclass
class Redraws:
    """Draws samples until they satisfy rules.

    rules  of the model
    """

    rules: RowRules
    drawn: int = 0
    rejected: int = 0
    by_rule: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)

    def sample(
        self, requests: Sequence[SampleRequest], rows: list[Row | None], draw: Draw
    ) -> list[Row | None]:
        """The rows of requests, in which those that are unfit are replaced by others.

        Raises ValueError where none of REQUIRED_ATTEMPTS samples satisfies what is required.
        """
        rows, attempts = list(rows), 0
        self.drawn += len(rows)
        while unfit := self._unfit(rows):
            attempts += 1
            if attempts > FOUND_ATTEMPTS:
                unfit = self._redraw_for_requirements(unfit, attempts)
                if not unfit:
                    break
            self._count(unfit.values())
            again = [replace(requests[i], attempt=requests[i].attempt + attempts) for i in unfit]
            for i, row in zip(unfit, draw(again), strict=True):
                rows[i] = row
        return rows

    def unique(
        self,
        requests: Sequence[SampleRequest],
        rows: list[Row],
        draw: Callable[[Sequence[SampleRequest]], list[Row]],
    ) -> list[Row]:
        """The rows, without values that are to be unique and occur again. Raises ValueError where they always do."""
        rows, attempts = list(rows), 0
        while places := self.rules.rows_to_repeat(rows):
            attempts += 1
            if attempts > REQUIRED_ATTEMPTS:
                raise ValueError(
                    f"{len(places):,} of {len(rows):,} samples repeat a value that is to be unique, also after "
                    f"{REQUIRED_ATTEMPTS} attempts; ask for fewer samples"
                )
            self.rejected += len(places)
            self.by_rule["a unique value"] += len(places)
            step = attempts * (REQUIRED_ATTEMPTS + 1)
            again = draw([replace(requests[i], attempt=requests[i].attempt + step) for i in places])
            for i, row in zip(places, again, strict=True):
                rows[i] = row
        return rows

    def _unfit(self, rows: Sequence[Row | None]) -> dict[int, list[Rule]]:
        places = [i for i, row in enumerate(rows) if row is not None]
        found = self.rules.unfit([row for row in rows if row is not None])
        return {i: rules for i, rules in zip(places, found, strict=True) if rules}

    def _redraw_for_requirements(self, unfit: dict[int, list[Rule]], attempts: int) -> dict[int, list[Rule]]:
        """Those with a rule that is required; of the others it is remembered that they are kept."""
        required = {i: rules for i, rules in unfit.items() if any(isinstance(r, Requirement) for r in rules)}
        if not required:
            self.kept.update(str(rule) for rules in unfit.values() for rule in rules)
        elif attempts > REQUIRED_ATTEMPTS:
            rules = next(iter(required.values()))
            raise ValueError(
                f"none of {REQUIRED_ATTEMPTS} samples satisfies {' and '.join(map(str, rules))} with what is given; "
                "require less, or give values that fit"
            )
        return required

    def _count(self, unfit: Iterable[Sequence[Rule]]) -> None:
        for rules in unfit:
            self.rejected += 1
            self.by_rule.update(map(str, rules))

    def warn(self) -> None:
        """Say how many samples were drawn again, and which are kept although they violate a rule."""
        if self.rejected > SAID_SHARE * self.drawn:
            total = self.drawn + self.rejected
            warn(
                f"{self.rejected:,} of {total:,} samples ({100 * self.rejected / total:.2g} %) were drawn again, as they did "
                f"not satisfy {_names(self.by_rule)}"
            )
        if self.kept:
            warn(
                f"{max(self.kept.values()):,} samples are kept that do not satisfy {_names(self.kept)}, also after "
                f"{FOUND_ATTEMPTS} attempts, with what is given"
            )


def _names(counts: Counter[str]) -> str:
    """The rules that are violated most often."""
    names = [name for name, _ in counts.most_common(MAX_NAMED)]
    return " or ".join(names) + (" or others" if len(counts) > MAX_NAMED else "")
