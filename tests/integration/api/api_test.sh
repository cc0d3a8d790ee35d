#!/usr/bin/env bash
# What another project may link: installed alone, moved, found by find_package(dinoxx), and equal to the program.
#   api_test.sh SOURCE_DIR BUILD_DIR CMAKE PROGRAM TORCH_ROOT COMPILER
set -euo pipefail
source=$1 build=$2 cmake=$3 program=$4 torch=$5 compiler=$6
here=$source/tests/integration/api
work=$build/api_test  # always the same, so that ccache knows the objects again
fails() { echo "FAILED: $*"; exit 1; }
rm -rf "$work"
mkdir -p "$work"
trap 'rm -rf "$work"' EXIT
export OMP_NUM_THREADS=1

"$cmake" --install "$build" --component dev --prefix "$work/first" >/dev/null
mv "$work/first" "$work/prefix"
[ ! -e "$work/prefix/bin" ] || fails "--component dev installs the program"
(cd "$source/include" && find dinoxx -name '*.hpp' | sort) >"$work/public"
(cd "$work/prefix/include" && find . -type f | sed 's|^\./||' | sort) >"$work/installed"
diff "$work/public" "$work/installed" || fails "the installed headers are not those of include/"
if grep -rIlF -e "$source" -e "$build" -e "$torch" -e "$work" "$work/prefix"; then fails "these installed files hold a path of this machine"; fi

compile() { # compile PROJECT: out of tree, against the moved folder
  local options=()
  if command -v ccache >/dev/null; then options+=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache); fi
  if command -v mold >/dev/null; then options+=(-DCMAKE_EXE_LINKER_FLAGS=-fuse-ld=mold); fi
  { "$cmake" -S "$here/$1" -B "$work/$1" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH="$work/prefix" -DTORCH_ROOT="$torch" \
    -DCMAKE_CXX_COMPILER="$compiler" "${options[@]}" && "$cmake" --build "$work/$1"; } >"$work/log" 2>&1 || { cat "$work/log"; fails "$1 does not build"; }
}
[ "$(wc -l <"$here/example/main.cpp")" -lt 60 ] || fails "the example has 60 lines or more"
compile example
compile headers

"$program" pack --toy textures --count 200 --size 40 --out "$work/data" >/dev/null
"$program" train --model.arch vit_tiny --model.dim 32 --model.depth 1 --model.heads 2 --model.patch_size 8 --views.global_size 32 \
  --views.local_count 0 --views.profile solo-cifar-asymmetric --head.out_dim 32 --head.hidden_dim 32 --head.bottleneck_dim 16 --train.batch_size 8 --train.length 2it \
  --data "$work/data" --out "$work/run" >"$work/log" || { cat "$work/log"; fails "train"; }
"$program" weights export "$(ls -d "$work"/run/checkpoints/step_*)/teacher.safetensors" --naming timm --out "$work/exported" >"$work/log" ||
  { cat "$work/log"; fails "export"; }

for weights in run exported; do
  "$work/example/embed_pictures" "$work/data" "$work/$weights" "$work/$weights.raw" >"$work/log" || { cat "$work/log"; fails "the example with $weights"; }
  cat "$work/log"
  "$program" embed --checkpoint "$work/$weights" --data "$work/data" --split test --out "$work/$weights.npy" >"$work/log" || { cat "$work/log"; fails "embed"; }
  # .npy: a header of 10 + N bytes, N at byte 8, then the rows
  python3 - "$work/$weights.npy" "$work/$weights.raw" <<'P' || fails "the example and dinoxx embed differ with $weights"
import struct, sys
npy, raw = (open(name, "rb").read() for name in sys.argv[1:])
rows = npy[10 + struct.unpack("<H", npy[8:10])[0]:]
print(f"{len(rows) // 128} rows of {sys.argv[1]}")
sys.exit(0 if len(rows) >= 128 and rows == raw else 1)
P
  "$work/headers/headers" "$work/$weights" "$work/data" || fails "the calls of the public headers with $weights"
done
code=0
"$work/example/embed_pictures" "$work/data" "$work/none" "$work/none.raw" >"$work/log" 2>&1 || code=$?
{ [ $code = 2 ] && grep -q "expected a run folder" "$work/log"; } || { cat "$work/log"; fails "weights that are not there: expected exit code 2, found $code"; }
echo ok
