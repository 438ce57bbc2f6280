"""The command line: `likewise data | train | sample | evaluate | ...`, as COMMANDS lists them.

Only the standard library is imported here, and a command's own file when it runs, so that `likewise --help`
answers in a blink. Errors of the user come as ValueError or OSError with a sentence that says what to do;
LIKEWISE_DEBUG=1 shows where they were raised.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from likewise.core.errors import did_you_mean

COMMANDS = {  # name, and module in likewise.commands -> what it is for
    "data": "look at a data set: its columns, a check of every row, a preview",
    "train": "learn the distribution that a formula names",
    "sample": "draw from a trained model",
    "infill": "fill the hole of a picture, or what is not known of a row",
    "vary": "draw variations of a picture",
    "interpolate": "draw what lies between two texts, or two seeds",
    "score": "say how likely rows are, and which are odd",
    "evaluate": "measure a trained model on rows held out",
    "compare": "train every family for the same time and measure them side by side",
    "chain": "put trained models one after another",
    "export": "write a model of text as a folder that transformers reads",
    "import": "make a run of a model of text from such a folder",
    "demo": "draw emoji, and learn to draw digits, in about two minutes",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Exit status 1: an error, 2: a command line that cannot be read, 130: Ctrl-C."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if argv[0] == "--version":
        from likewise import __version__

        print(__version__)
        return 0
    if argv[0] not in COMMANDS:
        print(f"likewise: {did_you_mean('command', argv[0], COMMANDS)}", file=sys.stderr)
        return 2
    try:
        status = importlib.import_module(f"likewise.cli.commands.{argv[0]}").run(argv[1:])
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        print("\nlikewise: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # who reads what is printed has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError, FloatingPointError, MemoryError) as error:
        if os.environ.get("LIKEWISE_DEBUG"):
            raise
        print(f"likewise: {error}", file=sys.stderr)
        return 1


def overview() -> str:
    """What `likewise --help` says."""
    commands = "\n".join(f"  {name:13}{about}" for name, about in COMMANDS.items())
    return f"""Write the distribution you want, point it at your data, draw from it.

usage: likewise COMMAND ...

{commands}

`likewise COMMAND --help` lists the options of a command. For example:
  likewise sample emoji "a red apple, flat style"
  likewise train icons "image | text" --minutes 10
  likewise sample runs/icons "truck alert" -n 8"""
