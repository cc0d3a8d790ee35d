#!/usr/bin/env bash
# Trains under LSF. Written from the manuals, and not yet run under it: read it before you trust it with a long job.
#
#   bsub -n 16 -R "span[ptile=8]" -gpu "num=8" < launch/lsf_train.sh        with CONFIG, DATA and perhaps RUN and OPTIONS in the environment (bsub -env "all")
#
# RUN is by default run/<name of CONFIG>-<job id>. OPTIONS holds further options of dinoxx train. Submit from the checkout or from the folder that holds bin/dinoxx;
# DINOXX=<path> names another program. DATA and RUN have to be on a file system that all nodes share. Open MPI has to be built for LSF (ompi_info | grep lsf), so that
# mpirun knows the nodes.
#
# Ten minutes before the limit LSF sends USR2 (-wa, -wt below). The ranks save and end with 85, which puts the job into the queue again (-Q), and the next start resumes.
#BSUB -J dinoxx
#BSUB -W 12:00
#BSUB -r
#BSUB -Q "85"
#BSUB -wa "USR2" -wt "10"
#BSUB -o lsf-%J.log
set -uo pipefail
cd "$LS_SUBCWD" || exit 2
here=$LS_SUBCWD/launch
[ -e "$here/common.sh" ] || here=$LS_SUBCWD/share/dinoxx/launch
# shellcheck source=launch/common.sh
source "$here/common.sh"
if [ -z "${CONFIG:-}" ] || [ -z "${DATA:-}" ]; then die "expected CONFIG and DATA; see the head of launch/lsf_train.sh"; fi
run=${RUN:-run/$(basename "$CONFIG" .cfg)-$LSB_JOBID}
ranks=${LSB_DJOB_NUMPROC:?not a job of LSF}
export_rank_environment 1  # a rank for each slot, as LSF counts cores
export_mpi_environment
trap 'kill -USR1 $$' USR2  # as run_ranks wants it
code=0
# shellcheck disable=SC2086  # several options, split at spaces
run_ranks mpirun --bind-to none -n "$ranks" -x OMP_NUM_THREADS -x MALLOC_MMAP_THRESHOLD_ -x MALLOC_TRIM_THRESHOLD_ ${DINOXX_MPIRUN_OPTIONS:-} -- \
  "$(dinoxx_program)" train --config "$CONFIG" --data "$DATA" --out "$run" --resume auto ${OPTIONS:-} || code=$?
exit "$code"
