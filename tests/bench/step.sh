#!/bin/bash
# The whole training step against the official Python code, alternating so that both see the same machine, in processor time of one core: medians, their ratio, the limit that
# the matrix products set, and a profile of the rest.
#
#   tests/bench/step.sh DINO_CHECKOUT [ROUNDS]
#
# DINO_CHECKOUT: facebookresearch/dino. BENCH: the program (default build/tests/bench/dinoxx_bench_step). CONFIG: default configs/dino_cifar10_parity.cfg, whose model step_peer.py
# has as its default (PEER_OPTIONS for another). PRECISION: fp32 or bf16. PYTHON: an interpreter with torch 2.11 and torchvision. BATCH: per rank, default 64. STEPS: default 12.
set -euo pipefail
dino=${1:?usage: step.sh DINO_CHECKOUT [ROUNDS]}
rounds=${2:-5}
here=$(cd "$(dirname "$0")" && pwd)
bench=${BENCH:-$here/../../build/tests/bench/dinoxx_bench_step}
config=${CONFIG:-$here/../../configs/dino_cifar10_parity.cfg}
python=${PYTHON:-python3}
precision=${PRECISION:-fp32}
batch=${BATCH:-64} steps=${STEPS:-12}
peer_options=${PEER_OPTIONS:-}
[ "$precision" = bf16 ] && peer_options="$peer_options --bf16"
export OMP_NUM_THREADS=1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
figure() { awk -v name="$1" '$1 == name {print $2}'; }
median() { sort -g | awk '{v[NR] = $1} END {print (NR % 2) ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2}'; }
median_of() { cat "$work"/ours.* | figure "$1" | median; }
for ((i = 1; i <= rounds; i++)); do
  "$bench" "$config" --steps "$steps" --train.batch_size "$batch" --train.precision "$precision" --train.threads 1 >"$work/ours.$i"
  "$python" "$here/step_peer.py" "$dino" --batch "$batch" --steps "$steps" $peer_options >"$work/theirs.$i" 2>"$work/log" || { tail -5 "$work/log" >&2; exit 1; }
  echo "round $i: dinoxx $(figure images_per_core_second <"$work/ours.$i"), official $(figure images_per_core_second <"$work/theirs.$i") images per second of one core"
done
ours=$(median_of images_per_core_second)
theirs=$(cat "$work"/theirs.* | figure images_per_core_second | median)
share() { awk -v a="$1" -v b="$2" 'BEGIN {printf "%.0f %%", 100 * a / b}'; }
echo "$precision, batch $batch, median of $rounds: dinoxx $ours, official $theirs, ratio $(awk -v a="$ours" -v b="$theirs" 'BEGIN {printf "%.2f", a / b}')"
for kind in library own; do
  limit=$(median_of limit_images_per_core_second_$kind)
  echo "limit ($(median_of gflop_per_image_textbook) GFLOP an image at the $kind's $(median_of gemm_gflops_$kind) GFLOP/s): $limit; dinoxx $(share "$ours" "$limit"), official $(share "$theirs" "$limit")"
done
echo "executed by dinoxx: $(median_of gflop_per_image_executed) GFLOP an image at $(median_of gemm_gflops_in_step) GFLOP/s inside the step"
for name in matrix_products layer_norm attention row_sums rest; do echo "share of the step's time, $name: $(median_of share_$name)"; done
