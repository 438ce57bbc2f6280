"""OpenAI's routes of pictures: generations, edits and variations."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from likewise.server.jobs.events import EVENT_CONTENT
from likewise.server.openai.answers import ImagesAnswer
from likewise.server.openai.bodies import ImageEditBody, ImageFields, ImageGenerationBody, ImageVariationBody
from likewise.server.openai.choice import PICTURES, choose_model
from likewise.server.openai.forms import document_openai_body, read_openai_body
from likewise.server.openai.options import sampling_extras
from likewise.server.openai.pictures import PictureTranslator, answer_pictures
from likewise.server.server import CurrentServer, Server

router = APIRouter(prefix="/v1/images", tags=["openai"])
ANSWERS: dict[int | str, dict[str, Any]] = {200: {"model": ImagesAnswer, "content": {**EVENT_CONTENT}}}


async def _answer(request: Request, server: Server, cls: type[ImageFields], method: str) -> Response:
    body, form = await read_openai_body(request, cls)
    chosen = await choose_model(server, body.model, PICTURES)
    extras = sampling_extras(body, chosen.schema, form=form.is_form)
    translator = PictureTranslator(server, request, chosen, form, extras)
    pictures = await server.in_thread(getattr(translator, method), body)
    return await answer_pictures(server, request, pictures, form.files)


@router.post(
    "/generations",
    response_model=ImagesAnswer,
    responses=ANSWERS,
    openapi_extra=document_openai_body(ImageGenerationBody),
)
async def generate_images(request: Request, server: CurrentServer) -> Response:
    """Pictures of a prompt."""
    return await _answer(request, server, ImageGenerationBody, "generation")


@router.post(
    "/edits",
    response_model=ImagesAnswer,
    responses=ANSWERS,
    openapi_extra=document_openai_body(ImageEditBody, "image", "mask"),
)
async def edit_images(request: Request, server: CurrentServer) -> Response:
    """A picture of which a part is done anew: what is transparent in the mask, or else in the picture."""
    return await _answer(request, server, ImageEditBody, "edit")


@router.post(
    "/variations",
    response_model=ImagesAnswer,
    responses=ANSWERS,
    openapi_extra=document_openai_body(ImageVariationBody, "image"),
)
async def vary_images(request: Request, server: CurrentServer) -> Response:
    """Variations of a picture."""
    return await _answer(request, server, ImageVariationBody, "variation")
