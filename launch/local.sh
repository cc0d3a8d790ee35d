#!/usr/bin/env bash
# Runs dinoxx on this machine, on several ranks.
#
#   launch/local.sh [-n RANKS] train|eval ... (the arguments of dinoxx)
#
#   -n RANKS  by default one rank a GPU, or two without a GPU
#
# Ctrl-C, TERM, USR1 and a closed terminal make the ranks save and stop with exit code 85; `--resume auto` goes on from there. DINOXX=<path> names another program,
# OMP_NUM_THREADS another number of threads a rank (default: cores / ranks).
set -euo pipefail
trap 'exit 85' TERM INT HUP USR1  # nothing has been started yet
# shellcheck source=launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
ranks=
while [ $# -gt 0 ]; do
  case $1 in
    -n) [ $# -ge 2 ] || die "-n needs a number of ranks"; ranks=$2; shift 2 ;;
    -h | --help) sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    *) break ;;
  esac
done
[ $# -gt 0 ] || die "what shall run? For example: launch/local.sh -n 2 train --config configs/quickstart.cfg --data DATA --out RUN"
if [ -z "$ranks" ]; then
  gpus=$(gpus_here)
  ranks=$((gpus > 0 ? gpus : 2))
fi
[[ $ranks =~ ^[1-9][0-9]*$ ]] || die "-n: expected a number of ranks, found '$ranks'"
threads=$(($(cores) / ranks))
export_rank_environment $((threads > 0 ? threads : 1))
export_mpi_environment
program=$(dinoxx_program)
# --bind-to none: Open MPI would tie two ranks to one core each, and with them all their threads.
run_ranks mpirun --oversubscribe --bind-to none -n "$ranks" -- "$program" "$@"
