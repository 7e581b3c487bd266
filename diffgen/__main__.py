"""`python -m diffgen` is `diffgen`; `torchrun --nproc_per_node 2 -m diffgen train` trains with two processes."""

import sys

from diffgen.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
