#!/usr/bin/env bash
# launch/slurm_submit.sh, slurm_eval.sbatch and slurm_train.sbatch with an sbatch, an srun and an scontrol that only write down what they were asked.
#   slurm_submit_test.sh SOURCE_DIR
set -euo pipefail
launch=$1/launch
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/bin"
cat >"$work/bin/sbatch" <<'S'
#!/usr/bin/env bash
n=$(($(cat "$FAKE/jobs" 2>/dev/null || echo 40) + 1))
echo $n >"$FAKE/jobs"
[ "${REFUSE:-}" != "$n" ] || { echo "sbatch: error: invalid partition" >&2; exit 1; }
printf '%s\n' "$@" >"$FAKE/job$n"
echo "$n${CLUSTER:-}"
S
cat >"$work/bin/srun" <<'S'
#!/usr/bin/env bash
while [[ $1 == --* ]]; do shift; done
exec "$@"
S
cat >"$work/program" <<'S'
#!/usr/bin/env bash
printf '%s\n' "$@" >"$FAKE/ran"
exit "${CODE:-0}"
S
chmod +x "$work/bin/"* "$work/program"
export PATH=$work/bin:$PATH FAKE=$work DINOXX=$work/program
touch "$work/small.cfg"
fails() { echo "FAILED: $*"; exit 1; }
is() { # is NAME WANTED FILE: the words of the file, one a line
  local found
  found=$(tr '\n' ' ' <"$3")
  [ "$found" = "$2 " ] || fails "$1: expected '$2', found '$found'"
  echo "ok: $1"
}
submit() { rm -f "$work"/job*; "$launch/slurm_submit.sh" "$@" >"$work/log" 2>&1; }
cd "$work"

submit small.cfg data
is "training" "--parsable $launch/slurm_train.sbatch small.cfg data" job41
is "evaluation behind it, its run folder named by the training's id" \
  "--parsable --dependency=afterok:41 --kill-on-invalid-dep=yes $launch/slurm_eval.sbatch run/small-41 data" job42
CLUSTER=';alpha' submit -t "--nodes=4 -p gpu" -e "--time=1:00:00" small.cfg data "my run" --train.seed 3 --eval --protocol "knn,few_shot"
is "options go where they belong" "--parsable --nodes=4 -p gpu $launch/slurm_train.sbatch small.cfg data my run --train.seed 3" job41
is "a run folder that was named" \
  "--parsable --dependency=afterok:41 --kill-on-invalid-dep=yes --time=1:00:00 $launch/slurm_eval.sbatch my run data --protocol knn,few_shot" job42
grep -q "^my run$" job42 || fails "a name with a space was torn apart"
submit small.cfg data --train.seed 3
is "no run folder before options" "--parsable --dependency=afterok:41 --kill-on-invalid-dep=yes $launch/slurm_eval.sbatch run/small-41 data" job42

refused() { # refused WORDS ARGUMENT...
  local words=$1 code=0
  shift
  submit "$@" || code=$?
  [ $code = 2 ] || fails "$*: expected exit code 2, found $code"
  grep -qF -- "$words" log || { cat log; fails "$*: '$words' was not said"; }
  echo "ok: $words"
}
refused "found 1 arguments" small.cfg
refused "cannot read the configuration" none.cfg data
REFUSE=41 refused "the training was not accepted" small.cfg data
[ ! -e job42 ] || fails "an evaluation without a training"
REFUSE=42 refused "later: sbatch --dependency=afterok:41" small.cfg data

# the job itself
export SLURM_JOB_ID=42 SLURM_SUBMIT_DIR=$work SLURM_JOB_NODELIST=node1 SLURM_NTASKS=2
evaluate() { bash "$launch/slurm_eval.sbatch" "$@" >log 2>&1; }
mkdir run
evaluate run data
is "a run folder" "eval --checkpoint run --data data --out run/eval --protocol all" ran
evaluate w.safetensors data there --protocol=knn --quiet
is "weights, and a suite of one's own" "eval --checkpoint w.safetensors --data data --out there --protocol=knn --quiet" ran
evaluate w.safetensors data
is "weights without a folder" "eval --checkpoint w.safetensors --data data --out run/eval-42 --protocol all" ran
code=0; CODE=3 evaluate run data || code=$?
[ $code = 3 ] || fails "the program's exit code: expected 3, found $code"
code=0; evaluate run || code=$?
[ $code = 2 ] || fails "too few arguments: expected exit code 2, found $code"

# ---------------------------------------------------------------- a training and its signals
cat >"$work/bin/scontrol" <<'S'
#!/usr/bin/env bash
echo "$@" >>"$FAKE/requeued"
exit 1  # the script goes on as where Slurm cannot requeue
S
chmod +x "$work/bin/scontrol"
touch small.cfg
# job NAME CODE REQUEUED PROGRAM [SIGNAL]: slurm_train.sbatch with a program of this text (RUN: its run folder), signalled when the program says it is there
job() {
  local code=0 pid requeued=no
  rm -rf requeued there run/small-42
  { echo '#!/usr/bin/env bash'; echo "RUN=run/small-42"; echo "$4"; } >program
  bash "$launch/slurm_train.sbatch" small.cfg data >log 2>&1 &
  pid=$!
  if [ -n "${5:-}" ]; then
    for _ in $(seq 200); do [ -e there ] && break; sleep 0.05; done
    kill -"$5" $pid
  fi
  wait $pid || code=$?
  [ ! -e requeued ] || requeued=yes
  [ "$code $requeued" = "$2 $3" ] || { cat log; fails "$1: expected exit code $2 and requeued $3, found $code and $requeued"; }
  [ -z "$(find run -name '*.stopped-*')" ] || fails "$1: left $(find run -name '*.stopped-*')"
  echo "ok: $1"
}
complete='mkdir -p $RUN; echo "{}" >$RUN/complete.json;'
waits='touch there; for _ in $(seq 300); do sleep 0.1; done; exit 7'
job "a run that came to its end" 0 no "$complete"
job "a run that saved and stopped by itself" 85 yes "exit 85"
job "a failure" 3 no "exit 3"
job "a launch that ended with 0 and did nothing" 1 no "exit 0"
job "USR1 that the program catches" 85 yes "trap 'exit 85' USR1; $waits" USR1
job "USR1 before the program catches it" 85 yes "$waits" USR1
job "TERM before the program catches it is scancel" 85 no "$waits" TERM
job "USR1 in the last moment of a run" 0 no "trap '$complete exit 0' USR1; $waits" USR1
job "what Slurm ended with a rank that the signal had ended" 85 yes "trap 'exit 255' USR1; $waits" USR1
job "a failure behind the signal" 3 no "trap 'exit 3' USR1; $waits" USR1
# the signal comes before the ranks are started: the script has just begun
cat >"$work/bin/mkdir" <<'S'
#!/usr/bin/env bash
kill -USR1 $PPID
exec /bin/mkdir "$@"
S
chmod +x "$work/bin/mkdir"
job "USR1 in the job's first moment" 85 yes "touch ran_after_all"
rm "$work/bin/mkdir"
[ ! -e ran_after_all ] || fails "the program was started for nothing"
# srun that drops the first signal
cat >"$work/bin/srun" <<'S'
#!/usr/bin/env bash
got=0
trap 'got=$((got + 1))' USR1
touch there
for _ in $(seq 300); do [ $got -lt 2 ] || break; sleep 0.1; done
[ $got -lt 2 ] || { : >"$DINOXX_STOPPED"; exit 0; }
exit 7
S
job "a signal before there are ranks is sent again" 85 yes "" USR1
