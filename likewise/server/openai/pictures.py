"""Routes of pictures -> requests for samples, and the samples -> what OpenAI's clients read."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from starlette.responses import Response

from likewise.modalities import picture_files
from likewise.models.holes import transparent_pixels
from likewise.models.requests import all_columns
from likewise.server.http.errors import APIError, invalid
from likewise.server.jobs.book import Job
from likewise.server.jobs.events import event_response, event_text
from likewise.server.jobs.requests import InfillBody, SampleBody
from likewise.server.jobs.values import ValueReader, check_picture, result_url
from likewise.server.limits import MAX_PIXELS
from likewise.server.openai.bodies import (
    ImageEditBody,
    ImageFields,
    ImageGenerationBody,
    ImageReference,
    ImageVariationBody,
)
from likewise.server.openai.choice import ChosenModel
from likewise.server.openai.conversion import Size, convert_picture
from likewise.server.openai.events import error_event
from likewise.server.openai.forms import Form
from likewise.server.openai.options import Extras, answer, warning_headers
from likewise.server.openai.prompts import negative_fields, prompt_fields, source_of_prompt
from likewise.server.server import Server, client_of

SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")
MAX_SIDE = 4096  # pixels of a picture that is resampled


@dataclass(frozen=True)
class Pictures:
    """A request for pictures, translated.

    body    the native request
    names   field of the native request -> field that the client has sent, for errors
    column  the target whose pictures are returned
    fields  how they are returned
    size    to which they are resampled, None for the model's own
    event   the beginning of the names of events
    """

    chosen: ChosenModel
    body: SampleBody | InfillBody
    names: Mapping[str, str]
    column: Mapping[str, Any]
    fields: ImageFields
    size: Size | None
    extras: Extras
    prompt: str
    event: str


class PictureTranslator:
    """Translates the bodies of the routes of pictures for one model."""

    def __init__(
        self, server: Server, request: Request, chosen: ChosenModel, form: Form, extras: Extras
    ) -> None:
        self.server, self.chosen, self.form, self.extras = server, chosen, form, extras
        self.own_address = str(request.base_url).rstrip("/")
        column = chosen.column("target", "image/")
        assert column is not None  # the task is PICTURES
        self.column = column

    def generation(self, body: ImageGenerationBody) -> Pictures:
        """Samples given a prompt."""
        return self._translate(body, SampleBody, {}, body.prompt, "image_generation")

    def variation(self, body: ImageVariationBody) -> Pictures:
        """Samples given a picture: as a source, or as the start of sampling."""
        fields = self._varied(self._picture(body, "image"), body)
        return self._translate(body, SampleBody, fields, body.prompt, "image_variation")

    def edit(self, body: ImageEditBody) -> Pictures:
        """What is transparent in the mask, or in the picture, is sampled anew; see ImageEditBody."""
        if "markup" in self.form.of or "markup" in (body.model_extra or {}):
            raise invalid(
                "markup is not supported; paint a mask, transparent where the picture is to be redone",
                "markup",
            )
        picture = self._picture(body, "image")
        parts = self.form.of.get("mask", [])
        mask = parts[0] if parts else None if body.mask is None else self._reference(body.mask, "mask")
        if mask is None and self._is_transparent(picture):
            mask = picture
        if mask is None:
            fields = self._varied(picture, body)
            return self._translate(body, SampleBody, fields, body.prompt, "image_edit")
        name = self.column["name"]
        fields = {"row": {name: picture}, "mask": {name: mask}}
        return self._translate(body, InfillBody, fields, body.prompt, "image_edit")

    def _translate(
        self,
        body: ImageFields,
        cls: type[SampleBody | InfillBody],
        fields: dict[str, Any],
        prompt: str,
        event: str,
    ) -> Pictures:
        size = self._size(body)
        self._check_output(body)
        values = "row" if cls is InfillBody else "given"
        translated = prompt_fields(self.chosen, prompt)
        fields[values] = {**body.given, **translated.pop("given", {}), **fields.get(values, {})}
        native = {
            "model": self.chosen.id,
            "n": body.n,
            "seed": body.seed,
            "options": self.extras.options,
            "previews": body.partial_images if body.stream else 0,
            "stream": body.stream,
            **translated,
            **negative_fields(self.chosen, body.negative_prompt),
            **fields,
        }
        source, own = source_of_prompt(self.chosen), self.column["name"]
        names = {
            "text": "prompt",
            "negative": "negative_prompt",
            "init.strength": "strength",
            "init": "strength",
        }
        names |= {f"row.{own}": "image", f"init.values.{own}": "image", f"mask.{own}": "mask"}
        if source is not None:
            names |= {f"{values}.{source['name']}": "prompt", f"negative.{source['name']}": "negative_prompt"}
        if (picture := self.chosen.column("source", "image/")) is not None:
            names[f"{values}.{picture['name']}"] = "image"
        return Pictures(
            self.chosen, cls.read(native), names, self.column, body, size, self.extras, prompt, event
        )

    def _varied(self, picture: Any, body: ImageVariationBody) -> dict[str, Any]:
        """A picture as a source of the model, or as the start of sampling."""
        if (source := self.chosen.column("source", "image/")) is not None:
            return {"given": {source["name"]: picture}}
        if not self.chosen.can("init"):
            raise invalid(
                f"{self.chosen.id} makes no variations: its family samples from noise alone", "model"
            )
        return {"init": {"values": {self.column["name"]: picture}, "strength": body.strength}}

    def _picture(self, body: ImageVariationBody, param: str) -> Any:
        """The one picture of a body, as a value of a native request."""
        found = [*self.form.of.get("image", []), *self.form.of.get("images", [])]
        found += [self._reference(one, f"images.{i}") for i, one in enumerate(body.images)]
        if not found:
            raise invalid(
                f"{param} is missing: a part of the form, or images of JSON",
                param,
                "missing_required_parameter",
            )
        if len(found) > 1:
            raise invalid(f"there are {len(found)} pictures, and one at a time is read", param)
        return found[0]

    def _reference(self, reference: ImageReference, param: str) -> Any:
        if reference.file_id is not None:
            return {"file_id": reference.file_id}
        if reference.image_url is None:
            raise invalid(f"{param} has neither image_url nor file_id", param, "missing_required_parameter")
        return media_value(reference.image_url, self.own_address)

    def _is_transparent(self, picture: Any) -> bool:
        """Whether a picture has transparent pixels. Raises APIError for what is no picture."""
        data = ValueReader(self.server.store, self.form.files).media_bytes(picture, "image")
        check_picture(data, "image")
        try:
            return bool(transparent_pixels(picture_files.read(data)).any())
        except ValueError as error:
            raise invalid(f"image: {error}", "image", "invalid_image") from None

    def _size(self, body: ImageFields) -> Size | None:
        """The size to resample to. Raises APIError for one that the model does not have."""
        if body.size == "auto":
            return None
        shape, match = self.column.get("shape"), SIZE.fullmatch(body.size)
        if match is None:
            raise invalid(f'size is "auto" or WIDTHxHEIGHT, not {body.size!r}', "size")
        size = int(match[1]), int(match[2])
        own = (shape["width"], shape["height"]) if shape else None
        if size == own:
            return None
        if body.resample is None:
            has = f"{own[0]}x{own[1]}" if own else "its own size"
            raise invalid(
                f'{self.chosen.id} makes pictures of {has}; leave size out or send "auto", or send '
                '"resample": "nearest" (or bilinear, bicubic, lanczos) as well to have them resampled',
                "size",
            )
        if not (min(size) >= 1 and max(size) <= MAX_SIDE and size[0] * size[1] <= MAX_PIXELS):
            raise invalid(f"a side of a picture has 1 to {MAX_SIDE} pixels", "size")
        return size

    def _check_output(self, body: ImageFields) -> None:
        shape = self.column.get("shape", {})
        if body.background == "transparent" and shape.get("channels") not in (2, 4):
            raise invalid(f"{self.chosen.id} makes no transparent pictures", "background")
        if body.response_format == "url" and (body.output_format != "png" or body.resample is not None):
            raise invalid(
                "the address of a picture gives the PNG of the model; ask for b64_json", "response_format"
            )


def media_value(url: str, own_address: str) -> Any:
    """An address of a client as a value of a native request: a data URL, or a result of this server."""
    if url.startswith("data:"):
        return url
    return {"url": url.removeprefix(own_address)}


async def answer_pictures(
    server: Server, request: Request, pictures: Pictures, files: Mapping[str, bytes]
) -> Response:
    """Have pictures sampled, and answer with them or with a stream of them."""
    try:
        job = await server.submit(pictures.body, parts=files, client=client_of(request))
    except APIError as error:
        raise pictures.extras.explain(error, pictures.names) from None
    address = str(request.base_url).rstrip("/")
    if pictures.fields.stream:
        headers = warning_headers([*pictures.extras.warnings, *job.warnings])
        response = event_response(_events(server, job, pictures, address))
        response.headers.update(headers)
        return response
    try:
        await server.wait(job, request)
    except APIError as error:
        raise pictures.extras.explain(error, pictures.names) from None
    content = await server.in_thread(_images_json, server, job, pictures, address)
    return answer(content, [*pictures.extras.warnings, *job.warnings])


def _images_json(server: Server, job: Job, pictures: Pictures, address: str) -> dict[str, Any]:
    """The answer for all pictures of a job."""
    results = [job.results[i] for i in sorted(job.results)]
    return {
        "id": job.id,
        "created": int(job.created),
        "model": job.model,
        **_details(pictures),
        "data": [_image_json(server, job, result, pictures, address) for result in results],
        "usage": _usage(server, pictures, len(results)),
    }


def _image_json(
    server: Server, job: Job, result: Mapping[str, Any], pictures: Pictures, address: str
) -> dict[str, Any]:
    """One picture, its seed, and the values of other targets that were sampled with it."""
    name = pictures.column["name"]
    values = {n: v for n, v in result["values"].items() if n != name and not isinstance(v, dict)}
    about = {"seed": result["seed"], **({"values": values} if values else {})}
    if pictures.fields.response_format == "url":
        return {"url": address + result_url(job.id, result["index"], name), **about}
    file = server.store.result_file(job.id, f"{result['index']}/{name}")
    if file is None:
        raise APIError(409, "the job was deleted while it ran", code="cancelled")
    data = convert_picture(server.store.read(file), pictures.fields, pictures.size)
    return {"b64_json": base64.b64encode(data).decode(), **about}


def _details(pictures: Pictures) -> dict[str, Any]:
    """How the pictures are, repeated in each event."""
    fields, shape = pictures.fields, pictures.column.get("shape", {})
    size = pictures.size or (shape.get("width"), shape.get("height"))
    opaque = shape.get("channels") not in (2, 4)
    return {
        "size": f"{size[0]}x{size[1]}",
        "quality": "auto",
        "background": "opaque" if opaque else "transparent",
        "output_format": fields.output_format,
    }


def _usage(server: Server, pictures: Pictures, count: int) -> dict[str, Any]:
    """Tokens of the prompt and of the pictures, as the model counts them."""
    source, tokens = source_of_prompt(pictures.chosen), 0
    if source is not None and pictures.prompt.strip():
        with server.registry.acquire(pictures.chosen.id) as model:
            tokens = all_columns(model)[source["name"]].num_tokens(pictures.prompt)
    places = 1
    for side in pictures.column["grid"]:
        places *= side
    return {
        "input_tokens": tokens,
        "output_tokens": places * count,
        "total_tokens": tokens + places * count,
        "input_tokens_details": {"text_tokens": tokens, "image_tokens": 0},
    }


async def _events(server: Server, job: Job, pictures: Pictures, address: str) -> AsyncIterator[str]:
    """The events of a stream: previews, pictures, an error."""
    previews: dict[int, int] = {}
    async for event in server.watch(job):
        data = event.data
        about = {"created_at": int(time.time()), **_details(pictures)}
        if event.name == "preview" and data["column"] == pictures.column["name"]:
            index = data["index"]
            number = previews[index] = previews.get(index, -1) + 1
            picture = base64.b64decode(data["b64_json"])
            converted = await server.in_thread(convert_picture, picture, pictures.fields, pictures.size)
            encoded = base64.b64encode(converted).decode()
            name = f"{pictures.event}.partial_image"
            yield event_text(
                {"type": name, "b64_json": encoded, "partial_image_index": number, "index": index, **about},
                name,
            )
        elif event.name == "result":
            name = f"{pictures.event}.completed"
            image = await server.in_thread(_image_json, server, job, data, pictures, address)
            usage = await server.in_thread(_usage, server, pictures, 1)
            yield event_text({"type": name, "index": data["index"], **image, **about, "usage": usage}, name)
        elif event.name == "done" and data["status"] != "succeeded":
            yield error_event(data.get("error"))
