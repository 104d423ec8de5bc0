"""Print the table of docs/benchmarks/camvid.md from the run folders that camvid.sh made.

python benchmarks/camvid_table.py RUNS_FOLDER
"""

import sys
from pathlib import Path

from fakd.analysis.runs import read_run
from fakd.analysis.tables import class_table, markdown_table

runs = Path(sys.argv[1])
finished = sorted(path.parent for path in runs.glob("*/results.json"))
groups = {folder.name.rsplit("-seed", 1)[0]: [] for folder in finished}
for folder in finished:
    groups[folder.name.rsplit("-seed", 1)[0]].append(read_run(folder))
print(markdown_table(groups))
print(class_table(groups))
