#!/bin/bash
# Sharded runs that are stopped and go on, by the scripts of launch/ on several hosts.
#   jobs.sh DINOXX MPIEXEC MPI_FLAGS CASE (MPI_FLAGS one word, spaces inside): under_slurm, dead_node, over_ssh
set -u
here=$(cd "$(dirname "$0")" && pwd)
. "$here/hosts.sh"
enter_cluster "$@"
. "$here/runs.sh"
start_hosts 3
nodes=(--parallel.sync zero3 --parallel.shard_within node)
long=(--train.length 250it --checkpoint.every 50it) # seconds: a stop comes long before the last step
brief=(--train.length 120it --checkpoint.every 20it)
short=(--train.length 8it --checkpoint.every 4it)

# half RUN FOLDER: what a run of eight steps has saved at its fourth, as the start of another
half() {
  mkdir -p "$2/checkpoints"
  cp "$1/metrics.jsonl" "$2/"
  cp -r "$1/checkpoints/$(step_name 4)" "$2/checkpoints/"
}
srun_on() { # srun_on NODES TASKS_PER_NODE ARGUMENT...: as a user in an allocation would
  srun -N "$1" --ntasks-per-node="$2" --mpi=pmix --kill-on-bad-exit=1 "$dinoxx" "${@:3}" >log 2>&1 || die "srun"
}

submit() { # submit NODES RUN ARGUMENT...: job and log of slurm_train.sbatch
  job=$(sbatch --parsable -p low --nodes="$1" --time=5 --output="$2.log" "$launch/slurm_train.sbatch" small.cfg data "$2" "${training[@]:5}" "${@:3}") || die "sbatch"
}
# ended JOB RUN WORDS...: the job came to its end, and its log says so
ended() {
  local words
  for _ in $(seq 900); do
    [[ $(job_state "$1") =~ COMPLETED|FAILED|CANCELLED|TIMEOUT ]] && break
    sleep 0.1
  done
  cp "$2.log" log
  [ "$(job_state "$1")" = COMPLETED ] || scontrol show job "$1" >>log
  [ "$(job_state "$1")" = COMPLETED ] || die "job $1: expected it to come to its end, found $(job_state "$1")"
  for words in "${@:3}"; do says "$words"; done
}

case $case in
under_slurm)
  start_slurm
  srun_on 2 2 "${training[@]}" "${long[@]}" "${nodes[@]}" --out whole
  # stopped as in front of its time limit, then put back into the queue by a job of more weight: saves each time, and goes on to the bits of a run that
  # nobody disturbed; its evaluation comes behind it
  "$launch/slurm_submit.sh" -t "-p low --nodes=2 --time=5 --output=run.log" -e "-p low --ntasks-per-node=1 --time=5" small.cfg data run "${training[@]:5}" "${long[@]}" "${nodes[@]}" \
    --eval --protocol knn >log 2>&1 || die "slurm_submit.sh"
  job=$(sed -n 's/^training: job \([0-9]*\),.*/\1/p' log) evaluation=$(sed -n 's/^evaluation: job \([0-9]*\),.*/\1/p' log)
  wait_for_step run 2
  scancel --batch --signal=USR1 "$job"
  for _ in $(seq 600); do [ "$(grep -c "^step" run.log)" -ge 2 ] && grep -q "resumed from" run.log && break; sleep 0.1; done
  cp run.log log
  says "resumed from"
  high=$(sbatch --parsable -p high --nodes=3 --exclusive --wrap true)
  wait_for_job "$high" COMPLETED
  ended "$job" run "start 1.*: got USR1" "start 1.*: stopped (85); back into the queue" "start 2.*: nodes node\[1-2\], 4 ranks" "start 2.*: got USR1" \
    "start 2.*: stopped (85); back into the queue" "start 3.*: nodes node\[1-2\], 4 ranks" "start 3.*: ended with exit code 0"
  [ "$(grep -c "^stopped at step .*saved" log)" = 2 ] || die "expected two stops that saved"
  same_bits whole run 250
  wait_for_job "$evaluation" COMPLETED
  [ -s run/eval/results.json ] || die "no evaluation behind the training"
  # saved by four ranks on two nodes, resumed by six on three under another policy
  srun_on 2 2 "${training[@]}" "${short[@]}" "${nodes[@]}" --out eight
  half eight wider
  submit 3 wider "${short[@]}" --parallel.sync zero2
  ended "$job" wider "6 ranks on 3 hosts" "world size was 4 and is 6: results agree up to rounding" "parallel.sync: zero2 over 6 ranks"
  close eight wider 8
  ;;
dead_node)
  start_slurm
  srun_on 2 2 "${training[@]}" "${brief[@]}" "${nodes[@]}" --out whole
  # a node loses its power: Slurm takes the spare one, and the run goes on from its newest checkpoint to the same bits
  submit 2 spare "${brief[@]}" "${nodes[@]}"
  wait_for_step spare 30
  end_host node2
  ended "$job" spare "start 2.*: nodes node\[1,3\], 4 ranks" "resumed from .* at step" "start 2.*: ended with exit code 0"
  same_bits whole spare 120
  ;;
over_ssh)
  # the same without a batch system: TERM saves, the same command goes on; other hosts under another policy
  start_ssh
  printf '%s slots=2\n' node1 node2 >hostfile
  "${over_ssh[@]}" "${training[@]}" "${long[@]}" "${nodes[@]}" --out whole >log 2>&1 || die "a run that nobody stopped"
  "${over_ssh[@]}" "${training[@]}" "${long[@]}" "${nodes[@]}" --out run >log 2>&1 &
  pid=$!
  wait_for_step run 2
  kill -TERM $pid
  code=0
  wait $pid || code=$?
  expect 85
  "${over_ssh[@]}" "${training[@]}" "${long[@]}" "${nodes[@]}" --out run >log 2>&1 || die "the same command again"
  says "resumed from"
  same_bits whole run 250
  "${over_ssh[@]}" "${training[@]}" "${short[@]}" "${nodes[@]}" --out eight >log 2>&1 || die "eight steps"
  half eight wider
  printf '%s slots=1\n' "${hosts[@]}" >hostfile
  "${over_ssh[@]}" "${training[@]}" "${short[@]}" --parallel.sync zero2 --out wider >log 2>&1 || die "on three hosts"
  says "world size was 4 and is 3: results agree up to rounding"
  says "parallel.sync: zero2 over 3 ranks"
  close eight wider 8
  ;;
*) die "unknown case" ;;
esac
exit 0
