#!/usr/bin/env bash
# LibTorch's download and unpacking (launch/libtorch.py) against an index of tiny wheels made here: once, again, interrupted, damaged, wrong, two at a time.
#   setup_test.sh SOURCE_DIR
set -euo pipefail
source_dir=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0
check() { # check NAME COMMAND...: the command has to succeed
  local name=$1
  shift
  if "$@"; then echo "ok: $name"; else echo "FAILED: $name"; failures=$((failures + 1)); fi
}

mkdir "$work/index"
python3 - "$work" <<'PY'
import hashlib, sys, zipfile
work = sys.argv[1]
lines = ["# a comment"]
def wheel(kind, package, version, tag, files):
    stem = package.replace("-", "_")
    path = "%s/index/%s-%s-%s.whl" % (work, stem, version, tag)
    info = "%s-%s.dist-info/" % (stem, version)
    with zipfile.ZipFile(path, "w") as z:
        for name in files:
            z.writestr(name, name * 100)
        z.writestr(info + "METADATA", "Metadata-Version: 2.1\nName: %s\nVersion: %s\n" % (package, version))
        z.writestr(info + "WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: %s\n" % tag)
        z.writestr(info + "RECORD", "")
    lines.append("%s %s %s %s" % (kind, package, version, hashlib.sha256(open(path, "rb").read()).hexdigest()))
wheel("cpu", "torch", "9.9.9", "cp311-cp311-manylinux_2_28_x86_64",
      ["torch/__init__.py", "torch/lib/libtorch_cpu.so", "torch/lib/libtorch_cuda.so", "torch/lib/libtorch_python.so", "torch/include/a.h"])
wheel("cpu", "dinoxx-test-cudart", "1.0", "py3-none-manylinux2014_x86_64", ["nvidia/cu13/lib/libcudart.so.13"])
wheel("cuda", "dinoxx-test-nccl", "2.0", "py3-none-manylinux_2_18_x86_64", ["nvidia/nccl/lib/libnccl.so.2"])
open(work + "/wheels.txt", "w").write("\n".join(lines) + "\n")
PY
export PIP_NO_INDEX=1 PIP_FIND_LINKS=$work/index PIP_CONFIG_FILE=/dev/null
cache=$work/cache
mkdir "$cache"
setup() { python3 "$source_dir/launch/libtorch.py" "${1:-cpu}" "${2:-$work/wheels.txt}" "$cache" >"$work/log" 2>&1; }
root=$cache/torch-9.9.9-cpu
says() { grep -q "$1" "$work/log" || { cat "$work/log"; return 1; }; }
only_result() { [ "$(ls "$cache")" = torch-9.9.9-cpu ] || { ls "$cache"; return 1; }; }

check "first run" setup
check "it unpacks library and headers" test -e "$root/torch/lib/libtorch_cpu.so" -a -e "$root/torch/include/a.h" -a -e "$root/nvidia/cu13/lib/libcudart.so.13"
check "the CPU part leaves CUDA and Python out" test ! -e "$root/torch/lib/libtorch_cuda.so" -a ! -e "$root/torch/lib/libtorch_python.so" -a ! -e "$root/torch/__init__.py"
check "nothing else stays" only_result

before=$(find "$root" -printf '%p %T@\n' | sort)
check "second run" env PIP_FIND_LINKS=/nonexistent bash -c "$(declare -f setup); source_dir=$source_dir work=$work cache=$cache; setup"
check "it downloads nothing" says complete
check "it changes nothing" test "$before" = "$(find "$root" -printf '%p %T@\n' | sort)"

rm "$root/torch/lib/libtorch_cpu.so"
check "a missing library is noticed and repaired" setup
check "and is back" test -e "$root/torch/lib/libtorch_cpu.so"
truncate -s 5 "$root/nvidia/cu13/lib/libcudart.so.13"
check "a cut library is noticed and repaired" setup
check "and is whole" test "$(stat -c %s "$root/nvidia/cu13/lib/libcudart.so.13")" -gt 5

# what a kill leaves behind: half a download, half a folder, no record
rm "$root/complete"
mkdir -p "$cache/torch-9.9.9-cpu.partial/torch/lib" "$cache/torch-9.9.9-cpu.downloads/torch"
echo half >"$cache/torch-9.9.9-cpu.partial/torch/lib/leftover.so"
head -c 300 "$work"/index/torch-*.whl >"$cache/torch-9.9.9-cpu.downloads/torch/$(basename "$work"/index/torch-*.whl)"
check "an interrupted run is finished" setup
check "without what was left" test ! -e "$root/torch/lib/leftover.so"
check "and cleans up" only_result

check "--cuda takes the full set" setup cuda
check "with the CUDA library and NCCL" test -e "$cache/torch-9.9.9-cuda/torch/lib/libtorch_cuda.so" -a -e "$cache/torch-9.9.9-cuda/nvidia/nccl/lib/libnccl.so.2"

rm -rf "$cache" && mkdir "$cache"
sed -E 's/^(cpu torch .*)....$/\10000/' "$work/wheels.txt" >"$work/wrong.txt"
export DINOXX_SETUP_ATTEMPTS=1
if setup cpu "$work/wrong.txt"; then echo "FAILED: a wheel with another checksum was taken"; failures=$((failures + 1)); fi
check "a wheel with another checksum is refused by name" says 'could not download torch 9.9.9'
check "and gives no LibTorch" test ! -e "$root"
unset DINOXX_SETUP_ATTEMPTS

# which set is taken: by the GPU that nvidia-smi lists and by nvcc, or as asked for
mkdir -p "$work/gpu" "$work/nvcc"
printf '#!/bin/sh\necho "GPU 0: NVIDIA of the test (UUID: GPU-0)"\n' >"$work/gpu/nvidia-smi"
printf '#!/bin/sh\nexit 0\n' >"$work/nvcc/nvcc"
python=$(command -v python3)
printf '#!/bin/sh\ncase $1 in *libtorch.py) echo "set: $2" ;; *) exec %s "$@" ;; esac\n' "$python" >"$work/nvcc/python3"
cp "$work/nvcc/python3" "$work/gpu/"
chmod +x "$work"/gpu/* "$work"/nvcc/*
takes() { # takes SET PATH-IN-FRONT [OPTION...]
  local wanted=$1 front=$2
  shift 2
  env -u TORCH_ROOT CUDA_HOME=/nonexistent DINOXX_CACHE="$cache" PATH="$front:$plain_path" bash "$source_dir/launch/setup.sh" --no-apt "$@" >"$work/log" 2>&1
  says "^set: $wanted\$"
}
plain_path=$(printf '%s' "$PATH" | tr ':' '\n' | while read -r p; do [ -x "$p/nvcc" ] || [ -x "$p/nvidia-smi" ] || printf '%s:' "$p"; done)
check "a GPU and nvcc: the full set" takes cuda "$work/gpu:$work/nvcc"
check "the CPU part when asked" takes cpu "$work/gpu:$work/nvcc" --cpu
check "a GPU without nvcc: the CPU part" takes cpu "$work/gpu"
check "and that is said" says "no nvcc to build for it"
check "nvcc without a GPU: the CPU part" takes cpu "$work/nvcc"
check "the full set when asked" takes cuda "$work/nvcc" --cuda

for script in "$source_dir"/launch/*.sh "$source_dir"/launch/*.sbatch "$source_dir"/.ci/run; do
  check "syntax of ${script##*/}" bash -n "$script"
done
[ $failures = 0 ] || { echo "$failures check(s) failed"; exit 1; }
