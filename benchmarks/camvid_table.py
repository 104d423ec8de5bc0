"""Print the tables of docs/benchmarks/camvid.md from the run folders that camvid.sh made.

python benchmarks/camvid_table.py RUNS_FOLDER
"""

import sys
from pathlib import Path

from fakd.analysis.runs import read_run
from fakd.analysis.tables import class_table, markdown_table

ORDER = ["teacher", "none", "pixel", "cwd", "fakd-pixel", "fakd"]

runs = Path(sys.argv[1])
finished = sorted(path.parent for path in runs.glob("*/results.json"))
names = sorted({folder.name.rsplit("-seed", 1)[0] for folder in finished})
names = [name for name in ORDER if name in names] + [name for name in names if name not in ORDER]
groups = {
    name: [read_run(folder) for folder in finished if folder.name.rsplit("-seed", 1)[0] == name] for name in names
}
methods = {name: group for name, group in groups.items() if name in ORDER}
options = {name: group for name, group in groups.items() if name not in ORDER}
print(markdown_table(methods))
print(class_table(methods))
if options:
    print(markdown_table(options))
