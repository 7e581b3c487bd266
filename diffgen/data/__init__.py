"""Data sets: each a function that returns a `Split`."""
