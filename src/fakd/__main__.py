"""`python -m fakd`, for torchrun."""

import sys

from fakd.cli import main

if __name__ == "__main__":
    sys.exit(main())
