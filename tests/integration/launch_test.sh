#!/usr/bin/env bash
# launch/local.sh with a program that only reacts to signals: exit codes come back, and TERM, INT and USR1 arrive at every rank as USR1.
#   launch_test.sh SOURCE_DIR
set -euo pipefail
source_dir=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/program" <<'P'
#!/usr/bin/env bash
# program OUT ends|waits|fails
rank=$OMPI_COMM_WORLD_RANK
echo "$OMP_NUM_THREADS $MALLOC_TRIM_THRESHOLD_" >"$1/environment.$rank"
case $2 in
  ends) exit 0 ;;
  fails) exit 3 ;;
esac
trap 'echo USR1 >"$1/signal.$rank"; while [ $(ls "$1"/signal.* | wc -l) -lt 2 ]; do sleep 0.05; done; sleep 0.3; exit 85' USR1
touch "$1/ready.$rank"
for _ in $(seq 300); do sleep 0.1; done
exit 7
P
chmod +x "$work/program"
export DINOXX=$work/program
unset OMP_NUM_THREADS MALLOC_TRIM_THRESHOLD_
local_sh=$source_dir/launch/local.sh
expect() { # expect NAME WANTED FOUND
  if [ "$2" = "$3" ]; then echo "ok: $1"; else echo "FAILED: $1: expected $2, found $3"; exit 1; fi
}

mkdir "$work/a"
code=0; bash "$local_sh" -n 2 "$work/a" ends || code=$?
expect "end with 0" 0 "$code"
expect "both ranks ran" 2 "$(find "$work/a" -name 'environment.*' | wc -l)"
half=$(($(nproc) / 2))
expect "threads are cores / ranks" "$((half > 0 ? half : 1)) 4294967296" "$(cat "$work/a/environment.1")"
code=0; bash "$local_sh" -n 2 "$work/a" fails 2>/dev/null || code=$?
expect "a failing rank's exit code" 3 "$code"
code=0; bash "$local_sh" -n none "$work/a" ends 2>/dev/null || code=$?
expect "a wrong number of ranks is bad usage" 2 "$code"

for signal in TERM INT USR1; do
  out=$work/$signal
  mkdir "$out"
  # a background job of a script ignores INT unless told otherwise
  env --default-signal=INT bash "$local_sh" -n 2 "$out" waits 2>"$out/log" &
  pid=$!
  for _ in $(seq 200); do [ -e "$out/ready.0" ] && [ -e "$out/ready.1" ] && break; sleep 0.1; done
  kill -"$signal" "$pid"
  code=0; wait "$pid" || code=$?
  expect "$signal: exit code" 85 "$code"
  expect "$signal: reached both ranks" 2 "$(find "$out" -name 'signal.*' | wc -l)"
done

# ---------------------------------------------------------------- what mpirun says and does, judged
# mpirun adds nothing to a clean stop, and the launcher says what a killed rank may mean
grep -q "Primary job\|mpirun detected\|mpirun noticed" "$work/TERM/log" && { cat "$work/TERM/log"; echo "FAILED: mpirun's words behind a clean stop"; exit 1; }
echo "ok: no words of mpirun behind a clean stop"
cat >"$work/killed" <<'P'
#!/usr/bin/env bash
[ "$OMPI_COMM_WORLD_RANK" != 1 ] || kill -KILL $$
for _ in $(seq 300); do sleep 0.1; done
P
chmod +x "$work/killed"
code=0; DINOXX=$work/killed bash "$local_sh" -n 2 "$work/a" 2>"$work/log" || code=$?
expect "a killed rank" 137 "$code"
grep -q "memory.*lower train.batch_size" "$work/log" || { cat "$work/log"; echo "FAILED: nothing said of memory"; exit 1; }
echo "ok: a killed rank is explained"

# mpiruns that do what the real one does in its first moments
mkdir "$work/bin" "$work/run"
# what the quick start runs on: GPUs that nvidia-smi lists, by a program that can use them or cannot
chosen() { # chosen GPUS with|without
  printf '#!/bin/sh\nfor i in $(seq %s); do echo "GPU $i: of the test"; done\n' "$1" >"$work/bin/nvidia-smi"
  printf '#!/bin/sh\necho "dinoxx 1.0 (a), LibTorch 2, %s CUDA"\n' "$2" >"$work/bin/versioned"
  chmod +x "$work/bin/nvidia-smi" "$work/bin/versioned"
  (PATH=$work/bin:$PATH; source "$source_dir/launch/common.sh"; choose_ranks versioned 2>"$work/log"; echo "$ranks $device")
}
expect "no GPU" "2 auto" "$(chosen 0 without)"
expect "one GPU" "1 auto" "$(chosen 1 with)"
expect "eight GPUs" "2 auto" "$(chosen 8 with)"
for visible in "3:1 auto" "GPU-1234:1 auto" ":2 auto" "0,1:2 auto" "-1:2 auto" "0,9,1:1 auto"; do
  expect "eight GPUs, CUDA_VISIBLE_DEVICES=${visible%:*}" "${visible#*:}" "$(export CUDA_VISIBLE_DEVICES=${visible%:*}; chosen 8 with)"
done
[ "$(PATH=$work/bin:$PATH; source "$source_dir/launch/common.sh"; CUDA_VISIBLE_DEVICES='' gpus_here)" = 0 ] || { echo "FAILED: GPUs although none is visible"; exit 1; }
expect "GPUs that the program cannot use" "2 cpu" "$(chosen 1 without)"
grep -q "install nvcc" "$work/log" || { cat "$work/log"; echo "FAILED: why the CPU is used is not said"; exit 1; }
rm "$work/bin/nvidia-smi"

fake_mpirun() { { echo '#!/usr/bin/env bash'; cat; } >"$work/bin/mpirun"; chmod +x "$work/bin/mpirun"; }
# train NAME CODE WORDS [SIGNAL]: a training of run folder $work/run, signalled when mpirun is there
train() {
  local code=0 pid
  rm -f "$work/there"
  PATH=$work/bin:$PATH THERE=$work/there RUN=$work/run bash "$local_sh" -n 2 train --data d --out "$work/run" 2>"$work/log" &
  pid=$!
  if [ -n "${4:-}" ]; then
    for _ in $(seq 200); do [ -e "$work/there" ] && break; sleep 0.05; done
    kill -"$4" "$pid"
  fi
  wait "$pid" || code=$?
  expect "$1" "$2" "$code"
  [ -z "$3" ] || grep -q -- "$3" "$work/log" || { cat "$work/log"; echo "FAILED: $1: '$3' was not said"; exit 1; }
}
fake_mpirun <<<'exit 0'
echo '{"steps": 4}' >"$work/run/complete.json"  # of an earlier run
train "mpirun that aborted with 0" 1 "the run is not complete"
fake_mpirun <<<'echo "{}" >"$RUN/complete.json"'
train "mpirun that ended with 0" 0 ""
fake_mpirun <<<'exit 127'
train "a program that cannot be started" 127 "could not start the program"
fake_mpirun <<<'echo "{}" >"$RUN/complete.json"; exit 1'
train "a failure stays one" 1 ""
fake_mpirun <<<'touch "$THERE"; for _ in $(seq 300); do sleep 0.1; done'  # dies of the signal, as before it catches any
for signal in USR1 TERM HUP; do train "$signal before mpirun catches it" 85 "before the ranks were ready" $signal; done
# drops the first signal, as before there are ranks
fake_mpirun <<'P'
got=0
trap 'got=$((got + 1))' USR1
touch "$THERE"
for _ in $(seq 300); do [ $got -lt 2 ] || exit 85; sleep 0.1; done
exit 7
P
train "a signal before there are ranks is sent again" 85 "" TERM

# ---------------------------------------------------------------- several hosts: what mpirun of launch/cluster.sh is told
printf 'a slots=2\nb slots=2\n' >"$work/hosts"
fake_mpirun <<<'echo "$*" >"$THERE"; echo "${NCCL_SOCKET_IFNAME:-}" >>"$THERE"'
{ echo '#!/usr/bin/env bash'; echo 'echo "$*" >>"$THERE.asked"; [ "${DOWN:-none}" != "${*: -2:1}" ] || { echo "ssh: no route to $DOWN"; exit 255; }; exit "${ANSWER:-0}"'; } >"$work/bin/ssh"
chmod +x "$work/bin/ssh"
cluster() { # cluster OPTION...: words in $work/there
  PATH=$work/bin:$PATH THERE=$work/there bash "$source_dir/launch/cluster.sh" -f "$work/hosts" "$@" eval --out x
}
NCCL_DEBUG=INFO CUDA_VISIBLE_DEVICES=0,1 DINOXX_SIMD=avx2 cluster -i eth7
for words in "-n 4" "-x NCCL_DEBUG" "-x CUDA_VISIBLE_DEVICES" "-x DINOXX_SIMD" "-x NCCL_SOCKET_IFNAME" "btl_tcp_if_include eth7" "^=eth7$"; do
  grep -q -- "$words" "$work/there" || { cat "$work/there"; echo "FAILED: cluster.sh: $words"; exit 1; }
done
NCCL_SOCKET_IFNAME=ib0 cluster -i eth7
grep -q '^ib0$' "$work/there" || { cat "$work/there"; echo "FAILED: cluster.sh: NCCL_SOCKET_IFNAME is the user's"; exit 1; }
env -u NCCL_SOCKET_IFNAME PATH="$work/bin:$PATH" THERE="$work/there" bash "$source_dir/launch/cluster.sh" -f "$work/hosts" -i 10.0.0.0/24 eval --out x
grep -q 'NCCL_SOCKET_IFNAME' "$work/there" && { cat "$work/there"; echo "FAILED: cluster.sh: NCCL knows no address ranges"; exit 1; }
echo "ok: cluster.sh carries what GPUs' libraries are told to every host"
grep -q -- "-o ConnectTimeout=10 a " "$work/there.asked" && grep -q " b " "$work/there.asked" || { cat "$work/there.asked"; echo "FAILED: not all hosts were asked"; exit 1; }
# refused WORDS OPTION...: exit code 2 in front of mpirun
refused() {
  local words=$1 code=0
  shift
  rm -f "$work/there"
  cluster "$@" >"$work/log" 2>&1 || code=$?
  expect "$words" 2 "$code"
  grep -q -- "$words" "$work/log" || { cat "$work/log"; echo "FAILED: cluster.sh: '$words' was not said"; exit 1; }
  [ ! -e "$work/there" ] || { echo "FAILED: mpirun was started"; exit 1; }
}
refused "at most the 4 slots of the hostfile .*, found 5" -n 5
DOWN=b refused "host b cannot be reached: ssh: no route to b"
ANSWER=99 refused "host a: expected the program at $DINOXX, found none"
DINOXX_MPIRUN_OPTIONS=--oversubscribe cluster -n 5
DINOXX_MPIRUN_OPTIONS="--mca plm_rsh_agent x" DOWN=b cluster # asked by other means, or not at all
