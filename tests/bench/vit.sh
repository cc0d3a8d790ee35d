#!/bin/bash
# dinoxx's vision transformer against timm in PyTorch eager with the same weights and images, call by call in turns, and its packed crops against a pass for each size: ratios of
# processor time and of wall time, medians over the rounds.
#
#   tests/bench/vit.sh [--rounds 7] [--model NAME] [--precision fp32|bf16] [--threads N] [--profile]      (each but --rounds may be repeated; default: all)
#
# BENCH: the program (default build/tests/bench/dinoxx_bench_vit). PYTHON: an interpreter with torch 2.11 and timm 1.0.31.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# a waiting thread must not spin while the other side is measured
export OMP_WAIT_POLICY=passive
exec "${PYTHON:-python3}" "$here/vit_peer.py" "${BENCH:-$here/../../build/tests/bench/dinoxx_bench_vit}" "$@"
