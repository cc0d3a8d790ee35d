#!/bin/bash
# Loader against torchvision + Pillow on the same photographs, alternating so that both see the same machine: medians and their ratio.
#
#   tests/bench/loader.sh FOLDER [ROUNDS]
#
# BENCH: the program (default build/tests/bench/dinoxx_bench_loader). PYTHON: an interpreter with torchvision and Pillow.
# BENCH_OPTIONS and PEER_OPTIONS are passed on, for example BENCH_OPTIONS="--global 32 --local 16" PEER_OPTIONS="--global 32 --local 16".
set -euo pipefail
folder=${1:?usage: loader.sh FOLDER [ROUNDS]}
rounds=${2:-5}
here=$(cd "$(dirname "$0")" && pwd)
bench=${BENCH:-$here/../../build/tests/bench/dinoxx_bench_loader}
python=${PYTHON:-python3}
export OMP_NUM_THREADS=1
figure() { awk '/^images_per_core_second/ {print $2}'; }
median() { sort -g | awk '{v[NR] = $1} END {print (NR % 2) ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2}'; }
ours=() theirs=()
for ((i = 1; i <= rounds; i++)); do
  ours+=("$("$bench" "$folder" ${BENCH_OPTIONS:-} | figure)")
  theirs+=("$("$python" "$here/loader_peer.py" "$folder" ${PEER_OPTIONS:-} | figure)")
  echo "round $i: dinoxx ${ours[-1]}, torchvision + Pillow ${theirs[-1]} images per second of one core"
done
a=$(printf '%s\n' "${ours[@]}" | median)
b=$(printf '%s\n' "${theirs[@]}" | median)
echo "median of $rounds: dinoxx $a, torchvision + Pillow $b, ratio $(awk -v a="$a" -v b="$b" 'BEGIN {printf "%.1f", a / b}')"
