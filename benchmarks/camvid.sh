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
fakd=${FAKD:-.venv/bin/fakd}
jobs=${JOBS:-2}
common="--config configs/camvid-small.yaml --data_root $data --resume"

if [ ! -f "$runs/teacher/results.json" ]; then
    $fakd train $common --network pspnet/efficientnet_lite2 --backbone_weights imagenet --output_stride 16 \
        --max_steps 1000 --eval_every 250 --output "$runs/teacher"
fi

for seed in 0 1 2; do
    for method in none pixel cwd fakd-pixel fakd; do
        echo "$method $seed"
    done
done | OMP_NUM_THREADS=1 xargs -P "$jobs" -L 1 bash -c "$fakd distill $common --teacher $runs/teacher \
    --student pspnet/test_resnet.r160_in1k --head_channels 64 --max_steps ${STEPS:-700} --eval_every ${STEPS:-700} \
    --method \$0 --seed \$1 --output $runs/\$0-seed\$1"

$(dirname "$fakd")/python benchmarks/camvid_table.py "$runs"
