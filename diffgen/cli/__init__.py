"""The command line: `diffgen <command>`."""
