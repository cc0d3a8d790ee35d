#!/usr/bin/env bash
# Runs dinoxx on several machines without a batch system, over ssh. (With Slurm: launch/slurm_train.sbatch.)
#
#   launch/cluster.sh -f HOSTFILE [-n RANKS] [-t THREADS] [-i INTERFACE] train|eval ... (the arguments of dinoxx)
#
#   -f HOSTFILE   lines "host slots=N": N ranks on that host; list only hosts that are up
#   -n RANKS      by default all slots
#   -t THREADS    OpenMP threads a rank (default: this machine's cores / the largest number of slots)
#   -i INTERFACE  network interface or address range (10.0.0.0/24) for MPI, where the hosts have several; an interface is NCCL's, too, unless
#                 NCCL_SOCKET_IFNAME is set
#
# All NCCL_*, CUDA_* and DINOXX_SIMD of the environment hold on every host.
# DINOXX_MPIRUN_OPTIONS holds further options of mpirun. Program, configs, data and run folder must be at the same paths on all hosts (a shared file system, or the installed folder copied to each).
set -euo pipefail
trap 'exit 85' TERM INT HUP USR1  # nothing has been started yet
# shellcheck source=launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
hostfile="" ranks="" threads="" interface=""
while [ $# -gt 0 ]; do
  case $1 in
    -f | -n | -t | -i)
      [ $# -ge 2 ] || die "$1 needs a value"
      case $1 in -f) hostfile=$2 ;; -n) ranks=$2 ;; -t) threads=$2 ;; -i) interface=$2 ;; esac
      shift 2
      ;;
    -h | --help) sed -n '2,14s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    *) break ;;
  esac
done
[ -n "$hostfile" ] || die "-f HOSTFILE is missing; see --help"
[ -r "$hostfile" ] || die "cannot read the hostfile '$hostfile'"
[ $# -gt 0 ] || die "what shall run? For example: train --config configs/dino_cifar10_cpu.cfg --data DATA --out RUN"
read -r slots largest < <(awk '!/^[ \t]*(#|$)/ { n = 1; if (match($0, /slots=[0-9]+/)) n = substr($0, RSTART + 6, RLENGTH - 6) + 0; s += n; if (n > m) m = n }
                               END { print s + 0, m + 0 }' "$hostfile")
[ "$slots" -gt 0 ] || die "the hostfile '$hostfile' names no host"
ranks=${ranks:-$slots}
[[ $ranks =~ ^[1-9][0-9]*$ ]] || die "-n: expected a number of ranks, found '$ranks'"
[ "$ranks" -le "$slots" ] || [[ ${DINOXX_MPIRUN_OPTIONS:-} == *oversubscribe* ]] ||
  die "-n: expected at most the $slots slots of the hostfile '$hostfile', found $ranks. Give its hosts more slots, or start fewer ranks."
if [ -z "$threads" ]; then
  threads=$(($(cores) / largest))
  [ "$threads" -gt 0 ] || threads=1
fi
export_rank_environment "$threads"
export_mpi_environment
options=(--hostfile "$hostfile" --bind-to none -n "$ranks" -x OMP_NUM_THREADS -x MALLOC_MMAP_THRESHOLD_ -x MALLOC_TRIM_THRESHOLD_)
# By default a host that lost its power is noticed after eight minutes; so it takes ten seconds.
options+=(--mca oob_tcp_keepalive_time 4 --mca oob_tcp_keepalive_intvl 2 --mca oob_tcp_keepalive_probes 3)
if [ -n "$interface" ]; then
  options+=(--mca oob_tcp_if_include "$interface" --mca btl_tcp_if_include "$interface")
fi
if [ -n "$interface" ] && [[ $interface != */* ]]; then
  export NCCL_SOCKET_IFNAME=${NCCL_SOCKET_IFNAME:-=$interface}  # "=": these names and none that begin so
fi
# ask_hosts: ends with 2 and a line for each host that cannot be reached as mpirun will reach it, or has no program there.
ask_hosts() {
  local host answers code failed=0 question
  question="cd $(printf %q "$PWD") 2>/dev/null; command -v $(printf %q "$program") >/dev/null || exit 99"
  answers=$(mktemp -d)
  # shellcheck disable=SC2064  # this folder
  trap "rm -rf '$answers'; exit 85" TERM INT HUP USR1
  # shellcheck disable=SC2013  # names without spaces
  for host in $(awk '!/^[ \t]*(#|$)/ {print $1}' "$hostfile" | sort -u); do
    case $host in localhost | "$(hostname)" | "$(hostname -s)") continue ;; esac
    # shellcheck disable=SC2086  # its options, split at spaces
    timeout 15 ${OMPI_MCA_plm_rsh_agent:-ssh -o ConnectTimeout=10} ${OMPI_MCA_plm_rsh_args:-} "$host" "$question" \
      </dev/null >"$answers/$host" 2>&1 || echo $? >"$answers/$host.failed" &
  done
  wait
  for code in "$answers"/*.failed; do
    [ -e "$code" ] || continue
    failed=1 host=$(basename "$code" .failed)
    case $(cat "$code") in
      99) echo "cluster.sh: host $host: expected the program at $program, found none. It has to be at the same path on all hosts." >&2 ;;
      124) echo "cluster.sh: host $host does not answer" >&2 ;;
      *) echo "cluster.sh: host $host cannot be reached: $(tail -n 1 "$answers/$host")" >&2 ;;
    esac
  done
  rm -rf "$answers"
  trap 'exit 85' TERM INT HUP USR1
  [ $failed = 0 ] || die "list in the hostfile '$hostfile' only hosts that are up and that 'ssh HOST true' reaches without a question"
}
for name in $(compgen -e); do
  case $name in NCCL_* | CUDA_* | DINOXX_SIMD) options+=(-x "$name") ;; esac
done
program=$(dinoxx_program)
# mpirun waits long for a host that does not answer, and --quiet, without which it comments every stop, hides what it says of one that lacks the program.
[[ ${DINOXX_MPIRUN_OPTIONS:-} == *plm* ]] || ask_hosts
# shellcheck disable=SC2086  # several options, split at spaces
run_ranks mpirun "${options[@]}" ${DINOXX_MPIRUN_OPTIONS:-} -- "$program" "$@"
