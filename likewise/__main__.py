"""`python -m likewise`, and what torchrun starts: `torchrun --nproc-per-node 2 -m likewise train ...`."""

from __future__ import annotations

import sys

from likewise.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
