"""The book: chapters as programs, their parameters, and the ledger of claims. The only package that knows notebooks."""

from diffgen.book.chapter import ledger, run_link
from diffgen.book.claims import Beside, Claim, Ledger, counted, verbally
from diffgen.book.execute import (
    ChapterError,
    chapters,
    check_parameters,
    execution_key,
    find_chapter,
    project_root,
    run_chapter,
    versions,
)
from diffgen.book.parameter import Parameter, ParameterError, declared, parameters, validate

__all__ = [
    "Beside", "ChapterError", "Claim", "Ledger", "Parameter", "ParameterError", "chapters", "check_parameters",
    "counted", "declared", "execution_key", "find_chapter", "ledger", "parameters", "project_root", "run_chapter",
    "run_link", "validate", "verbally", "versions",
]  # fmt: skip
