"""The application: routes, errors, security, and the server that is started and stopped with it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Response
from fastapi.staticfiles import StaticFiles
from starlette.responses import FileResponse

from likewise._version import __version__
from likewise.server import routes
from likewise.server.http.errors import install_handlers
from likewise.server.http.metrics import CONTENT_TYPE
from likewise.server.http.openapi import install_openapi
from likewise.server.http.security import Security
from likewise.server.jobs.answers import Health
from likewise.server.server import CurrentServer, Server
from likewise.server.settings import ServerSettings

PAGES = Path(__file__).parent / "pages"
STUDIO = Path(__file__).parent / "studio"
basic = APIRouter()


def create_app(settings: ServerSettings) -> FastAPI:
    """The application for a folder. Raises ValueError if its state cannot be opened."""
    server = Server(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await server.start()
        try:
            yield
        finally:
            await server.close()

    app = FastAPI(
        title="likewise",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,  # FastAPI's load scripts from outside
        redoc_url=None,
        openapi_url="/openapi.json",
        redirect_slashes=False,
    )
    app.state.server = server
    install_handlers(app)
    install_openapi(app, settings, lambda: list(server.registry.entries()))
    app.include_router(basic)
    for module in route_modules():
        app.include_router(module.router)
        if hasattr(module, "install"):
            module.install(server)
    app.mount("/pages", StaticFiles(directory=PAGES), "pages")
    if STUDIO.is_dir():
        app.mount("/studio", StaticFiles(directory=STUDIO, html=True), "studio")
    app.add_middleware(Security, settings=settings, metrics=server.metrics)
    return app


def route_modules() -> list[Any]:
    """The modules of routes: each has a `router`, and may have a function `install(server)`, called at the start."""
    names = sorted(module.name for module in pkgutil.iter_modules(routes.__path__))
    return [importlib.import_module(f"likewise.server.routes.{name}") for name in names]


@basic.get("/health", response_model=Health, tags=["server"])
async def health() -> dict[str, str]:
    """That the server runs; needs no token."""
    return {"status": "ok"}


@basic.get(
    "/metrics",
    response_class=Response,
    tags=["server"],
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def metrics(server: CurrentServer) -> Response:
    """Metrics in the format of Prometheus."""
    server.metrics.waiting.set(server.queue.length())
    server.metrics.loaded_bytes.set(sum(server.registry.bytes_by_model().values()))
    return Response(server.metrics.render(), media_type=CONTENT_TYPE)


@basic.get("/docs", include_in_schema=False)
def docs() -> Response:
    """A page that shows /openapi.json."""
    return FileResponse(PAGES / "docs.html")


@basic.get("/", include_in_schema=False)
def studio() -> Response:
    """The studio, or the documentation of the routes if there is none."""
    index = STUDIO / "index.html"
    return FileResponse(index if index.exists() else PAGES / "docs.html")
