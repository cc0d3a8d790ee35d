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

# ---------------------------------------------------------------- the tasks of an array
train() { bash "$launch/slurm_train.sbatch" "$@" --check >log 2>&1; }
export SLURM_ARRAY_JOB_ID=40 SLURM_ARRAY_TASK_ID=7
train small.cfg data --train.seed '$SLURM_ARRAY_TASK_ID'
is "a task of an array, its number in the options" "train --config small.cfg --data data --out run/small-40_7 --resume auto --train.seed 7 --check" ran
train small.cfg data mine
is "a task of an array, a run folder that was named" "train --config small.cfg --data data --out mine_7 --resume auto --check" ran
unset SLURM_ARRAY_JOB_ID SLURM_ARRAY_TASK_ID
train small.cfg data --train.seed '$SLURM_ARRAY_TASK_ID'
is "no array: options stay" "train --config small.cfg --data data --out run/small-42 --resume auto --train.seed \$SLURM_ARRAY_TASK_ID --check" ran

# ---------------------------------------------------------------- PBS and LSF, whose mpirun writes down what it was asked
cat >"$work/bin/mpirun" <<'S'
#!/usr/bin/env bash
trap 'exit 85' USR1
printf '%s\n' "$@" >"$FAKE/ran"
echo "threads $OMP_NUM_THREADS" >>"$FAKE/ran"
touch "$FAKE/there"
[ -z "${WAITS:-}" ] || for _ in $(seq 300); do sleep 0.1; done
while [ "$1" != --out ]; do shift; done
mkdir -p "$2"; echo '{}' >"$2/complete.json"
S
printf '#!/usr/bin/env bash\necho "$@" >>"$FAKE/requeued"\n' >"$work/bin/qrerun"
chmod +x "$work/bin/mpirun" "$work/bin/qrerun"
ln -s "$launch" launch
printf 'a\na\nb\nb\n' >nodes
options="--bind-to none -n 4 -x OMP_NUM_THREADS -x MALLOC_MMAP_THRESHOLD_ -x MALLOC_TRIM_THRESHOLD_ --quiet $work/program train --config small.cfg --data data"
pbs() { env -u OMP_NUM_THREADS PBS_O_WORKDIR="$work" PBS_JOBID=17.server PBS_NODEFILE="$work/nodes" NCPUS=8 "$@" bash "$launch/pbs_train.sh" >log 2>&1; }
pbs CONFIG=small.cfg DATA=data || { cat log; fails "PBS"; }
is "PBS" "$options --out run/small-17 --resume auto threads 4" ran
pbs CONFIG=small.cfg DATA=data RUN=mine OPTIONS="--train.seed 3" || fails "PBS with options"
is "PBS, a folder and options" "$options --out mine --resume auto --train.seed 3 threads 4" ran
code=0; pbs DATA=data || code=$?
[ $code = 2 ] || fails "PBS without CONFIG: expected exit code 2, found $code"
lsf() { env LS_SUBCWD="$work" LSB_JOBID=18 LSB_DJOB_NUMPROC=4 CONFIG=small.cfg DATA=data "$@" bash "$launch/lsf_train.sh" >log 2>&1; }
lsf OMP_NUM_THREADS=1 || { cat log; fails "LSF"; }
is "LSF" "$options --out run/small-18 --resume auto threads 1" ran
# a stop before the limit: TERM under PBS, USR2 under LSF
stopped() { # stopped NAME SIGNAL SCRIPT ENVIRONMENT...
  local code=0 pid name=$1 signal=$2 script=$3
  shift 3
  rm -rf there requeued run/*/complete.json
  env "$@" WAITS=yes CONFIG=small.cfg DATA=data bash "$launch/$script" >log 2>&1 &
  pid=$!
  for _ in $(seq 200); do [ -e there ] && break; sleep 0.05; done
  kill -"$signal" $pid
  wait $pid || code=$?
  [ $code = 85 ] || { cat log; fails "$name: expected exit code 85, found $code"; }
  echo "ok: $name"
}
stopped "PBS, TERM before the limit" TERM pbs_train.sh PBS_O_WORKDIR="$work" PBS_JOBID=17.server PBS_NODEFILE="$work/nodes" NCPUS=8
is "PBS, back into the queue" "17.server" requeued
stopped "LSF, USR2 before the limit" USR2 lsf_train.sh LS_SUBCWD="$work" LSB_JOBID=18 LSB_DJOB_NUMPROC=4
rm "$work/bin/mpirun" launch

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
