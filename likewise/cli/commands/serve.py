"""Serve the models of a folder over HTTP, to clients of OpenAI's API and to the studio in a browser."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from likewise.cli.flags import Parser, parse_pairs
from likewise.core.options import parameter_annotations

try:
    from likewise.server.run import serve
    from likewise.server.settings import LOCAL_RAY, ServerSettings
except ModuleNotFoundError as error:
    if (error.name or "").startswith("likewise"):
        raise
    raise ValueError(
        f"a server needs {error.name}, which is not there: pip install 'likewise[serve]'"
    ) from None

ABOUT = {
    "host": "address to listen at; other than this machine's own needs a token",
    "port": "port to listen at; 0 takes a free one",
    "memory_mb": "of models that are loaded at the same time, in megabytes",
    "uploads_mb": "that uploads may take together, in megabytes",
    "free_mb": "of the disk that no upload takes, in megabytes",
    "keep_alive": "seconds after which a model that is not used is unloaded",
    "queue_size": "jobs that may wait; further ones are refused for the moment",
    "max_batch": "samples that are computed at once",
    "batch_wait": "milliseconds to wait for further requests of a batch",
    "threads": "of the processor, for sampling; with --ray of each replica",
    "replicas": "processes that sample on a cluster of Ray (default 2)",
    "trainings": "that run at the same time; others wait",
}
TOKEN = "LIKEWISE_TOKEN"


def run(argv: Sequence[str]) -> int:
    """`likewise serve [FOLDER]`."""
    return run_server("serve", __doc__, argv, open_page=False)


def run_server(command: str, description: str | None, argv: Sequence[str], *, open_page: bool) -> int:
    """Parse the command line and serve until the process is ended."""
    parser = Parser(command, description, usage=f"likewise {command} [FOLDER] [options]")
    parser.add_argument(
        "folder",
        nargs="?",
        default="runs",
        type=Path,
        metavar="FOLDER",
        help="of runs, or a run (default runs)",
    )
    annotations = parameter_annotations(ServerSettings.__init__)
    defaults = {name: field.default for name, field in ServerSettings.__dataclass_fields__.items()}
    for name, about in ABOUT.items():
        default = defaults[name]
        parser.add_value_option(
            "--" + name.replace("_", "-"), annotation=annotations[name], about=about, default=default
        )
    parser.add_argument(
        "--token",
        help=f"what every request must bring; also from the environment, {TOKEN}, which ps does not show",
    )
    parser.add_argument(
        "--state", type=Path, metavar="FOLDER", help="of jobs and uploads (default FOLDER/.server)"
    )
    parser.add_argument(
        "--ray",
        nargs="?",
        const=LOCAL_RAY,
        metavar="ADDRESS",
        help="sample by replicas on the cluster of Ray at HOST:PORT, or auto; by default on one of this machine, which is started",
    )
    for option, metavar, about in (
        ("--allow-host", "NAME", "a further name by which the server may be called"),
        ("--cors-origin", "ORIGIN", "another page that may call the server, such as http://localhost:5173"),
        ("--alias", "NAME=MODEL", "a further name of a model, for clients that have names of their own"),
    ):
        parser.add_argument(option, action="append", default=[], metavar=metavar, help=about)
    args = parser.parse(argv)
    folder: Path = args.folder
    if str(folder) == "runs":
        folder.mkdir(exist_ok=True)
    settings = ServerSettings(
        folder,
        state=args.state,
        ray=args.ray,
        token=args.token or os.environ.get(TOKEN) or None,
        allowed_hosts=tuple(args.allow_host),
        cors_origins=tuple(args.cors_origin),
        aliases=parse_pairs(args.alias, "--alias"),
        **{name: getattr(args, name) for name in ABOUT},
    )
    serve(settings, open_page=open_page)
    return 0
