"""The command line: `likewise COMMAND ...`, with the commands that COMMANDS lists.

A command's module is imported only when it runs, so that `likewise --help` does not wait for PyTorch. Errors of
the user are ValueError or OSError with a message that says what to do; LIKEWISE_DEBUG=1 shows the traceback.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from likewise._version import __version__
from likewise.core.errors import did_you_mean, receive_warnings
from likewise.core.interrupts import signal_of, signals_as_exceptions

COMMANDS = {  # name, which is that of the module in cli/commands -> description
    "data": "show a data set: its columns, example rows, a check of every row",
    "train": "train a model of the distribution that a formula names",
    "sample": "sample from a trained model",
    "infill": "fill a hole in a picture, a gap in a text, or unknown values of a row",
    "vary": "sample variations of a picture",
    "interpolate": "sample a transition between two texts, or two seeds",
    "score": "compute the log-probability of rows, and list the least likely ones",
    "evaluate": "evaluate a trained model on held-out rows",
    "forecast": "forecast the values that follow a history",
    "compare": "train every family for the same time and evaluate them side by side",
    "chain": "chain trained models, each with samples of those before it as sources",
    "export": "export a model of text for the library transformers",
    "import": "import a model of text that transformers has saved",
    "serve": "serve the models of a folder over HTTP, to clients of OpenAI's API and to the studio",
    "studio": "serve the models of a folder, and open the studio in a browser",
    "demo": "sample emoji, then train and evaluate a model of digits in about two minutes",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Exit status 1: an error, 2: a command line that cannot be parsed, 130: Ctrl-C, 143: SIGTERM."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started the process
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        if isinstance(stream := getattr(sys, name), io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal may lack characters of the data
    try:
        with show_notes(), signals_as_exceptions():
            status = _run_command(list(sys.argv[1:] if argv is None else argv))
            sys.stdout.flush()
            return status
    except KeyboardInterrupt as error:
        _say("\nlikewise: stopped")
        return 128 + signal_of(error)
    except BrokenPipeError:  # the reader of the output, such as `head`, has closed it
        return 0
    except (ValueError, OSError, FloatingPointError, MemoryError) as error:
        if os.environ.get("LIKEWISE_DEBUG"):
            raise
        _say(f"likewise: {describe_error(error)}")
        return 1
    finally:
        _discard_unwritten()


def _run_command(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if argv[0] == "--version":
        print(__version__)
        return 0
    if argv[0] not in COMMANDS:
        _say(f"likewise: {did_you_mean('command', argv[0], COMMANDS)}")
        return 2
    status: int = importlib.import_module(f"likewise.cli.commands.{argv[0]}").run(argv[1:])
    return status


def describe_error(error: Exception) -> str:
    """The message of an error in a sentence.

    >>> describe_error(OSError(28, "No space left on device", "a.png"))
    'cannot read or write a.png: no space left on device'
    """
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    reason = error.strerror[:1].lower() + error.strerror[1:]
    return f"cannot read or write {'the output' if error.filename is None else error.filename}: {reason}"


def _say(message: str) -> None:
    """Print to stderr, unless it is closed."""
    with suppress(OSError):
        print(message, file=sys.stderr)


def _discard_unwritten() -> None:
    """Direct a standard output that cannot be written elsewhere: Python would complain of it at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def show_notes() -> Iterator[None]:
    """Print each RequestWarning once, as a note on stderr."""
    shown: set[str] = set()

    def show(message: str) -> None:
        if message not in shown:
            shown.add(message)
            print(f"note: {message}", file=sys.stderr)

    with receive_warnings(show):
        yield


def overview() -> str:
    """The text of `likewise --help`."""
    commands = "\n".join(f"  {name:13}{about}" for name, about in COMMANDS.items())
    return f"""Train generative models on your own data: write a distribution, name the data, sample.

usage: likewise COMMAND ...

{commands}

`likewise COMMAND --help` lists the options of a command. For example:
  likewise sample emoji "a red apple, flat style"
  likewise train icons "image | text" --minutes 10
  likewise sample runs/icons "truck alert" -n 8"""
