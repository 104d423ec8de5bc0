#!/usr/bin/env bash
# The runs of docs/benchmarks/camvid.md: one teacher, then every method with three seeds at the same budget.
# Finished runs are skipped and interrupted ones go on, so it can be started again at any time.
#
#   benchmarks/camvid.sh PATH/TO/CamVid [RUNS_FOLDER]
#
# Two runs share the machine, one thread each: on two cores that is faster than one run with two threads.
set -euo pipefail
data=$1
runs=${2:-runs/camvid}
bin=${BIN:-.venv/bin}
common="--config configs/camvid-small.yaml --data_root $data --resume"
student="--student pspnet/test_resnet.r160_in1k --head_channels 64 --max_steps 400 --eval_every 400"

"$bin"/fakd train $common --network pspnet/efficientnet_lite2 --backbone_weights imagenet --output_stride 16 \
    --crop_size 128,128 --max_steps 1000 --eval_every 250 --output "$runs/teacher"

# name method seed options...
cells() {
    for seed in 0 1 2; do
        for method in none pixel cwd fakd-pixel fakd; do
            echo "$method-seed$seed --method $method --seed $seed"
        done
    done
}

export OMP_NUM_THREADS=1
cells | xargs -P 2 -L 1 bash -c \
    "$bin/fakd distill $common --teacher $runs/teacher $student --output $runs/\$0 \"\$@\""

"$bin"/python benchmarks/camvid_table.py "$runs"
