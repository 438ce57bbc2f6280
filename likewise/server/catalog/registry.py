"""The models that a server has: those of a folder and those of the package; loaded when they are needed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from likewise.core.device import default_device
from likewise.models import checkpoint
from likewise.models.io import load
from likewise.models.model import Model
from likewise.models.pipeline import Pipeline
from likewise.server.catalog.schema import model_schema
from likewise.server.http.errors import APIError, not_found
from likewise.server.settings import ServerSettings

MAX_DEPTH = 3  # of folders in which runs are looked for
COPY_FACTOR = 1.5  # of the bytes of the weights, for the copy in bfloat16 that computes
SCAN_SECONDS = 1.0  # for which a list of the folder is kept
AnyModel = Model | Pipeline


@dataclass(frozen=True)
class ModelEntry:
    """A run folder.

    id        its path in the folder of the server, or its name in the package
    created   time of its last change, seconds since 1970
    pipeline  whether it is a pipeline
    bytes     of its weights, those of views and links included
    """

    id: str
    folder: Path
    created: float
    pipeline: bool
    bytes: int


@dataclass
class LoadedModel:
    """A model in memory."""

    entry: ModelEntry
    model: AnyModel
    users: int = 0
    last_used: float = field(default_factory=time.monotonic)

    @property
    def bytes(self) -> int:
        """What it takes of the memory budget."""
        return int(self.entry.bytes * COPY_FACTOR)


class ModelRegistry:
    """Finds models by id or alias, and keeps those in memory that were used last, within the budget.

    All methods may be called in any thread; `acquire` and `schema` may load a model, so not on the event loop.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self.on_load: Callable[[str, float], None] = lambda id, seconds: None
        self._loaded: dict[str, LoadedModel] = {}
        self._schemas: dict[tuple[str, float], dict[str, Any]] = {}
        self._lock, self._load_lock = threading.RLock(), threading.Lock()
        self._entries: dict[str, ModelEntry] = {}
        self._scanned = -float("inf")

    # ---- which models there are

    def entries(self) -> dict[str, ModelEntry]:
        """All models by id; those of the folder precede those of the package."""
        with self._lock:
            if time.monotonic() - self._scanned > SCAN_SECONDS:
                self._entries = self._scan()
                self._scanned = time.monotonic()
            return dict(self._entries)

    def rescan(self) -> None:
        """Look at the folder again with the next request, since a run was added or removed."""
        self._scanned = -float("inf")

    def resolve(self, name: str, param: str | None = "model") -> ModelEntry:
        """The model of that id or alias. Raises APIError with status 404 and the code model_not_found."""
        entries = self.entries()
        if name not in entries:
            name = self.settings.aliases.get(name, name)
        if name not in entries:
            raise not_found("model", name, list(entries), param)
        return entries[name]

    def find(self, suits: Callable[[dict[str, Any]], bool]) -> ModelEntry | None:
        """The first model whose schema suits, for requests that name none."""
        for entry in self.entries().values():
            try:
                if suits(self.schema(entry.id)):
                    return entry
            except APIError:  # a damaged one
                continue
        return None

    def _scan(self) -> dict[str, ModelEntry]:
        root = self.settings.folder
        found = {}
        if (entry := _entry(root.resolve().name or "model", root)) is not None:
            found[entry.id] = entry
        else:
            for folder in _run_folders(root, MAX_DEPTH):
                if (entry := _entry(folder.relative_to(root).as_posix(), folder)) is not None:
                    found[entry.id] = entry
        for folder in sorted(path.parent for path in checkpoint.PRETRAINED.glob(f"*/{checkpoint.MODEL}")):
            if folder.name not in found and (entry := _entry(folder.name, folder)) is not None:
                found[entry.id] = entry
        return found

    # ---- models in memory

    @contextmanager
    def acquire(self, id: str) -> Iterator[AnyModel]:
        """The model, loaded, and not unloaded within the block. Raises APIError if it cannot be."""
        loaded = self._load(self.resolve(id))
        try:
            yield loaded.model
        finally:
            with self._lock:
                loaded.users -= 1
                loaded.last_used = time.monotonic()

    def schema(self, id: str) -> dict[str, Any]:
        """What the model is and what may be asked of it, see `model_schema`."""
        entry = self.resolve(id)
        key = (entry.id, entry.created)
        if key not in self._schemas:
            with self.acquire(entry.id) as model:
                self._schemas[key] = model_schema(model)
        return {**self._schemas[key], "loaded": entry.id in self._loaded}

    def bytes_by_model(self) -> dict[str, int]:
        """The models in memory and their bytes."""
        with self._lock:
            return {id: loaded.bytes for id, loaded in self._loaded.items()}

    def unload(self, id: str) -> bool:
        """Put a model away, unless it is in use. Whether it was in memory."""
        with self._lock:
            loaded = self._loaded.get(id)
            if loaded is None or loaded.users:
                return False
            del self._loaded[id]
            return True

    def unload_idle(self) -> None:
        """Put away what was not used for `keep_alive` seconds."""
        with self._lock:
            limit = time.monotonic() - self.settings.keep_alive
            for id in [id for id, one in self._loaded.items() if not one.users and one.last_used <= limit]:
                del self._loaded[id]

    def _load(self, entry: ModelEntry) -> LoadedModel:
        """The loaded model with one more user."""
        with self._lock:
            if (loaded := self._current(entry)) is not None:
                loaded.users += 1
                return loaded
        with self._load_lock:  # one at a time
            with self._lock:
                if (loaded := self._current(entry)) is not None:
                    loaded.users += 1
                    return loaded
                self._make_room(int(entry.bytes * COPY_FACTOR))
            start = time.perf_counter()
            try:
                model = load(entry.folder).to(default_device())
            except ValueError as error:
                message = str(error).replace(str(entry.folder), entry.id)
                raise APIError(
                    500,
                    f"the model {entry.id} cannot be loaded: {message}",
                    param="model",
                    code="model_damaged",
                ) from error
            self.on_load(entry.id, time.perf_counter() - start)
            loaded = LoadedModel(entry, model, users=1)
            with self._lock:
                self._loaded[entry.id] = loaded
            return loaded

    def _current(self, entry: ModelEntry) -> LoadedModel | None:
        """The model in memory, unless its folder has changed since."""
        loaded = self._loaded.get(entry.id)
        return loaded if loaded is not None and loaded.entry.created == entry.created else None

    def _make_room(self, bytes: int) -> None:
        """Put away those that were used longest ago until so many bytes fit in the budget, as far as none is in use."""
        budget = self.settings.memory_mb * 2**20
        for id, one in sorted(self._loaded.items(), key=lambda item: item[1].last_used):
            if sum(other.bytes for other in self._loaded.values()) + bytes <= budget:
                return
            if not one.users:
                del self._loaded[id]


def _run_folders(root: Path, depth: int) -> Iterator[Path]:
    """The folders below a folder that may be runs; folders in runs and hidden ones are not entered."""
    try:
        folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:
        return
    for folder in folders:
        if checkpoint.is_run(folder):
            yield folder
        elif depth > 1:
            yield from _run_folders(folder, depth - 1)


def _entry(id: str, folder: Path) -> ModelEntry | None:
    """The entry of a run folder that has weights."""
    pipeline = checkpoint.is_pipeline(folder)
    main = folder / (checkpoint.PIPELINE if pipeline else checkpoint.WEIGHTS)
    try:
        if not pipeline and not (folder / checkpoint.MODEL).exists():
            return None
        created = main.stat().st_mtime
        size = sum(path.stat().st_size for path in folder.rglob(checkpoint.WEIGHTS))
    except OSError:  # no weights yet, or replaced just now
        return None
    return ModelEntry(id, folder, created, pipeline, size)
