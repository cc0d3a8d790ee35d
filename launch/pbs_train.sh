#!/usr/bin/env bash
# Trains under PBS (OpenPBS, PBS Pro, Torque). Written from the manuals, and not yet run under one: read it before you trust it with a long job.
#
#   qsub -v CONFIG=configs/dinov2_vitl16_short.cfg,DATA=/data/packed,RUN=run/l16 [-l select=...] launch/pbs_train.sh
#
# RUN is by default run/<name of CONFIG>-<job id>. OPTIONS holds further options of dinoxx train. Submit from the checkout or from the folder that holds bin/dinoxx;
# DINOXX=<path> names another program. DATA and RUN have to be on a file system that all nodes share. Open MPI has to be built for PBS (ompi_info | grep tm), so that
# mpirun knows the nodes; else it starts all ranks on the first node.
#
# PBS sends TERM before the limit (qsub -l walltime; how long before is the site's kill_delay). The ranks save and end with 85, and this script asks for the job to run
# again (qrerun), where the site lets a job do that; else the same qsub goes on.
#PBS -N dinoxx
#PBS -l select=1:ncpus=16:mpiprocs=2
#PBS -l walltime=12:00:00
#PBS -r y
#PBS -j oe
set -uo pipefail
cd "$PBS_O_WORKDIR" || exit 2
here=$PBS_O_WORKDIR/launch  # PBS runs a copy of this script from elsewhere
[ -e "$here/common.sh" ] || here=$PBS_O_WORKDIR/share/dinoxx/launch
# shellcheck source=launch/common.sh
source "$here/common.sh"
if [ -z "${CONFIG:-}" ] || [ -z "${DATA:-}" ]; then die "expected CONFIG and DATA; see the head of launch/pbs_train.sh"; fi
run=${RUN:-run/$(basename "$CONFIG" .cfg)-${PBS_JOBID%%.*}}
ranks=$(wc -l <"$PBS_NODEFILE")
nodes=$(sort -u "$PBS_NODEFILE" | wc -l)
threads=$((${NCPUS:-$(cores)} * nodes / ranks))
export_rank_environment "$((threads > 0 ? threads : 1))"
export_mpi_environment
code=0
# shellcheck disable=SC2086  # several options, split at spaces
run_ranks mpirun --bind-to none -n "$ranks" -x OMP_NUM_THREADS -x MALLOC_MMAP_THRESHOLD_ -x MALLOC_TRIM_THRESHOLD_ ${DINOXX_MPIRUN_OPTIONS:-} -- \
  "$(dinoxx_program)" train --config "$CONFIG" --data "$DATA" --out "$run" --resume auto ${OPTIONS:-} || code=$?
if [ "$code" = 85 ] && [ "$stops" -gt 0 ]; then
  say "stopped (85); back into the queue"
  qrerun "$PBS_JOBID" || say "qrerun does not work here; the same qsub with RUN=$run goes on"
fi
exit "$code"
