#!/usr/bin/env bash
# What a GPU has to say, in at most 12 minutes: the whole step, and CamVid at full size for as long as the time allows.
#
#   benchmarks/on_gpu.sh CAMVID OUT
#
# Writes OUT/step.md (PSPNet-R101 to PSPNet-R18, 16 crops of 512x512 in bf16) for docs/benchmarks/speed.md, and
# OUT/camvid/comparison.md (360x480, the paper's optimizer, two minutes of training for each of none, cwd and fakd) for
# docs/benchmarks/camvid.md. Variables make all of it small enough for a test on a CPU.
set -euo pipefail
data=$1 out=$2
mkdir -p "$out"
PYTHON=${PYTHON:-python} DEVICE=${DEVICE:-cuda}

{
    [ "$DEVICE" = cpu ] || nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
    "$PYTHON" "$(dirname "$0")/step.py" --device "$DEVICE" --workers 8 --rounds 5 ${STEP:-}
} | tee "$out/step.md"

"$PYTHON" -m fakd compare --dataset "${DATASET:-camvid}" --data-root "$data" --output "$out/camvid" \
    --teacher-network "${TEACHER:-fcn-concat/efficientnet_lite2}" --students "${STUDENT:-fcn-concat/efficientnet_lite0}" \
    --backbone-weights "${WEIGHTS:-imagenet}" --teacher-options.backbone-weights "${WEIGHTS:-imagenet}" \
    --teacher-options.max-steps "${TEACHER_STEPS:-800}" --methods none,cwd,fakd --seeds 1 \
    --learning-rate 0.01 --workers 8 ${BUDGET:---budget minutes --minutes 2} ${SIZES:-}
