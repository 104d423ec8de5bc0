"""Print how large FAKD's variance terms became in finished runs, from their last checkpoints.

python benchmarks/camvid_variances.py RUN_FOLDER...
"""

import sys
from pathlib import Path

import torch

from fakd.analysis.runs import read_run
from fakd.functional.variance import logit_variances
from fakd.methods import method_options

for folder in map(Path, sys.argv[1:]):
    config = read_run(folder).config
    options = {name: option.default for name, option in method_options(config["method"]).items()} | config["options"]
    state = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    weight = state["student.classifier.weight"].flatten(1)
    variances = logit_variances(weight, state["method.covariance.covariance"])
    # Theorem 1 as printed divides by 2 tau, the other forms by 2 tau^2
    printed = config["method"] == "fakd" and options["bound"] == "paper"
    v = options["strength"] / (2 * options["temperature"] ** (1 if printed else 2)) * variances
    print(f"{folder}: v median {v.median():.4f}, largest {v.max():.4f} nats")
