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

# run_and_forward COMMAND...: runs it in a process group of its own. TERM, INT and USR1 reach the ranks at once as USR1, which mpirun passes on (a TERM it
# would follow by KILL after a second): they save and end with exit code 85. A second TERM or INT ends the command the hard way. Returns the command's exit code.
run_and_forward() {
  local pid code stops=0
  set -m
  "$@" </dev/null &
  pid=$!
  set +m
  on_stop() {
    stops=$((stops + 1))
    if [ "$stops" = 1 ]; then
      echo "${0##*/}: stop requested; the ranks save and end (once more to end at once)" >&2
      kill -USR1 "$pid" 2>/dev/null || true
    else
      kill -TERM "$pid" 2>/dev/null || true
    fi
  }
  trap on_stop TERM INT
  trap 'kill -USR1 "$pid" 2>/dev/null || true' USR1
  code=0
  while true; do
    wait "$pid" && code=0 || code=$?
    kill -0 "$pid" 2>/dev/null || break  # a trapped signal ends wait while the command still runs
  done
  wait "$pid" && code=0 || code=$?
  trap - TERM INT USR1
  return "$code"
}
