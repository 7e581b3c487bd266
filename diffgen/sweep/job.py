"""A job of a sweep: train one run, measure it, delete what is not to be kept.

`python -m diffgen.sweep.job LABEL PARENT` in the sweep's working directory, for Snakemake.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from diffgen.files import write_whole
from diffgen.runs import RunFolder, find_run, train
from diffgen.runs.folder import config_of
from diffgen.runs.key import run_name
from diffgen.sweep.engine import end_with
from diffgen.sweep.load import load
from diffgen.sweep.state import measured_mark, measuring, prune


def work(plan: dict[str, Any], label: str) -> None:
    """Do what the plan says of a run, or find it done.

    Of two sweeps that want the same at once, one trains and measures while the other waits.
    """
    sweep = load(plan["name"], plan["seed"])  # also for what its file does when it is imported
    config, root = config_of(plan["runs"][label]["config"]), Path(plan["root"])
    run = find_run(config, root)
    print(f"training {run_name(config)}", flush=True)
    snapshots = list(train(config, root=root, device=plan["device"], progress=False))
    if not isinstance(run, RunFolder):  # published
        return
    with measuring(run):
        mark, start = measured_mark(run, plan["key"]), time.monotonic()
        if sweep.measure and not mark.exists():
            print("measuring it", flush=True)
            sweep.measure(snapshots, root, plan["device"])
            metadata = {"sweep": plan["name"], "seconds": round(time.monotonic() - start, 1)}
            write_whole(mark, json.dumps(metadata).encode())
        prune(run, plan["keep"])


def main(label: str, parent: str) -> int:
    """Work; a failure goes to the log, and in a line into the file that tells `diffgen sweep` of it."""
    end_with(int(parent))
    here = Path.cwd()
    plan = json.loads((here / "plan.json").read_text())
    os.chdir(plan["cwd"])
    try:
        work(plan, label)
    except Exception as error:
        traceback.print_exc()
        line = " ".join(str(error).split())
        write_whole(here / "failed" / label, f"{type(error).__name__}: {line}".encode())
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
