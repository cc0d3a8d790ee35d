#!/usr/bin/env bash
# Puts a training into Slurm's queue and its evaluation behind it.
#
#   launch/slurm_submit.sh [-t OPTIONS] [-e OPTIONS] CONFIG DATA [RUN] [options of dinoxx train] [--eval [options of dinoxx eval]]
#
#   -t OPTIONS   of sbatch for the training, for example -t "--nodes=4 --partition=gpu"
#   -e OPTIONS   of sbatch for the evaluation
#   --eval       what follows goes to dinoxx eval; without it all protocols are evaluated (launch/slurm_eval.sbatch)
#
# The evaluation begins when the training has come to its end, however often it was stopped by a time limit, by preemption or by a dead node
# and went back into the queue (it keeps its id). When the training fails or is cancelled, Slurm removes the evaluation. Its report is in RUN/eval.
set -euo pipefail
# shellcheck source=launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
of_training=() of_evaluation=()
while [ $# -gt 0 ]; do
  case $1 in
    -t | -e)
      [ $# -ge 2 ] || die "$1 needs a value"
      # shellcheck disable=SC2206  # several options, split at spaces
      case $1 in -t) of_training=($2) ;; -e) of_evaluation=($2) ;; esac
      shift 2
      ;;
    -h | --help) sed -n '2,11s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    *) break ;;
  esac
done
training=() evaluation=()
while [ $# -gt 0 ] && [ "$1" != --eval ]; do
  training+=("$1")
  shift
done
[ $# = 0 ] || shift
evaluation=("$@")
[ ${#training[@]} -ge 2 ] || die "expected CONFIG DATA, found ${#training[@]} arguments; see --help"
[ -r "${training[0]}" ] || die "cannot read the configuration '${training[0]}'"
command -v sbatch >/dev/null || die "no sbatch: this is no machine from which jobs are submitted"

submit() { # submit ARGUMENT...: prints the job id, which --parsable may follow by ";cluster"
  local answer
  answer=$(sbatch --parsable "$@") || return
  [[ ${answer%%;*} =~ ^[0-9]+$ ]] || { echo "sbatch answered '$answer' and no job id" >&2; return 1; }
  echo "${answer%%;*}"
}
# shellcheck disable=SC2154  # launch_dir: common.sh
job=$(submit ${of_training[@]+"${of_training[@]}"} "$launch_dir/slurm_train.sbatch" "${training[@]}") || die "the training was not accepted"
run=run/$(basename "${training[0]}" .cfg)-$job  # as slurm_train.sbatch names it
case ${training[2]:-} in '' | -*) ;; *) run=${training[2]} ;; esac
echo "training: job $job, run folder $run"
# afterok holds for the job's last end: one that was requeued counts as not ended yet.
behind=(--dependency="afterok:$job" --kill-on-invalid-dep=yes)
if ! id=$(submit "${behind[@]}" ${of_evaluation[@]+"${of_evaluation[@]}"} "$launch_dir/slurm_eval.sbatch" "$run" "${training[1]}" \
  ${evaluation[@]+"${evaluation[@]}"}); then
  die "the evaluation was not accepted (the training was); later: sbatch --dependency=afterok:$job launch/slurm_eval.sbatch $run ${training[1]}"
fi
echo "evaluation: job $id, after it, report in $run/eval"
