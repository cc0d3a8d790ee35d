# shellcheck shell=bash
# Shared by the launchers; sourced, not run.
launch_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$launch_dir/.." && pwd)
if [ -e "$root/CMakeLists.txt" ]; then
  installed=no
else
  installed=yes  # <prefix>/share/dinoxx/launch
fi

die() { echo "${0##*/}: $*" >&2; exit 2; }

# The cores that this process may use (a container or a batch system may allow fewer than the machine has).
# nproc would give OMP_NUM_THREADS, which says how many threads a rank has.
cores() { env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc; }

# Parallel compilations: as many as cores, but each may take 1.5 GB.
build_jobs() {
  local n available
  n=$(cores)
  available=$(awk '/MemAvailable/ {print int($2 / 1572864)}' /proc/meminfo)
  [ "$available" -ge 1 ] || available=1
  echo $((n < available ? n : available))
}

# build_release TARGET: set-up, configuration and build of the release preset; does nothing where nothing changed.
build_release() {
  "$launch_dir/setup.sh"
  local log=$root/build/configure.log
  mkdir -p "$root/build"
  (cd "$root" && cmake --preset release >"$log" 2>&1) || { cat "$log"; return 1; }
  cmake --build "$root/build/release" --target "$1" -j "$(build_jobs)"
}

# Path of the program: DINOXX names another one.
dinoxx_program() {
  if [ -n "${DINOXX:-}" ]; then
    echo "$DINOXX"
  elif [ "$installed" = yes ]; then
    (cd "$launch_dir/../../../bin" && echo "$PWD/dinoxx")
  elif [ -x "$root/build/release/bin/dinoxx" ]; then
    echo "$root/build/release/bin/dinoxx"
  else
    die "no dinoxx program: expected build/release/bin/dinoxx. Build it with launch/test.sh or cmake, or set DINOXX=<path>."
  fi
}

# How many GPUs a program may use: those that nvidia-smi lists or, of these, those in CUDA_VISIBLE_DEVICES, up to the first that is none, as CUDA reads it.
gpus_here() {
  local listed count=0 gpu
  listed=$(nvidia-smi -L 2>/dev/null | grep -c '^GPU' || true)
  if [ "$listed" -eq 0 ] || [ -z "${CUDA_VISIBLE_DEVICES+set}" ]; then
    echo "$listed"
    return
  fi
  for gpu in ${CUDA_VISIBLE_DEVICES//,/ }; do
    case $gpu in
      GPU-* | MIG-*) ;;
      *[!0-9]*) break ;;
      *) [ "$gpu" -lt "$listed" ] || break ;;
    esac
    count=$((count + 1))
  done
  echo "$count"
}

# choose_ranks PROGRAM: for work that a small machine does, into `ranks` and `device`: one or two ranks on as many GPUs; else two on the CPU, which has to be
# asked for where the machine has GPUs and the program was built without CUDA.
choose_ranks() {
  local gpus
  gpus=$(gpus_here)
  ranks=2 device=auto
  [ "$gpus" -gt 0 ] || return 0
  if "$1" --version | grep -q "without CUDA"; then
    device=cpu
    say "this machine has GPUs, but the program was built without CUDA, so the CPU is used. To use them: install nvcc 13, then launch/setup.sh --cuda"
  elif [ "$gpus" -eq 1 ]; then
    ranks=1
  fi
}

# Environment of every rank. What the user has set stays.
export_rank_environment() {
  local threads=$1
  export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$threads}
  # Open MPI allocates a temporary for each reduction; by default glibc maps and unmaps it each time, and the page faults cost 3-4 times the reduction.
  export MALLOC_MMAP_THRESHOLD_=${MALLOC_MMAP_THRESHOLD_:-1073741824}
  export MALLOC_TRIM_THRESHOLD_=${MALLOC_TRIM_THRESHOLD_:-4294967296}
}

# Settings of mpirun, as environment. odls_base_sigkill_timeout keeps its one second on purpose: a longer one would let a TERM sent to mpirun leave time to
# save, but mpirun also waits it out, twice, whenever a rank ends with a code that is not 0, 85 included. run_and_forward sends USR1 instead.
export_mpi_environment() {
  # A waiting rank gives its core to the loader's threads.
  export OMPI_MCA_mpi_yield_when_idle=${OMPI_MCA_mpi_yield_when_idle:-1}
  # Copies through shared memory need no rights to read another process, and are as fast at the sizes of a gradient bucket.
  export OMPI_MCA_btl_vader_single_copy_mechanism=${OMPI_MCA_btl_vader_single_copy_mechanism:-none}
  if [ "$(id -u)" = 0 ]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  fi
}

# find_run ARGUMENT...: sets run_folder, empty unless the arguments of dinoxx are those of a training that begins or goes on, and run_of_students.
find_run() {
  run_folder='' run_of_students=no
  [ "${1:-}" = train ] || return 0
  local folder=
  while [ $# -gt 0 ]; do
    case $1 in
      -h | --help | --check | --print-config) return 0 ;;
      --out) folder=${2:-} ;;
      --out=*) folder=${1#--out=} ;;
      --students | --students=*) run_of_students=yes ;;
    esac
    shift
  done
  run_folder=$folder
}
# A run that came to its end leaves complete.json; of several students each does so in a folder of its own.
completion_files() {
  completions=("$run_folder/complete.json")
  [ "$run_of_students" = no ] || completions=("$run_folder"/*/complete.json)
}
is_complete() { completion_files; [ -e "${completions[0]}" ]; }
forget_completion() { completion_files; rm -f -- "${completions[@]}"; }

# Out-of-memory kills on this machine so far; nothing where the kernel does not count them.
oom_kills() { awk '$1 == "oom_kill" {print $2}' /proc/vmstat 2>/dev/null || true; }

# run_ranks MPIRUN... -- PROGRAM ARGUMENT...: dinoxx on several ranks by run_and_forward. Returns 0 for a training only when its run is complete: mpirun
# may end with 0 although it never started a rank. A training that a stop ended before its ranks were ready ends with 85, as one that has saved. Says what
# other codes mean; mpirun is told to be quiet (its own words would follow a clean stop, too).
run_ranks() {
  local mpirun=() kills code
  while [ "$1" != -- ]; do mpirun+=("$1"); shift; done
  shift
  find_run "${@:2}"
  [ -z "$run_folder" ] || forget_completion
  kills=$(oom_kills)
  code=0
  run_and_forward "${mpirun[@]}" --quiet "$@" || code=$?
  if [ -n "$run_folder" ] && [ "$stops" -gt 0 ]; then
    case $code in
      0 | 138)
        if is_complete; then return 0; fi
        say "the stop ended mpirun itself, as before the ranks were ready; the same command goes on"
        return 85
        ;;
    esac
  fi
  case $code in
    0)
      # where this machine does not see the run folder of the others, it cannot tell
      if [ -n "$run_folder" ] && [ -d "$(dirname -- "$run_folder")" ] && ! is_complete; then
        say "mpirun ended with 0, but the run is not complete: no ${completions[0]}. Look at what it said above, then run the same command again."
        code=1
      fi
      ;;
    2 | 85) ;;
    137)
      if [ "$(oom_kills)" != "$kills" ]; then
        say "a rank was killed because the memory was used up: lower train.batch_size, views.local_count, data.ring or the number of ranks on a machine"
      else
        say "a rank was killed (SIGKILL). Most often that is for want of memory: lower train.batch_size, views.local_count, data.ring or the number of ranks on a machine"
      fi
      ;;
    205) say "a machine does not answer any more (mpirun: 205); run the same command again" ;;
    12[67]) say "mpirun could not start the program on one of the machines ($code)" ;;
    129 | 1[3-9][0-9]) say "a rank ended by signal $((code - 128)) ($(kill -l $((code - 128)) 2>/dev/null || echo unknown))" ;;
  esac
  return "$code"
}
say() { echo "${0##*/}: $*" >&2; }

# run_and_forward COMMAND...: runs it in a process group of its own. TERM, INT, HUP and USR1 reach the ranks at once as USR1, which mpirun passes on (a TERM it
# would follow by KILL after a second): they save and end with exit code 85. mpirun drops a signal that comes before its ranks are there: in the first minute
# of a training it is sent again until the command ends. A second TERM or INT ends the command the hard way. Returns the command's exit code; "stops" is how many stops were requested.
run_and_forward() {
  local pid='' code again='' requests=0 began=$SECONDS
  stops=0
  on_stop() {
    stops=$((stops + 1)) requests=$((requests + 1))
    if [ "$requests" = 1 ]; then
      echo "${0##*/}: stop requested; the ranks save and end (once more to end at once)" >&2
      send_again
    else
      kill -TERM "$pid" 2>/dev/null || true
    fi
  }
  send_again() {
    [ -n "$pid" ] && [ -z "$again" ] || return 0
    kill -USR1 "$pid" 2>/dev/null || true
    [ -n "${run_folder:-}" ] && [ $((SECONDS - began)) -lt 60 ] || return 0
    while sleep 1 && kill -USR1 "$pid" 2>/dev/null; do :; done </dev/null >/dev/null 2>&1 &
    again=$!
  }
  trap on_stop TERM INT HUP
  trap 'stops=$((stops + 1)); send_again' USR1
  set -m
  "$@" </dev/null &
  pid=$!
  set +m
  [ "$stops" = 0 ] || send_again
  code=0
  while true; do
    wait "$pid" && code=0 || code=$?
    kill -0 "$pid" 2>/dev/null || break  # a trapped signal ends wait while the command still runs
  done
  wait "$pid" && code=0 || code=$?
  trap - TERM INT HUP USR1
  [ -z "$again" ] || kill "$again" 2>/dev/null || true
  return "$code"
}
