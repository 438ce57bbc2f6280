"""Constraints on sampled texts, as masks of ids (Willard & Louf, 2023, "guided generation").

Legend: B rows, K ids of a column, T its length, A the ids after which the text can still be completed.

    q(x_i | x_<i) = p(x_i | x_<i) [x_i in A(x_<i)] / sum_k p(k | x_<i) [k in A(x_<i)]                    (1)

A is computed by llguidance (M. Moskal et al., 2025), from a JSON schema, a regular expression, choices or a
grammar. The end is in A exactly where the text is complete. A row that reaches T without an end goes back to a
position from which the rest fits, and is completed from there in few bytes: every sampled text is valid.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor

from likewise.core.errors import RequestWarning, did_you_mean
from likewise.generation.sequence.completion import shortest_completion
from likewise.generation.sequence.json_schema import check_schema

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

CONSTRAINT_KINDS = ("json", "regex", "choice", "grammar")


@dataclass(frozen=True)
class Constraint:
    """A set of texts.

    kind     of KINDS
    written  as it was given
    source   the same for llguidance

    >>> Constraint.regex("[0-9]{4}").written
    '[0-9]{4}'
    """

    kind: str
    written: str
    source: str

    @classmethod
    def parse(cls, kind: str, written: str) -> Self:
        """As the command line has it: a JSON schema or its file, a regex, a,b,c, the file of a grammar.

        Raises ValueError, OSError.
        """
        if kind not in CONSTRAINT_KINDS:
            raise ValueError(did_you_mean("kind of constraint", kind, CONSTRAINT_KINDS))
        if kind == "choice":
            return cls.choice(written.split(","))
        if kind == "regex":
            return cls.regex(written)
        if kind == "json":
            return cls.json(written if written.lstrip().startswith("{") else Path(written))
        return cls.grammar(Path(written))

    @classmethod
    def json(cls, schema: Mapping[str, Any] | bool | str | Path) -> Self:
        """JSON that a schema allows: the schema as a dictionary or as text, or the Path of its file.

        Properties are drawn in the order of the schema. Raises ValueError for what is no schema, for keywords
        that are unknown or not served, and for a schema that nothing satisfies.
        """
        if isinstance(schema, str | Path):
            try:
                schema = json.loads(schema.read_text() if isinstance(schema, Path) else schema)
            except ValueError as error:
                raise ValueError(f"the schema is not JSON: {error}") from None
        _llguidance()
        check_schema(schema)
        written = json.dumps(schema, ensure_ascii=False)
        return cls._checked("json", written, _llguidance().LLMatcher.grammar_from_json_schema(written))

    @classmethod
    def regex(cls, pattern: str) -> Self:
        """Texts that match all of a regular expression, without look-around. Raises ValueError."""
        return cls._checked("regex", pattern, _llguidance().LLMatcher.grammar_from_regex(pattern))

    @classmethod
    def choice(cls, texts: Sequence[str]) -> Self:
        """One of some texts. Raises ValueError for none."""
        if not texts or isinstance(texts, str):
            raise ValueError(f"choices are a list of texts, of one or more, not {texts!r}")
        pattern = "|".join(
            "".join(c if c.isascii() and c.isalnum() else f"\\x{{{ord(c):x}}}" for c in text)
            for text in texts
        )
        return cls._checked(
            "choice",
            json.dumps(list(texts), ensure_ascii=False),
            _llguidance().LLMatcher.grammar_from_regex(pattern),
        )

    @classmethod
    def grammar(cls, lark: str | Path) -> Self:
        """Texts of a context-free grammar in the notation of Lark, or of the Path of its file.

        Raises ValueError.
        """
        text = lark.read_text() if isinstance(lark, Path) else lark
        return cls._checked("grammar", text, _llguidance().LLMatcher.grammar_from_lark(text))

    @classmethod
    def _checked(cls, kind: str, written: str, source: str) -> Self:
        if reason := _llguidance().LLMatcher.validate_grammar(source):
            raise ValueError(_refused(kind, written, reason))
        return cls(kind, written, source)

    def bind(self, pieces: tuple[bytes, ...], length: int, opening: bytes = b"") -> TokenConstraint:
        """The constraint for ids: `pieces` are their bytes, id 0 the end; see Bound. Made once."""
        return _bound(self, pieces, length, opening)


class TokenConstraint:
    """A constraint on columns of `length` ids, which spell `opening` and then a text that obeys."""

    def __init__(
        self, constraint: Constraint, pieces: tuple[bytes, ...], length: int, opening: bytes
    ) -> None:
        """Raises ValueError if no text that obeys is found, or none of that length."""
        self.constraint, self.token_bytes, self.length, self.prefix = constraint, pieces, length, opening
        self.tokenizer = _tokenizer(pieces)
        self.matcher = _llguidance().LLMatcher(self.tokenizer, constraint.source, log_level=0)
        self.ids = {piece: i for i, piece in enumerate(pieces) if i}
        self.max_token_bytes = max(map(len, pieces))
        self.first = torch.tensor([i > 0 and self._opens(p) for i, p in enumerate(pieces)])
        self.first[0] = not opening and self.matcher.is_accepting()  # it may end before it begins
        self.known: dict[bytes, list[int]] = {}
        closing = shortest_completion(self.matcher, self.byte, self.known)
        what = _what(constraint.kind, constraint.written)
        if closing is None:
            raise ValueError(f"no text obeys {what}: none that ends was found")
        self.shortest = self.encode_bytes(opening + closing)
        if len(self.shortest) > length:
            raise ValueError(
                f"a text that obeys {what} takes some {len(self.shortest)} tokens, such as "
                f"{_short(closing.decode())!r}, and there is room for {length}; allow shorter "
                "texts, or train with --length"
            )

    def start(self, rows: int) -> ConstraintState:
        """So many rows at their start."""
        return ConstraintState(self, rows)

    def byte(self, value: int) -> int:
        """The id that spells one byte."""
        return self.ids[bytes([value])]

    def state(self, ids: Sequence[int]) -> LLMatcher:
        """After these ids, of which the first has the opening in it."""
        matcher = self.matcher.deep_copy()
        if ids:
            matcher.consume_tokens([self.byte(b) for b in self.token_bytes[ids[0]].removeprefix(self.prefix)])
            matcher.consume_tokens(list(ids[1:]))
        return matcher

    def closed(self, ids: Sequence[int]) -> list[int]:
        """A text as far as the rest still fits, and the rest: `shortest` where none is found that does."""
        known = dict(self.known)  # a row learns for itself: it does not depend on those before it
        place = len(ids)
        while place > 0:
            rest = shortest_completion(self.state(ids[:place]), self.byte, known)
            needs = self.length if rest is None else len(self.encode_bytes(rest))
            if rest is not None and place + needs <= self.length:
                return [*ids[:place], *self.encode_bytes(rest)]
            place = place // 2 if rest is None else min(place - 1, self.length - needs)
        return self.shortest

    def encode_bytes(self, text: bytes) -> list[int]:
        """The fewest ids that spell it."""
        best: list[list[int]] = [[]]
        for end in range(1, len(text) + 1):
            pieces = ((a, self.ids.get(text[a:end])) for a in range(max(0, end - self.max_token_bytes), end))
            best.append(min(([*best[a], i] for a, i in pieces if i is not None), key=len))
        return best[-1]

    def _opens(self, piece: bytes) -> bool:
        """Whether a text may begin with it: with all of the opening, and what may follow."""
        rest = [self.byte(b) for b in piece.removeprefix(self.prefix)]
        return piece.startswith(self.prefix) and self.matcher.validate_tokens(rest) == len(rest)


class ConstraintState:
    """Rows that are drawn under one constraint, a state each: ask `allowed`, draw, `push`; then `close`."""

    def __init__(self, bound: TokenConstraint, rows: int) -> None:
        self.bound = bound
        self.drawn: list[list[int]] = [[] for _ in range(rows)]
        self.states: list[LLMatcher | None] = [None] * rows  # None before the first id
        self.ended = [False] * rows
        self.complete = [False] * rows

    def allowed(self) -> Tensor:
        """(B, K) bool, of A in (1); of a row that has ended, the end alone."""
        size = len(self.bound.token_bytes)
        over = np.arange(size) == 0
        masks = [
            over if ended else self.bound.first.numpy() if state is None else _bits(state, size)
            for state, ended in zip(self.states, self.ended, strict=True)
        ]
        return torch.from_numpy(np.stack(masks))

    def push(self, ids: Tensor) -> None:
        """The ids that were drawn, (B,), each one of those allowed."""
        for row, token in enumerate(ids.tolist()):
            if self.ended[row]:
                continue
            if token:
                self.drawn[row].append(token)
                if (state := self.states[row]) is None:
                    state = self.states[row] = self.bound.state([token])
                else:
                    state.consume_token(token)
                # where the library gives a state up, the row is closed from an earlier one
                self.ended[row] = state.is_error() or len(self.drawn[row]) == self.bound.length
                self.complete[row] = self.ended[row] and not state.is_error() and state.is_accepting()
            else:
                self.ended[row] = True
                self.complete[row] = (state := self.states[row]) is None or not state.is_error()

    def close(self, out: Tensor) -> tuple[Tensor, bool]:
        """What was drawn, (B, T), with rows that had come to no end closed, and whether there are any.

        Warns of them.
        """
        cut = [row for row, complete in enumerate(self.complete) if not complete]
        if not cut:
            return out, False
        out = torch.nn.functional.pad(out, (0, self.bound.length - out.shape[1])).clone()
        for row in cut:
            ids = self.bound.closed(self.drawn[row])
            out[row] = torch.tensor(ids + [0] * (self.bound.length - len(ids)))
        warnings.warn(
            f"{len(cut)} of {len(out)} texts were not complete after {self.bound.length} tokens, "
            "and were closed in as few as their constraint allows",
            RequestWarning,
            stacklevel=2,
        )
        return out, True


def _bits(state: LLMatcher, size: int) -> np.ndarray:
    """The ids that may follow, (K,) bool; of a state that was given up, the end."""
    packed = np.frombuffer(state.compute_bitmask(), dtype=np.uint8)
    return np.unpackbits(packed, count=size, bitorder="little").astype(bool)


def _refused(kind: str, written: str, reason: str) -> str:
    """The sentence for a constraint that cannot be served, with the reason of the library."""
    lines = [line.strip() for line in reason.splitlines()]
    short = next((line.removeprefix("error: ") for line in lines if line.startswith("error: ")), lines[0])
    what = _what(kind, written)
    if short.startswith("Unsatisfiable"):
        return f"no text obeys {what}: {short.partition(': ')[2]}"
    return f"{what} cannot be served: {short}"


def _what(kind: str, written: str) -> str:
    return f"the {'JSON schema' if kind == 'json' else kind} {_short(written)}"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 60 else text[:57] + "..."


@lru_cache(maxsize=16)
def _bound(constraint: Constraint, pieces: tuple[bytes, ...], length: int, opening: bytes) -> TokenConstraint:
    return TokenConstraint(constraint, pieces, length, opening)


@lru_cache(maxsize=4)
def _tokenizer(pieces: tuple[bytes, ...]) -> LLTokenizer:
    """For llguidance: our ids, of which 0, the end, spells nothing."""
    library = _llguidance()
    return library.LLTokenizer(library.TokenizerWrapper(_Pieces(pieces)))


class _Pieces:
    """What llguidance asks of a tokenizer."""

    eos_token_id, bos_token_id, special_token_ids = 0, None, (0,)

    def __init__(self, pieces: tuple[bytes, ...]) -> None:
        self.tokens = [b"<end>", *pieces[1:]]
        self.ids = {piece: i for i, piece in enumerate(pieces)}

    def __call__(self, text: bytes) -> list[int]:
        return [self.ids[bytes([value])] for value in text]


def _llguidance() -> Any:
    """The library. Raises ValueError without it."""
    try:
        import llguidance
    except ImportError:
        raise ValueError('constraints need llguidance: pip install "likewise[constraints]"') from None
    return llguidance
