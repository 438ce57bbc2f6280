"""The commands, a file each, with `run(argv) -> exit status`. `likewise.cli` imports the one that is asked for."""
