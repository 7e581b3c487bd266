"""Chapters as programs: typed parameters, and execution by papermill.

A chapter's first code cell, tagged `parameters`, declares them with types, defaults and a comment that explains each:

    seed: int = 0  # of data split, initial weights and noise

papermill injects other values in a cell of its own below, and only warns when a name is unknown. So the chapter calls
`check_parameters` next, and `run_chapter` checks before anything runs.
"""

import ast
import hashlib
import importlib.metadata
import json
import logging
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffgen.book.parameter import ParameterError, declared, parameters, validate
from diffgen.runs.publication import is_url, publication_at

PACKAGE = Path(__file__).parent.parent


class ChapterError(RuntimeError):
    """A cell of a chapter raised."""


def check_parameters() -> None:
    """In a chapter's setup cell: compare what papermill injected, or a reader typed, with what the chapter declares.

    The kernel's own history holds both cells, so nothing needs to be repeated here. Checked values replace the given
    ones, so a list that papermill injected becomes the declared tuple.

    Raises:
        ParameterError: of one line, that names the parameter, the value, and the valid ones.
    """
    from IPython import get_ipython

    shell = get_ipython()
    if shell is None:
        raise ParameterError("check_parameters() reads the notebook's cells; run it in a kernel")
    history = shell.user_ns["In"]
    declaring = [n for n, source in enumerate(history) if _annotated(source)]
    if not declaring:
        raise ParameterError("no cell declares parameters (name: type = default); run the cell tagged parameters first")
    # a reader may have run the cell again: the last one that shares a name with the first
    n = max(n for n in declaring if _annotated(history[n]) & _annotated(history[declaring[0]]))
    known = declared(history[n], shell.user_ns)
    given = {parameter.name: shell.user_ns[parameter.name] for parameter in known}
    for source in history[n + 1 :]:
        if source.startswith("# Parameters"):  # papermill's own mark
            given |= {name: shell.user_ns[name] for name in _assigned(source)}
    shell.user_ns.update(validate(known, given))


def _syntax(source: str) -> list[ast.stmt]:
    try:
        return ast.parse(source).body
    except SyntaxError:  # a cell that IPython refused
        return []


def _annotated(source: str) -> set[str]:
    nodes = (node.target for node in _syntax(source) if isinstance(node, ast.AnnAssign))
    return {target.id for target in nodes if isinstance(target, ast.Name)}


def _assigned(source: str) -> set[str]:
    targets = (target for node in _syntax(source) if isinstance(node, ast.Assign) for target in node.targets)
    return {target.id for target in targets if isinstance(target, ast.Name)}


def project_root() -> Path:
    """The folder that holds the book: the working directory or the nearest above it with `_toc.yml` and `chapters/`."""
    for folder in (Path.cwd(), *Path.cwd().parents):
        if (folder / "_toc.yml").is_file() and (folder / "chapters").is_dir():
            return folder
    raise ChapterError(f"no book (_toc.yml, chapters/) in or above {Path.cwd()}; change into a clone of the project")


def chapters(root: Path | None = None) -> list[Path]:
    """The book's chapters (NN_name.ipynb), in order."""
    return sorted((root or project_root()).glob("chapters/[0-9][0-9]_*.ipynb"))


def find_chapter(name: str, root: Path | None = None) -> Path:
    """The chapter that `name` means: "02", "2", "02_generalization_gap" or a path to a notebook."""
    if Path(name).suffix == ".ipynb" and Path(name).is_file():
        return Path(name).resolve()
    there = chapters(root)
    number = f"{int(name):02d}" if name.isdecimal() else name
    for path in there:
        if number in (path.stem, path.stem[:2]):
            return path
    raise ChapterError(f"no chapter {name!r}; there are {', '.join(path.stem for path in there)}")


def execution_key(notebook: str | Path, values: Mapping[str, Any]) -> str:
    """A hash of all that decides a chapter's outputs: source, parameters, diffgen's files, published results, versions.

    Contents count, not times of change: a fresh clone or a touched file makes nothing stale.
    """
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    cells = json.loads(Path(notebook).read_text(encoding="utf-8"))["cells"]
    digest.update(json.dumps([(cell["cell_type"], "".join(cell["source"])) for cell in cells]).encode())
    for path in sorted(PACKAGE.rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            digest.update(f"{path.relative_to(PACKAGE)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    if results := values.get("results"):
        root = results if is_url(results) else Path(notebook).resolve().parent.parent / results
        if published := publication_at(root):
            digest.update(json.dumps(published.manifest).encode())  # it has the checksums of all files
    digest.update(repr(versions()).encode())
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """The installed version of Python and of each package that diffgen and its book ask for by name."""
    lines = importlib.metadata.requires("diffgen") or []
    asked = [line for line in lines if "extra ==" not in line or re.search(r"extra == .book.", line)]
    installed = {"python": "{}.{}.{}".format(*sys.version_info)}
    for name in sorted({re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in asked}):
        try:
            installed[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            installed[name] = "missing"
    return installed


def run_chapter(
    chapter: str | Path, values: Mapping[str, Any], output: str | Path, root: Path | None = None, progress: bool = True
) -> Path:
    """Execute a chapter with the parameters `values` and write the executed notebook to `output`.

    It runs in the project's root, as `papermill chapters/NN_name.ipynb out.ipynb` from there would. The output appears
    only when all cells have run; it carries its parameters, versions and `execution_key` in its metadata.

    Args:
        chapter: what `find_chapter` understands.
        values: parameters by name; those not given keep the chapter's defaults.
        output: the notebook to write; an older one stays as it is if a cell raises.
        root: the project's root; found from the working directory by default.
        progress: show the cells' progress and what they print on the terminal.

    Returns:
        The path written.

    Raises:
        ParameterError: for an unknown name or a wrong value, before anything runs.
        ChapterError: if a cell raises; names the cell, the error, and where the notebook as far as it came is kept.
    """
    import nbformat
    import papermill

    root = root or project_root()
    notebook = find_chapter(str(chapter), root)
    values = json.loads(json.dumps(validate(parameters(notebook), values)))  # papermill writes lists, not tuples
    key = execution_key(notebook, values)  # before it runs: an edit meanwhile makes it stale
    output = Path(output).resolve()
    output.parent.mkdir(parents=True, exist_ok=True)
    failed, partial = output.with_suffix(".failed.ipynb"), output.with_name(f".{output.stem}.{os.getpid()}.ipynb")
    options = {"cwd": str(root), "kernel_name": "python3", "progress_bar": progress}
    # else every start warns that its local port is plain, and the end may complain that it was interrupted
    options["extra_arguments"] = ["--IPKernelApp.log_level=50"]
    if progress:
        options |= {"stdout_file": sys.stdout, "stderr_file": sys.stderr}
    # its regular expression misses quoted annotations, and then it warns of parameters that are declared
    logging.getLogger("papermill").setLevel(logging.ERROR)
    try:
        done = papermill.execute_notebook(str(notebook), str(partial), values, **options)
        done.metadata.pop("papermill", None)  # its paths are this machine's
        done.metadata["diffgen"] = {"key": key, "parameters": values, "versions": versions()}
        nbformat.write(done, partial)
    except BaseException as error:  # interrupted or failed: nothing is lost
        kept = ""
        if partial.exists():
            os.replace(partial, failed)
            kept = f"; the notebook as far as it came: {failed}"
        if isinstance(error, papermill.PapermillExecutionError):
            where = f"in cell {error.cell_index + 1} (In[{error.exec_count}])"
            raise ChapterError(
                f"{notebook.stem} failed {where}: {error.ename}: {' '.join(error.evalue.split())}{kept}"
            ) from None
        if isinstance(error, RuntimeError):  # the kernel died, most often for want of memory
            raise ChapterError(f"{notebook.stem} failed: {error}{kept}") from None
        raise
    os.replace(partial, output)
    failed.unlink(missing_ok=True)
    return output
