"""`fakd` whose toy-scenes are 8 small images a split, for tests that need the command in processes of its own.

python tests/small_fakd.py distill --teacher RUN --output run
"""

import sys

from tiny import SMALL

from fakd.cli import main
from fakd.data import DATASETS

if __name__ == "__main__":
    DATASETS["toy-scenes"] = SMALL  # type: ignore[index]
    sys.exit(main(sys.argv[1:]))
