"""Text: a string of limited length, lossless in any language and alphabet."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import torch
from torch import Tensor

from likewise.core.option_names import option_text
from likewise.core.options import validated
from likewise.core.ranges import TextLength, VocabularySize
from likewise.core.spec import Spec
from likewise.modalities.base import Modality, Role
from likewise.modalities.columns import ColumnSummary, ColumnValues
from likewise.modalities.suspects import near_text_id_lines
from likewise.modalities.tokenizer import BYTE_IDS, MAX_MERGES, ByteBPE, train_byte_bpe

MIN_BYTES = 10_000  # of training texts from which merges are learned
BYTES_PER_MERGE = 32  # of training texts, by default
MAX_LENGTH = 1024  # tokens of a text, unless the option `length` allows more
MAX_WORDS = 20_000  # words of the training texts that are stored
MAX_CLAUSES, MAX_CLAUSE = (
    1_000,
    60,
)  # what follows a comma in training texts: how many are stored, of so many characters
ARTICLES = ("a", "an", "the")
ARTICLE_SHARE = 0.01  # of the training texts; articles that begin fewer are not listed
NAMES = ("text", "caption", "prompt")  # columns of these names are texts even with few distinct values
ROLE: Role = "prompt"


@dataclass(frozen=True)
class Text(Modality):
    """Byte-pair ids on the grid (length,); id 0 is the end, and pads shorter texts.

    tokenizer  the JSON of a Hugging Face tokenizer
    words      those of the training texts, None for too many
    lower      whether the training texts have no capitals
    articles   those that training texts begin with
    clauses    what follows a comma in them, the most frequent: a prompt that ends so is all text
    end        see ByteBPE

    >>> text = Text.fit(["red circle", "blue square"])
    >>> text.spec.tokens, text.decode(text.encode("red square")), text.unseen_words("red triangle")
    (12, 'red square', ['triangle'])
    """

    tokenizer: str
    length: int
    words: tuple[str, ...] | None = None
    lower: bool = False
    articles: tuple[str, ...] = ARTICLES
    end: int | None = None
    clauses: tuple[str, ...] = ()

    dtypes = frozenset({"string", "int", "float", "bool"})
    as_string = True
    settled = frozenset({"vocabulary"})
    role = ROLE
    default_family = "autoregressive"

    kind = "text"
    media_type = "text/plain; charset=utf-8"
    suffix = ".txt"
    prefix = " "  # precedes every text, so that a first word has the same id as anywhere else

    @classmethod
    @validated
    def fit(
        cls,
        values: Sequence[str],
        *,
        vocabulary: VocabularySize | None = None,
        length: TextLength | None = None,
    ) -> Self:
        """Learn a byte-pair vocabulary and the length of texts.

        vocabulary  number of token ids (default: one for each byte for little text, else up to 4,096 byte pairs
                    more)
        length      maximum of tokens of a text, or of the window of a document (default: that of the longest
                    text, 256 for documents)

        The default vocabulary is of plain bytes below 10 kB of text, and else has at most one merge for every 32
        bytes. Raises ValueError if a text has more than 1,024 tokens and no `length` is given.
        """
        size = sum(len(value.encode()) + 1 for value in values)
        if vocabulary is None:
            vocabulary = BYTE_IDS + (min(size // BYTES_PER_MERGE, MAX_MERGES) if size >= MIN_BYTES else 0)
        texts = [cls.prefix + value for value in values]
        tokenizer = train_byte_bpe(texts, vocabulary)
        if length is None:
            length = max((len(e.ids) for e in tokenizer.encode_batch(texts)), default=1)
            if length > MAX_LENGTH:
                raise ValueError(
                    f"a text has {length} tokens; shorten it, give {option_text('length', length)}, or learn "
                    f"texts in windows: {option_text('kind', 'COLUMN', 'document')}"
                )
        words = set().union(*map(_words, values)) if values else set()
        return cls(
            tokenizer.to_str(),
            length,
            tuple(sorted(words)) if len(words) <= MAX_WORDS else None,
            lower=all(value == value.lower() for value in values),
            articles=_articles(values),
            clauses=_clauses(values),
        )

    @classmethod
    def suitability(cls, column: ColumnSummary) -> int:
        if column.dtype != "string":
            return 0
        return 3 if column.name in NAMES else 1

    @validated
    def refit(self, values: Sequence[str], *, length: TextLength | None = None) -> Self:
        """The same vocabulary, and room for the longest text; the words are those of both tables."""
        longest = max(map(self.num_tokens, values), default=1)
        if length is None and longest > MAX_LENGTH:
            raise ValueError(
                f"a text has {longest} tokens; shorten it, or give {option_text('length', longest)}"
            )
        words = None if self.words is None else set(self.words).union(*map(_words, values))
        return replace(
            self,
            length=length or max(self.length, longest),
            words=tuple(sorted(words)) if words is not None and len(words) <= MAX_WORDS else None,
            lower=self.lower and all(value == value.lower() for value in values),
            articles=tuple(word for word in ARTICLES if word in {*self.articles, *_articles(values)}),
            clauses=tuple(dict.fromkeys((*_clauses(values), *self.clauses)))[:MAX_CLAUSES],
        )

    @classmethod
    def reason(cls, column: ColumnSummary) -> str:
        return "its name" if column.name in NAMES else f"{column.unique:,} different values"

    def findings(self, column: ColumnValues) -> list[str]:
        """Values that are nearly ids."""
        return near_text_id_lines(column)

    def grow_to_fit(self, values: Sequence[str]) -> Self:
        return replace(self, length=max([self.length, *map(self.num_tokens, values)]))

    @cached_property
    def vocabulary(self) -> ByteBPE:
        """The ids of texts."""
        return ByteBPE(self.tokenizer, self.end)

    @property
    def spec(self) -> Spec:
        return Spec((self.length,), classes=self.vocabulary.size, padded=True, axes=("token",))

    def num_tokens(self, value: str) -> int:
        return len(self.vocabulary.encode(self.prefix + value))

    def num_scored_tokens(self, value: str) -> int:
        """The number of factors of its probability: its tokens, and the end if there is room for it."""
        return min(self.num_tokens(value) + 1, self.length)

    def invalid_reason(self, value: Any) -> str | None:
        """Why this is no text, whatever its length; None for a text."""
        if not isinstance(value, str):
            return f"{type(value).__name__} is not a text"
        try:
            value.encode()
        except UnicodeEncodeError:
            return "half of a surrogate pair is no text"
        return None

    def check(self, value: Any) -> str | None:
        if reason := self.invalid_reason(value):
            return reason
        if (tokens := self.num_tokens(value)) > self.length:
            return f"{tokens} tokens and room for {self.length}; shorten it, or train with {option_text('length', tokens)}"
        return None

    def truncate(self, value: str, tokens: int | None = None) -> str:
        """The beginning of a text with at most `tokens` (default: `length`), if possible up to the end of a word.

        >>> Text.fit(["red circle", "blue square"]).truncate("a large red circle")
        'a large red'
        """
        room = self.length if tokens is None else tokens
        if self.invalid_reason(value) or self.num_tokens(value) <= room:
            return value
        end = bisect_right(range(len(value)), room, key=lambda n: self.num_tokens(value[: n + 1]))
        while self.num_tokens(value[:end]) > room and end:  # counts may fall where a longer text merges more
            end -= 1
        words = re.fullmatch(r"(.*\S)\s+\S*", value[: end + 1], re.DOTALL)
        return words[1] if words and len(words[1]) > end // 2 else value[:end]

    def ids(self, value: str) -> Tensor:
        """The ids of a text of any length, (n,) int64, without an end."""
        return self.encode_continuation(self.prefix + value)

    def encode_continuation(self, value: str) -> Tensor:
        """The ids of a part of a text other than its beginning, (n,) int64."""
        return torch.tensor(self.vocabulary.encode(value), dtype=torch.int64)

    def encode(self, value: str) -> Tensor:
        """A text -> (length,) int64. Raises ValueError for one that is too long."""
        if reason := self.check(value):
            raise ValueError(reason)
        ids = self.ids(value)
        return torch.nn.functional.pad(ids, (0, self.length - len(ids)))

    def decode(self, tokens: Tensor) -> str:
        """(length,) ids -> the text before the first 0; bytes that are not UTF-8 become U+FFFD."""
        ids = tokens.tolist()
        text = self.vocabulary.decode(ids[: ids.index(0)] if 0 in ids else ids)
        return text.removeprefix(self.prefix)

    def load(self, data: bytes) -> str:
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"the text is not UTF-8: {error}") from None

    def dump(self, value: str, metadata: Mapping[str, Any] | None = None) -> bytes:
        return value.encode()

    def unseen_words(self, text: str) -> list[str]:
        """The words of `text` that no training text contains."""
        return [] if self.words is None else [word for word in _words(text) if word not in self._word_set]

    @cached_property
    def _word_set(self) -> frozenset[str]:
        return frozenset(self.words or ())


def _articles(texts: Sequence[str]) -> tuple[str, ...]:
    """The articles that begin more than a small share of the texts."""
    first_words = Counter(text.lower().partition(" ")[0] for text in texts)
    return tuple(word for word in ARTICLES if first_words[word] > ARTICLE_SHARE * len(texts))


def clauses_of(text: str) -> list[str]:
    """What follows each comma of a text, in lower case, with single spaces.

    >>> clauses_of("A cat,  in flat style, at Night")
    ['in flat style', 'at night']
    """
    return [" ".join(part.lower().split()) for part in text.split(",")[1:]]


def _clauses(values: Sequence[str]) -> tuple[str, ...]:
    """The most frequent clauses of texts."""
    counts = Counter(
        clause for value in values for clause in clauses_of(value) if 0 < len(clause) <= MAX_CLAUSE
    )
    return tuple(clause for clause, _ in counts.most_common(MAX_CLAUSES))


def _words(text: str) -> list[str]:
    """The distinct words in order, lower case."""
    return list(dict.fromkeys(re.findall(r"\w+", text.lower())))
