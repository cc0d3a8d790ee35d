#!/usr/bin/env bash
# The first ten minutes on a GPU: tests, speed against PyTorch in the same run, memory against what the gate without a GPU predicts, one table. Builds nothing.
#
#   tests/gpu/first_ten_minutes.sh [--out DIR] [--minutes 9] [--data DATA] [--parts tests,rate,steps,loader] [--only NAME,...] [--steps 20]
#
# Run it in a folder made by carry.sh, on a machine with PyTorch 2.11.0 and timm under python3; or in a checkout, with DINOXX=<program>. DIR (default
# first_ten_minutes) gets table.md, results.json and the log of each part. What the time does not suffice for is left out, and the table says so; Ctrl-C
# and TERM end the part that runs and still write it. DATA: packed images; without it a drawn set.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
case ${1:-} in -h | --help) sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;; esac
top=$(cd "$here/../.." && pwd)
python=${PYTHON:-python3}
if [ -d "$top/lib/openmpi" ]; then
  export OPAL_PREFIX=$top OPAL_PKGLIBDIR=$top/lib/openmpi OMPI_MCA_mca_base_component_path=$top/lib/openmpi
  export DINOXX=${DINOXX:-$top/bin/dinoxx}
  # the program looks for LibTorch beside itself, as in an installed folder
  if torch=$("$python" -c 'import os, torch; print(os.path.dirname(torch.__file__))' 2>/dev/null); then
    mkdir -p "$top/lib/torch"
    ln -sfn "$torch/lib" "$top/lib/torch/lib"
    [ ! -d "$(dirname "$torch")/nvidia" ] || ln -sfn "$(dirname "$torch")/nvidia" "$top/lib/nvidia"
    export LD_LIBRARY_PATH=$top/lib:$torch/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    for folder in "$(dirname "$torch")"/nvidia/*/lib; do [ ! -d "$folder" ] || LD_LIBRARY_PATH+=:$folder; done
  else
    echo "first_ten_minutes: $python has no torch: expected PyTorch 2.11.0, whose libraries the program uses. Name another interpreter by PYTHON" >&2
    exit 2
  fi
fi
export OMPI_MCA_ess_singleton_isolated=1 OMPI_MCA_btl=self,vader OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
exec "$python" -B "$here/first_ten_minutes.py" "$@"
