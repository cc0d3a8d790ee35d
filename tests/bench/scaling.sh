#!/bin/bash
# The training step on several ranks of this machine, each policy of parallel.sync, beside the official Python code under torchrun with DistributedDataParallel and with FSDP2
# (gloo): the same model, batch, number of ranks and cores, in turns. Images per second by the clock, median of the rounds.
#
#   tests/bench/scaling.sh DINO_CHECKOUT [ROUNDS] [RANKS...]
#
# DINO_CHECKOUT: facebookresearch/dino. RANKS: default "1 2 4". BENCH, CONFIG, PYTHON, PRECISION, STEPS, PEER_OPTIONS as in step.sh. BATCH: images of a step over all ranks (strong
# scaling), default 64; WEAK=yes: of each rank.
set -euo pipefail
dino=${1:?usage: scaling.sh DINO_CHECKOUT [ROUNDS] [RANKS...]}
rounds=${2:-3}
shift $(($# < 2 ? $# : 2))
all_ranks=("${@:-1}")
[ $# -gt 0 ] || all_ranks=(1 2 4)
here=$(cd "$(dirname "$0")" && pwd)
bench=${BENCH:-$here/../../build/release/tests/bench/dinoxx_bench_step}
config=${CONFIG:-$here/../../configs/dino_cifar10_parity.cfg}
python=${PYTHON:-python3}
precision=${PRECISION:-fp32}
batch=${BATCH:-64} steps=${STEPS:-6}
peer_options=${PEER_OPTIONS:-}
[ "$precision" = bf16 ] && peer_options="$peer_options --bf16"
export OMP_NUM_THREADS=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 MALLOC_MMAP_THRESHOLD_=1073741824 MALLOC_TRIM_THRESHOLD_=4294967296
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
figure() { awk -v name="$1" '$1 == name {print $2}'; }
median() { sort -g | awk '{v[NR] = $1} END {print (NR % 2) ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2}'; }
run() { # run NAME COMMAND...: appends the figures to a file of this name
  "${@:2}" >>"$work/$1" 2>"$work/log" || { tail -5 "$work/log" >&2; exit 1; }
}
for ranks in "${all_ranks[@]}"; do
  each=$((batch / ranks))
  [ "${WEAK:-no}" = no ] || each=$batch
  mpi=(mpirun --oversubscribe --bind-to none --mca mpi_yield_when_idle 1 -n "$ranks" "$bench" "$config" --steps "$steps" --train.batch_size $((each * ranks)) --train.precision "$precision" --train.threads 1)
  for ((i = 1; i <= rounds; i++)); do
    for sync in ddp zero1 zero2 zero3; do run "$ranks.$sync" "${mpi[@]}" --parallel.sync $sync; done
    run "$ranks.ddp,recomputed" "${mpi[@]}" --model.recompute block
    run "$ranks.zero3,recomputed" "${mpi[@]}" --model.recompute block --parallel.sync zero3
    for strategy in ddp fsdp2; do
      # shellcheck disable=SC2086  # several options, split at spaces
      run "$ranks.official $strategy" "$python" -m torch.distributed.run --nproc-per-node "$ranks" "$here/step_peer.py" "$dino" --batch "$each" --steps "$steps" --strategy "$strategy" $peer_options
    done
  done
done
echo "$precision, $([ "${WEAK:-no}" = no ] && echo "$batch images a step" || echo "$batch images a rank"), median of $rounds rounds"
echo "| ranks | | images/s | against the official code's ddp | MB of a rank | gradients sent behind backward | blocks there in time |"
echo "|---|---|---|---|---|---|---|"
percent() { awk -v s="$1" 'BEGIN {printf "%.0f %%", 100 * s}'; }
for ranks in "${all_ranks[@]}"; do
  reference=$(figure images_per_second <"$work/$ranks.official ddp" | median)
  for name in ddp zero1 zero2 zero3 ddp,recomputed zero3,recomputed "official ddp" "official fsdp2"; do
    rate=$(figure images_per_second <"$work/$ranks.$name" | median)
    share='' blocks=''
    [[ $name == official* ]] || share=$(percent "$(figure overlapped_share <"$work/$ranks.$name" | median)")
    [[ $name != zero3* || $ranks == 1 ]] || blocks=$(percent "$(figure gathers_in_time <"$work/$ranks.$name" | median)")
    echo "| $ranks | $name | $rate | $(awk -v a="$rate" -v b="$reference" 'BEGIN {printf "%.2f", a / b}') | $(figure peak_mb <"$work/$ranks.$name" | median) | $share | $blocks |"
  done
done
