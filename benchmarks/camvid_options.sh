#!/usr/bin/env bash
# What FAKD's options do on CamVid, one change at a time, seed 0; after camvid.sh, with its teacher and budget.
#
#   benchmarks/camvid_options.sh PATH/TO/CamVid [RUNS_FOLDER]
set -euo pipefail
data=$1
runs=${2:-runs/camvid}
bin=${BIN:-.venv/bin}
common="--config configs/camvid-small.yaml --data_root $data --resume --teacher $runs/teacher
    --student pspnet/test_resnet.r160_in1k --head_channels 64 --max_steps 400 --eval_every 400"

# name options...
cells() {
    echo "fakd_weight1 --method fakd --options.weight 1"
    echo "cwd_weight1 --method cwd --options.weight 1"
    echo "fakd_strength0.1 --method fakd --options.strength 0.1"
    echo "fakd_tight --method fakd --options.bound tight"
    echo "fakd_full --method fakd --options.covariance full"
    echo "fakd_window100000 --method fakd --options.window 100000"
}

export OMP_NUM_THREADS=1
cells | xargs -P 2 -L 1 bash -c "$bin/fakd distill $(echo $common) --output $runs/\$0-seed0 \"\$@\""

"$bin"/python benchmarks/camvid_table.py "$runs"
