"""The commands, a file each, with `run(argv) -> exit status`. `likewise.cli` imports the one asked for."""
