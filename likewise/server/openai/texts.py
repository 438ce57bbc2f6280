"""Texts: the requests of completions and of chat as samples of a text, and what comes of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from fastapi import Request

from likewise.models.requests import all_columns
from likewise.models.token_scores import text_column
from likewise.server.http.errors import APIError
from likewise.server.jobs.book import Job
from likewise.server.jobs.events import event_text
from likewise.server.jobs.requests import SampleBody
from likewise.server.openai.choice import ChosenModel
from likewise.server.openai.events import Chunk, error_event
from likewise.server.openai.options import Extras
from likewise.server.openai.text_requests import (
    Completion,
    TextRequest,
    best_of,
    constraint_after,
    read_text,
    shown_prompt,
)
from likewise.server.openai.tokens import ScoreItem, prompt_text, score_call
from likewise.server.server import Server, client_of


class TextWriter:
    """Has the texts of one request of a client written by a model.

    names  field of a native request -> field of the client, for errors
    """

    def __init__(
        self,
        server: Server,
        request: Request,
        chosen: ChosenModel,
        extras: Extras,
        names: Mapping[str, str],
        files: Mapping[str, bytes] | None = None,
    ) -> None:
        self.server, self.request, self.chosen, self.extras = server, request, chosen, extras
        self.names, self.files = names, files or {}
        [self.target] = [c["name"] for c in chosen.schema["columns"] if c["role"] == "target"]
        self.warnings: list[str] = []

    # ---- sampling

    async def submit(self, texts: Sequence[TextRequest], *, stream: bool = False) -> list[Job]:
        """A job for each text. Raises APIError, and then none of them goes on."""
        jobs: list[Job] = []
        try:
            for text in texts:
                body = SampleBody.read(await self._native(text, stream))
                jobs.append(await self.server.submit(body, parts=self.files, client=client_of(self.request)))
        except APIError as error:
            self.cancel(jobs)
            limit = {} if text.max_tokens is None else {"options.tokens": "max_tokens"}
            raise self.extras.explain(error, {**self.names, **limit}) from None
        for job in jobs:
            self.warnings += [note for note in job.warnings if note not in self.warnings]
        return jobs

    async def _native(self, text: TextRequest, stream: bool) -> dict[str, Any]:
        """The body of the native request."""
        prompt = await self._prompt(text)
        options = dict(self.extras.options)
        native: dict[str, Any] = {
            "model": self.chosen.id,
            "given": dict(text.values),
            "text": text.text,
            "n": text.candidates,
            "seed": text.seed,
            "options": options,
            "stream": stream,
        }
        if text.schema is not None:
            native["constraint"] = {
                self.target: await self.server.in_thread(constraint_after, prompt, text.schema)
            }
            self._note_without_effect(text)
            return native
        if text.max_tokens is not None:
            options["tokens"] = text.max_tokens
        return {**native, "prompt": prompt or None, "suffix": text.suffix, "stop": list(text.stop)}

    def _note_without_effect(self, text: TextRequest) -> None:
        for name, given in {"max_tokens": text.max_tokens is not None, "stop": bool(text.stop)}.items():
            if given:
                note = f"{name} has no effect on a text that must be JSON: it ends when it is complete"
                self.warnings += [note] if note not in self.warnings else []

    async def _prompt(self, text: TextRequest) -> str:
        return await self._with_column(lambda column: prompt_text(column, text.prompt))

    async def _with_column(self, function: Callable[[Any], Any]) -> Any:
        """Call a function of the text column, in a thread, as the model may have to be loaded."""

        def call() -> Any:
            with self.server.registry.acquire(self.chosen.id) as model:
                return function(text_column(model)[1])  # type: ignore[arg-type]

        return await self.server.in_thread(call)

    async def wait(self, jobs: Sequence[Job]) -> None:
        """Return when all jobs have succeeded. Raises APIError, and then none of them goes on."""
        try:
            for job in jobs:
                await self.server.wait(job, self.request)
        except BaseException as error:
            self.cancel(jobs)
            if isinstance(error, APIError):
                raise self.extras.explain(error, self.names) from None
            raise
        for job in jobs:
            self.warnings += [note for note in job.warnings if note not in self.warnings]

    def cancel(self, jobs: Sequence[Job]) -> None:
        """Stop those that have not ended."""
        for job in jobs:
            if not job.has_ended:
                self.server.jobs.cancel(job.id)

    # ---- what comes of it

    async def complete(self, texts: Sequence[TextRequest]) -> list[list[Completion]]:
        """The completions of each text. Raises APIError."""
        if all(text.scores_only or _asks_for_scores_of_a_prompt(text, self.extras) for text in texts):
            return await self._score_prompts(texts)
        jobs = await self.submit(texts)
        await self.wait(jobs)
        found = [await self.completions(text, job) for text, job in zip(texts, jobs, strict=True)]
        if any(text.alternatives is not None or text.candidates > text.n for text in texts):
            found = await self._with_scores(texts, found)
        return [best_of(completions, text) for completions, text in zip(found, texts, strict=True)]

    async def completions(self, text: TextRequest, job: Job) -> list[Completion]:
        """What a job has written, in order."""
        prompt = await self._prompt(text)
        results = [job.results[i] for i in sorted(job.results)]
        written = [
            self.completion_of(result["values"][self.target], prompt, text.suffix) for result in results
        ]
        found = await self._with_column(
            lambda column: [read_text(text, w, job.ids[i], column) for i, w in enumerate(written)]
        )
        read = await self.source_tokens(text)
        return [
            Completion(
                prompt, w, text.suffix or "", f.finish, result["seed"], (f.tokens[0] + read, f.tokens[1]), f
            )
            for w, result, f in zip(written, results, found, strict=True)
        ]

    async def source_tokens(self, text: TextRequest) -> int:
        """The number of tokens of the value of the text source."""
        source = self.chosen.column("source", "text/", "text")
        if source is None or text.text is None:
            return 0

        def count() -> int:
            with self.server.registry.acquire(self.chosen.id) as model:
                return all_columns(model)[source["name"]].num_tokens(text.text)

        return await self.server.in_thread(count)

    @staticmethod
    def completion_of(whole: str, prompt: str, suffix: str | None) -> str:
        """What a sampled text has between its prompt and its suffix."""
        return whole[len(prompt) : len(whole) - len(suffix or "")]

    async def _score(self, items: Sequence[ScoreItem], alternatives: int, request: Mapping[str, Any]) -> Job:
        call = score_call(self.server.store, self.files, items, alternatives)
        size = len(items)
        job = await self.server.call(
            self.chosen.id, "score", request, call, size=size, client=client_of(self.request)
        )
        await self.wait([job])
        return job

    async def _score_prompts(self, texts: Sequence[TextRequest]) -> list[list[Completion]]:
        """The log-probabilities of prompts, and the most likely token after each unless none is wanted."""
        items = [
            ScoreItem(t.prompt, next_token=not t.scores_only, values=t.values, text=t.text) for t in texts
        ]
        alternatives = max(t.alternatives or 0 for t in texts)
        job = await self._score(items, alternatives, {"model": self.chosen.id, "prompts": len(items)})
        found = []
        for i, text in enumerate(texts):
            result = job.results[i]
            finish = "stop" if text.max_tokens and result["next_id"] == 0 else "length"
            tokens = result["prompt_tokens"], int(bool(result["next_id"]))
            shown = await self._with_column(partial(shown_prompt, text.prompt))
            one = Completion(shown, result["next"] or "", "", finish, None, tokens, None, result)
            found.append([one] * text.n)
        return found

    async def _with_scores(
        self, texts: Sequence[TextRequest], found: Sequence[Sequence[Completion]]
    ) -> list[list[Completion]]:
        """The completions with the log-probabilities of their tokens."""
        items = [
            ScoreItem(text.prompt, one.written, text.echo, False, text.values, text.text)
            for text, completions in zip(texts, found, strict=True)
            for one in completions
        ]
        alternatives = max(text.alternatives or 0 for text in texts)
        job = await self._score(items, alternatives, {"model": self.chosen.id, "texts": len(items)})
        results = iter([job.results[i] for i in range(len(items))])
        return [[replace(one, scores=next(results)) for one in completions] for completions in found]

    async def stream(
        self, texts: Sequence[TextRequest], jobs: Sequence[Job], chunk: Chunk
    ) -> AsyncIterator[str]:
        """The events of texts as they are written; those of several jobs one after the other."""
        tokens = [0, 0]
        try:
            for number, (text, job) in enumerate(zip(texts, jobs, strict=True)):
                prompt, sent = await self._prompt(text), dict[int, int]()
                start = number * text.n
                for index in range(text.n):
                    for piece in chunk.first(start + index, prompt):
                        yield piece
                async for event in self.server.watch(job):
                    index = event.data.get("index", 0)
                    if event.name == "text" and text.schema is None:
                        sent[index] = sent.get(index, 0) + len(event.data["delta"])
                        yield chunk.delta(start + index, event.data["delta"])
                    elif event.name == "result":
                        whole = event.data["values"][self.target]
                        written = self.completion_of(whole, prompt, text.suffix)
                        found = await self._with_column(partial(read_text, text, written, job.ids[index]))
                        before = found.tokens[0] + await self.source_tokens(text) if index == 0 else 0
                        tokens = [tokens[0] + before, tokens[1] + found.tokens[1]]
                        if rest := written[sent.get(index, 0) :]:
                            yield chunk.delta(start + index, rest)
                        if text.echo and text.suffix:
                            yield chunk.delta(start + index, text.suffix)
                        yield chunk.last(start + index, found.finish)
                    elif event.name == "done" and event.data["status"] != "succeeded":
                        yield error_event(event.data.get("error"))
                        return
            for piece in chunk.end((tokens[0], tokens[1])):
                yield piece
            yield event_text("[DONE]")
        finally:
            self.cancel(jobs)


def _asks_for_scores_of_a_prompt(text: TextRequest, extras: Extras) -> bool:
    """Whether one token at temperature 0 is wanted, with log-probabilities of all: as lm-eval does."""
    likely = extras.options.get("temperature") == 0
    return (
        text.echo
        and text.alternatives is not None
        and text.max_tokens == 1
        and likely
        and text.suffix is None
    )
