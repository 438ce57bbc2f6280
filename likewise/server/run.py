"""Running a server: one process on one address, until Ctrl-C."""

from __future__ import annotations

import socket
import threading
import webbrowser
from collections.abc import Callable

import uvicorn

from likewise.server.app import create_app
from likewise.server.http.logs import configure_logs
from likewise.server.settings import ServerSettings

BACKLOG = 2048  # connections that wait to be accepted
SHUTDOWN_SECONDS = 3  # that open requests have to end


def serve(settings: ServerSettings, *, open_page: bool = False, say: Callable[[str], None] = print) -> None:
    """Serve until the process is ended; `open_page` opens the studio in a browser.

    Raises ValueError if the address is in use or the state cannot be opened.
    """
    configure_logs()
    listener = bind(settings.host, settings.port)
    try:
        app = create_app(settings)
        port = listener.getsockname()[1]
        address = page_address(settings.host, port)
        say(f"likewise serves {settings.folder} at {address} (studio), {address}/v1 (API), {address}/docs")
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
            lifespan="on",
        )
        if open_page:
            query = f"/?token={settings.token}" if settings.token else "/"
            threading.Timer(0.5, webbrowser.open, [address + query]).start()
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        listener.close()


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises ValueError if it cannot."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)  # so that who calls early waits
    except OSError as error:
        raise ValueError(
            f"cannot listen at {host}, port {port}: {error.strerror or error}; give another --port, or 0 for a free one"
        ) from None
    return listener


def page_address(host: str, port: int) -> str:
    """
    >>> page_address("0.0.0.0", 80), page_address("::1", 8000)
    ('http://127.0.0.1:80', 'http://[::1]:8000')
    """
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
