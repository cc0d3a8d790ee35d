#!/usr/bin/env bash
# Collects what first_ten_minutes.sh needs on a GPU machine where nothing can be built: the program and its tests of a CUDA build, their libraries, configurations
# and scripts. LibTorch, CUDA and NCCL stay out (they are 3.7 GB): first_ten_minutes.sh takes those of the PyTorch that is installed there.
#
#   tests/gpu/carry.sh BUILD OUT     BUILD: a build folder of the preset "cuda"; OUT: a folder that is made, less than 60 MB
set -euo pipefail
[ $# -eq 2 ] || { sed -n '2,6s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 2; }
build=$(cd "$1" && pwd)
source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
[ -x "$build/bin/dinoxx" ] || { echo "carry.sh: $build/bin/dinoxx: expected a built program, found none. Build the preset \"cuda\" first" >&2; exit 2; }
[ ! -e "$2" ] || { echo "carry.sh: $2 is there already; name a new folder" >&2; exit 2; }
mkdir -p "$2"/{bin,lib,tests/gpu,tests/fakegpu,configs}
out=$(cd "$2" && pwd)

cp "$build/bin/dinoxx" "$out/bin/"
for program in tests/gpu/gpu_optimizer tests/gpu/gpu_blocks tests/gpu/gpu_losses tests/gpu/gpu_nccl tests/bench/dinoxx_bench_loader; do
  [ ! -x "$build/$program" ] || cp "$build/$program" "$out/bin/"
done
cp "$source_dir"/configs/*.cfg "$out/configs/"
cp "$source_dir"/tests/gpu/first_ten_minutes.{sh,py} "$source_dir"/tests/gpu/step_peer.py "$out/tests/gpu/"
cp "$source_dir/tests/fakegpu/budgets.csv" "$out/tests/fakegpu/"

# libraries: not those of PyTorch and CUDA, nor those that every Linux has
ldd "$out"/bin/* | awk '$2 == "=>" && $3 ~ /^\// {print $3}' | sort -u |
  grep -vE '/(libtorch|libc10|libcu(da|pti|blas|dnn|fft|file|rand|sol|sparse)|libnccl|libnv|libgomp|ld-linux|libc\.so|libm\.so|libdl\.|librt\.|libpthread|libresolv|libutil)|/nvidia/' |
  while read -r library; do cp -L "$library" "$out/lib/"; done
# Open MPI finds its parts below OPAL_PREFIX; one process alone needs no other program of it
mkdir "$out/lib/openmpi"
parts=$(find "$(dirname "$(ldd "$build/bin/dinoxx" | awk '/libmpi\.so/ {print $3}' | xargs readlink -f)")" -name mca_btl_self.so | head -n 1)
[ -n "$parts" ] || { echo "carry.sh: expected Open MPI's mca_btl_self.so beside libmpi.so, found none" >&2; exit 1; }
cp -L "$(dirname "$parts")"/mca_*.so "$out/lib/openmpi/"
find "$out/bin" "$out/lib" -type f -exec strip --strip-unneeded {} \; 2>/dev/null || true
du -sh "$out" | awk '{print "carry.sh: " $2 ", " $1}'
