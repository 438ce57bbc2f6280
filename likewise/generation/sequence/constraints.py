"""Constraints on sampled texts, as masks of ids (Willard & Louf, 2023, "guided generation").

Legend: B rows, K ids of a column, T its length, A the ids after which the text can still be completed.

    q(x_i | x_<i) = p(x_i | x_<i) [x_i in A(x_<i)] / sum_k p(k | x_<i) [k in A(x_<i)]                    (1)

A is computed by llguidance (M. Moskal et al., 2025), from a JSON schema, a regular expression, choices or a
grammar. The end is in A exactly where the text is complete. A row that reaches T without an end goes back to a
position from which the rest fits, and is completed from there in few bytes: every sampled text is valid.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor

from likewise.core.errors import did_you_mean, warn
from likewise.core.option_names import option_text
from likewise.generation.sequence.completion import shortest_completion
from likewise.generation.sequence.json_schema import check_schema

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

CONSTRAINT_KINDS = ("json", "regex", "choice", "grammar")


@dataclass(frozen=True)
class Constraint:
    """A set of texts.

    kind    one of CONSTRAINT_KINDS
    text    the schema, pattern, choices or grammar
    source  the same in the form that llguidance reads

    >>> Constraint.regex("[0-9]{4}").text
    '[0-9]{4}'
    """

    kind: str
    text: str
    source: str

    @classmethod
    def parse(cls, kind: str, text: str) -> Self:
        """A constraint from a command line: a JSON schema or its file, a regex, a,b,c, the file of a grammar.

        Raises ValueError, OSError.
        """
        if kind not in CONSTRAINT_KINDS:
            raise ValueError(did_you_mean("kind of constraint", kind, CONSTRAINT_KINDS))
        if kind == "choice":
            return cls.choice(text.split(","))
        if kind == "regex":
            return cls.regex(text)
        if kind == "json":
            return cls.json(text if text.lstrip().startswith("{") else Path(text))
        return cls.grammar(Path(text))

    @classmethod
    def json(cls, schema: Mapping[str, Any] | bool | str | Path) -> Self:
        """JSON that a schema allows: the schema as a dictionary or as text, or the Path of its file.

        Properties are sampled in the order of the schema. Raises ValueError for an invalid schema, for keywords
        that are unknown or not supported, and for a schema that no text satisfies.
        """
        if isinstance(schema, str | Path):
            try:
                schema = json.loads(
                    schema.read_text(encoding="utf-8") if isinstance(schema, Path) else schema
                )
            except ValueError as error:
                raise ValueError(f"the schema is not JSON: {error}") from None
        _llguidance()
        check_schema(schema)
        text = json.dumps(schema, ensure_ascii=False)
        return cls._compile("json", text, _llguidance().LLMatcher.grammar_from_json_schema(text))

    @classmethod
    def regex(cls, pattern: str) -> Self:
        """Texts that match all of a regular expression, without look-around. Raises ValueError."""
        return cls._compile("regex", pattern, _llguidance().LLMatcher.grammar_from_regex(pattern))

    @classmethod
    def choice(cls, texts: Sequence[str]) -> Self:
        """One of some texts. Raises ValueError for none."""
        if not texts or isinstance(texts, str):
            raise ValueError(f"choices are a list of texts, of one or more, not {texts!r}")
        pattern = "|".join(
            "".join(c if c.isascii() and c.isalnum() else f"\\x{{{ord(c):x}}}" for c in text)
            for text in texts
        )
        return cls._compile(
            "choice",
            json.dumps(list(texts), ensure_ascii=False),
            _llguidance().LLMatcher.grammar_from_regex(pattern),
        )

    @classmethod
    def grammar(cls, lark: str | Path) -> Self:
        """Texts of a context-free grammar in the notation of Lark, or of the Path of its file.

        Raises ValueError.
        """
        text = lark.read_text(encoding="utf-8") if isinstance(lark, Path) else lark
        return cls._compile("grammar", text, _llguidance().LLMatcher.grammar_from_lark(text))

    @classmethod
    def _compile(cls, kind: str, text: str, source: str) -> Self:
        if reason := _llguidance().LLMatcher.validate_grammar(source):
            raise ValueError(_error_message(kind, text, reason))
        return cls(kind, text, source)

    def bind(self, token_bytes: tuple[bytes, ...], length: int, prefix: bytes = b"") -> TokenConstraint:
        """The constraint for the ids of a column, cached: see TokenConstraint."""
        return _token_constraint(self, token_bytes, length, prefix)


class TokenConstraint:
    """A constraint on columns of `length` ids, whose bytes are `prefix` and then a valid text.

    token_bytes  the bytes of each id; id 0 is the end
    """

    def __init__(
        self, constraint: Constraint, token_bytes: tuple[bytes, ...], length: int, prefix: bytes
    ) -> None:
        """Raises ValueError if no valid text is found, or none of that length."""
        self.constraint, self.token_bytes, self.length, self.prefix = constraint, token_bytes, length, prefix
        self.tokenizer = _tokenizer(token_bytes)
        self.matcher = _llguidance().LLMatcher(self.tokenizer, constraint.source, log_level=0)
        self.ids = {token: i for i, token in enumerate(token_bytes) if i}
        self.max_token_bytes = max(map(len, token_bytes))
        self.first = torch.tensor([i > 0 and self._may_begin(token) for i, token in enumerate(token_bytes)])
        self.first[0] = not prefix and self.matcher.is_accepting()  # the empty text
        self.byte_cache: dict[bytes, list[int]] = {}
        closing = shortest_completion(self.matcher, self.byte, self.byte_cache)
        what = _describe(constraint.kind, constraint.text)
        if closing is None:
            raise ValueError(f"no text satisfies {what}: none that ends was found")
        self.shortest = self.encode_bytes(prefix + closing)
        if len(self.shortest) > length:
            raise ValueError(
                f"a text that satisfies {what} takes some {len(self.shortest)} tokens, such as "
                f"{_short(closing.decode())!r}, and there is room for {length}; allow shorter "
                f"texts, or train with {option_text('length')}"
            )

    def start(self, rows: int) -> ConstraintState:
        """The state of `rows` rows before their first id."""
        return ConstraintState(self, rows)

    def byte(self, value: int) -> int:
        """The id that spells one byte."""
        return self.ids[bytes([value])]

    def state(self, ids: Sequence[int]) -> LLMatcher:
        """The matcher after these ids, of which the first contains the prefix."""
        matcher = self.matcher.deep_copy()
        if ids:
            matcher.consume_tokens([self.byte(b) for b in self.token_bytes[ids[0]].removeprefix(self.prefix)])
            matcher.consume_tokens(list(ids[1:]))
        return matcher

    def complete(self, ids: Sequence[int]) -> list[int]:
        """The longest beginning of a text that can be completed in the length, completed; else `shortest`."""
        cache = dict(self.byte_cache)  # a copy for each row, so that it does not depend on the rows before it
        place = len(ids)
        while place > 0:
            rest = shortest_completion(self.state(ids[:place]), self.byte, cache)
            needs = self.length if rest is None else len(self.encode_bytes(rest))
            if rest is not None and place + needs <= self.length:
                return [*ids[:place], *self.encode_bytes(rest)]
            place = place // 2 if rest is None else min(place - 1, self.length - needs)
        return self.shortest

    def encode_bytes(self, text: bytes) -> list[int]:
        """The fewest ids with these bytes."""
        best: list[list[int]] = [[]]
        for end in range(1, len(text) + 1):
            tokens = ((a, self.ids.get(text[a:end])) for a in range(max(0, end - self.max_token_bytes), end))
            best.append(min(([*best[a], i] for a, i in tokens if i is not None), key=len))
        return best[-1]

    def _may_begin(self, token: bytes) -> bool:
        """Whether a text may begin with a token: with all of the prefix, and bytes that may follow it."""
        rest = [self.byte(b) for b in token.removeprefix(self.prefix)]
        return token.startswith(self.prefix) and self.matcher.validate_tokens(rest) == len(rest)


class ConstraintState:
    """The states of rows under one constraint: sample from `allowed_ids`, `push` the samples; then `close`."""

    def __init__(self, constraint: TokenConstraint, rows: int) -> None:
        self.constraint = constraint
        self.ids: list[list[int]] = [[] for _ in range(rows)]
        self.states: list[LLMatcher | None] = [None] * rows  # None before the first id
        self.ended = [False] * rows
        self.complete = [False] * rows

    def allowed_ids(self) -> Tensor:
        """(B, K) bool, of A in (1); for a row that has ended, the end alone."""
        size = len(self.constraint.token_bytes)
        over = np.arange(size) == 0
        masks = [
            over if ended else self.constraint.first.numpy() if state is None else _bits(state, size)
            for state, ended in zip(self.states, self.ended, strict=True)
        ]
        return torch.from_numpy(np.stack(masks))

    def push(self, ids: Tensor) -> None:
        """The sampled ids, (B,), each one of those allowed."""
        for row, token in enumerate(ids.tolist()):
            if self.ended[row]:
                continue
            if token:
                self.ids[row].append(token)
                if (state := self.states[row]) is None:
                    state = self.states[row] = self.constraint.state([token])
                else:
                    state.consume_token(token)
                # where the library gives a state up, the row is completed from an earlier one
                self.ended[row] = state.is_error() or len(self.ids[row]) == self.constraint.length
                self.complete[row] = self.ended[row] and not state.is_error() and state.is_accepting()
            else:
                self.ended[row] = True
                self.complete[row] = (state := self.states[row]) is None or not state.is_error()

    def end(self, rows: Tensor) -> None:
        """End rows, (B,) bool, as they are."""
        for row in rows.nonzero()[:, 0].tolist():
            self.ended[row] = self.complete[row] = True

    def close(self, out: Tensor) -> tuple[Tensor, bool]:
        """The samples (B, T) with incomplete rows completed, and whether there are any, which is warned of."""
        cut = [row for row, complete in enumerate(self.complete) if not complete]
        if not cut:
            return out, False
        out = torch.nn.functional.pad(out, (0, self.constraint.length - out.shape[1])).clone()
        for row in cut:
            ids = self.constraint.complete(self.ids[row])
            out[row] = torch.tensor(ids + [0] * (self.constraint.length - len(ids)))
        warn(
            f"{len(cut)} of {len(out)} texts were not complete after {self.constraint.length} tokens, "
            "and were completed in as few as their constraint allows"
        )
        return out, True


def _bits(state: LLMatcher, size: int) -> np.ndarray:
    """The ids that may follow, (K,) bool; of a matcher in error, the end."""
    packed = np.frombuffer(state.compute_bitmask(), dtype=np.uint8)
    return np.unpackbits(packed, count=size, bitorder="little").astype(bool)


def _error_message(kind: str, text: str, reason: str) -> str:
    """The message for a constraint that is not supported, with the reason of the library."""
    lines = [line.strip() for line in reason.splitlines()]
    short = next((line.removeprefix("error: ") for line in lines if line.startswith("error: ")), lines[0])
    what = _describe(kind, text)
    if short.startswith("Unsatisfiable"):
        return f"no text satisfies {what}: {short.partition(': ')[2]}"
    return f"{what} is not supported: {short}"


def _describe(kind: str, text: str) -> str:
    return f"the {'JSON schema' if kind == 'json' else kind} {_short(text)}"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 60 else text[:57] + "..."


@lru_cache(maxsize=16)
def _token_constraint(
    constraint: Constraint, token_bytes: tuple[bytes, ...], length: int, prefix: bytes
) -> TokenConstraint:
    return TokenConstraint(constraint, token_bytes, length, prefix)


@lru_cache(maxsize=4)
def _tokenizer(token_bytes: tuple[bytes, ...]) -> LLTokenizer:
    """The vocabulary for llguidance; id 0, the end, has no bytes."""
    library = _llguidance()
    return library.LLTokenizer(library.TokenizerWrapper(_Vocabulary(token_bytes)))


class _Vocabulary:
    """The interface that llguidance expects of a tokenizer."""

    eos_token_id, bos_token_id, special_token_ids = 0, None, (0,)

    def __init__(self, token_bytes: tuple[bytes, ...]) -> None:
        self.tokens = [b"<end>", *token_bytes[1:]]
        self.ids = {token: i for i, token in enumerate(token_bytes)}

    def __call__(self, text: bytes) -> list[int]:
        return [self.ids[bytes([value])] for value in text]


def _llguidance() -> Any:
    """The library. Raises ValueError without it."""
    try:
        import llguidance
    except ImportError:
        raise ValueError('constraints need llguidance: pip install "likewise[constraints]"') from None
    return llguidance
