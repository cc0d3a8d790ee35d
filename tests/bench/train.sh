#!/bin/bash
# Training with data, dinoxx against the official Python code, alternating: images per second as both programs report them (wall clock, augmentation included), one rank, one thread.
#
#   tests/bench/train.sh OFFICIAL_SCRIPT DINO_CHECKOUT IMAGES DATA [ROUNDS]
#
# OFFICIAL_SCRIPT: the script that runs the official loop on CPU ranks (official_dino_cpu.py). IMAGES: folder .../train with class folders and .../test beside it.
# DATA: the same images packed by `dinoxx pack`. DINOXX: the program (default build/bin/dinoxx). PYTHON: an interpreter with torch and torchvision. STEPS: default 20.
set -euo pipefail
script=${1:?usage: train.sh OFFICIAL_SCRIPT DINO_CHECKOUT IMAGES DATA [ROUNDS]} dino=${2:?} images=${3:?} data=${4:?}
rounds=${5:-3}
here=$(cd "$(dirname "$0")" && pwd)
dinoxx=${DINOXX:-$here/../../build/bin/dinoxx}
python=${PYTHON:-python3}
steps=${STEPS:-20}
export OMP_NUM_THREADS=1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
median() { sort -g | awk '{v[NR] = $1} END {print (NR % 2) ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2}'; }
for ((i = 1; i <= rounds; i++)); do
  rm -rf "$work/run" "$work/official"  # both would resume
  "$dinoxx" train --config "$here/../../configs/dino_cifar10_parity.cfg" --data "$data" --out "$work/run" --train.batch_size 64 --train.length "${steps}it" \
    --train.log_every "$steps" --train.threads 1 --optim.warmup 1it --optim.freeze_last_layer 1it --eval.every 0it --checkpoint.every 0it >"$work/log" 2>&1 || { tail -5 "$work/log" >&2; exit 1; }
  grep -o '"images_per_s":[0-9.]*' "$work/run/metrics.jsonl" | tail -1 | cut -d: -f2 | cut -c1-6 >>"$work/ours"
  DINO=$dino DIM=192 DEPTH=6 HEADS=3 GSIZE=32 LSIZE=16 SUBSET=$((64 * steps)) KNNTRAIN=1000 EVERY=100 "$python" -m torch.distributed.run --nproc_per_node 1 --master_port "${MASTER_PORT:-29618}" \
    "$script" --arch vit_tiny --patch_size 8 --out_dim 4096 --norm_last_layer true --momentum_teacher 0.99 --teacher_temp 0.04 --warmup_teacher_temp 0.04 \
    --warmup_teacher_temp_epochs 0 --use_fp16 false --weight_decay 0.04 --weight_decay_end 0.4 --clip_grad 3.0 --batch_size_per_gpu 64 --epochs 1 --freeze_last_layer 1 \
    --lr 0.001 --warmup_epochs 0 --min_lr 1e-6 --global_crops_scale 0.25 1.0 --local_crops_number 4 --local_crops_scale 0.05 0.25 --num_workers 0 --data_path "$images" \
    --output_dir "$work/official" --drop_path_rate 0.0 --saveckp_freq 1000 --seed 0 >"$work/log" 2>&1 || { tail -5 "$work/log" >&2; exit 1; }
  grep -o '"img_per_s": [0-9.]*' "$work/log" | tail -1 | cut -d' ' -f2 >>"$work/theirs"
  echo "round $i: dinoxx $(tail -1 "$work/ours"), official $(tail -1 "$work/theirs") images per second"
done
a=$(median <"$work/ours") b=$(median <"$work/theirs")
echo "median of $rounds, with data: dinoxx $a, official $b, ratio $(awk -v a="$a" -v b="$b" 'BEGIN {printf "%.2f", a / b}')"
