"""Snakemake in a process that ends when the one that started it does. A script: it does without torch, and starts fast.

If `diffgen sweep` is killed, whatever the signal, this process ends, and with it the jobs on this machine, which watch
it as it watches its parent. Jobs on a cluster go on; the next sweep waits for them.
"""

import os
import signal
import sys
import threading
import time

SECONDS_BETWEEN_LOOKS = 0.5


def end_with(parent: int) -> None:
    """End this process, at once, when the process `parent`, that started it, has ended; nothing is lost by a kill."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(SECONDS_BETWEEN_LOOKS)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    end_with(int(sys.argv[1]))
    from snakemake.cli import main

    main(sys.argv[2:])
