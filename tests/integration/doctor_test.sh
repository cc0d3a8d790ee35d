#!/bin/bash
# dinoxx doctor as a user runs it: doctor_test.sh DINOXX MPIEXEC MPI_FLAGS CASE (MPI_FLAGS one word, spaces inside).
set -u
dinoxx=$1 mpiexec=$2 flags=$3 case=$4
work=$(mktemp -d "${TMPDIR:-/tmp}/dinoxx_doctor.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
export OMP_NUM_THREADS=1

die() {
  echo "FAILED ($case): $*" >&2
  [ -f log ] && tail -n 40 log >&2
  exit 1
}
run() {
  local n=$1
  shift
  code=0
  if [ "$n" = 1 ]; then "$dinoxx" "$@" >log 2>err || code=$?; else $mpiexec $flags -n "$n" "$dinoxx" "$@" >log 2>err || code=$?; fi
  cat err >>log
}
expect() { [ "$code" = "$1" ] || die "expected exit code $1, found $code"; }
says() { grep -q -- "$1" log || die "expected the output to say \"$1\""; }
files_of() { find "$1" | sort; }
"$dinoxx" pack --toy textures --count 120 --out data >log 2>&1 || die "pack"
mkdir run
files_of data >before

case $case in
text)
  for n in 1 2; do
    run $n doctor --data data --run run
    expect 0
    for words in '^versions' 'LibTorch  *2\.' 'HDF5 ' 'libhdf5' '^processor' 'network, float32' "^ranks: $n on 1 host" 'open files' 'dev/shm' \
      '^data folder data' '120 images in 1 shard' '^run folder run' 'with fsync' '^a training step on synthetic data' 'weights of all ranks are equal' '^verdict: '; do
      says "$words"
    done
    [ "$(grep -c '^verdict: ' log)" = 1 ] || die "expected one verdict"
    [ $n = 1 ] && says 'collectives: there is one rank'
    files_of data | cmp - before || die "left something in the data folder"
    [ -z "$(ls -A run)" ] || die "left behind: $(ls -A run)"
  done
  for collective in all-reduce reduce-scatter all-gather broadcast; do
    [ "$(grep -c "^  $collective " log)" = 3 ] || die "expected three sizes of $collective"
  done
  run 2 doctor
  expect 0
  says 'the data folder: name it by --data'
  says 'the run folder: name it by --run'
  ;;
json)
  for n in 1 2; do
    $mpiexec $flags -n $n "$dinoxx" doctor --data data --run run --json >out 2>log || die "exit code $?"
    python3 - $n <<'END' || die "the document"
import json, sys
ranks = int(sys.argv[1])
text = open("out").read()
found = json.loads(text)
assert len(found["ranks"]) == ranks, found["ranks"]
assert all(rank["cores"] > 0 and rank["host"] and rank["cpus"] for rank in found["ranks"])
assert {v["name"] for v in found["versions"]} >= {"dinoxx", "LibTorch", "MPI", "PMIx", "HDF5", "CUDA"}
assert found["exit_code"] == 0 and found["verdict"] in ("ok", "note", "warn"), found["verdict"]
assert all(set(f) == {"severity", "subject", "expected", "found", "advice"} for f in found["findings"])
assert found["read"]["images"] == 120 and found["read"]["images_a_second"] > 0
assert found["write"]["bytes_a_second"] > 0 and found["step"]["loss"] > 0
times = found.get("collectives", [])
assert len(times) == (12 if ranks > 1 else 0), times
for time in times:
    factor = {"all-reduce": 2 * (ranks - 1) / ranks, "broadcast": 1}.get(time["name"], (ranks - 1) / ranks)
    assert abs(time["bus_bytes_a_second"] - time["bytes"] / time["seconds"] * factor) < 1e-6 * time["bus_bytes_a_second"], time
END
  done
  ;;
refusals)
  for n in 1 2; do
    run $n doctor --data nowhere
    expect 2
    says '^dinoxx: --data: expected a folder made by "dinoxx pack", found no nowhere'
    run $n doctor --data run
    expect 2
    says 'found no manifest.json in run'
    run $n doctor --run nowhere
    expect 2
    says '^dinoxx: --run: expected a folder, found no nowhere'
    run $n doctor --run data/manifest.json
    expect 2
    says '^dinoxx: --run: expected a folder, found a file at data/manifest.json'
    run $n doctor --patience 0
    expect 2
    says '--patience: expected 1 to 86400 seconds'
    [ "$(grep -c '^dinoxx: ' log)" = 1 ] || die "expected one line of error"
    run $n doctor --data
    expect 2
    run $n doctor nonsense
    expect 2
  done
  ;;
faults)
  # a run folder that cannot be written to: for root, too, where the kernel has no files to be made
  chmod 555 run
  closed=$work/run
  [ "$(id -u)" = 0 ] && closed=/sys/kernel
  for n in 1 2; do
    run $n doctor --run "$closed"
    expect 1
    says "fault: run folder $closed: expected a folder that rank 0 on .* can write to"
    says '^verdict: 1 fault'
  done
  chmod 755 run
  # a shard that is cut off
  cp -r data broken
  truncate -s 1000 broken/*.h5
  run 2 doctor --data broken --run run
  expect 1
  says 'fault: data folder broken: '
  # limits, and one core for two ranks
  ulimit -Sn 128 && ulimit -Hn 128 || die "ulimit"
  run 2 doctor
  expect 0
  says 'warn: ranks 0-1 on .* a limit of 128'
  ;;
absent)
  # a rank that stops before MPI, and one that is stopped in the middle: named within seconds, and nobody is left
  cat >late.sh <<'END'
#!/bin/bash
[ "$OMPI_COMM_WORLD_RANK" = 1 ] && exec sleep 60
exec "$@"
END
  chmod +x late.sh
  begin=$SECONDS code=0
  $mpiexec $flags -n 2 ./late.sh "$dinoxx" doctor --patience 3 >log 2>&1 || code=$?
  expect 1
  says 'rank 0 on host .*: expected the other ranks in "the start of MPI" within 3 s, found some missing'
  [ $((SECONDS - begin)) -lt 30 ] || die "it took $((SECONDS - begin)) s"
  # a launcher that MPI does not know
  code=0
  env -u OMPI_COMM_WORLD_SIZE SLURM_STEP_NUM_TASKS=4 SLURM_PROCID=3 "$dinoxx" doctor >log 2>&1 || code=$?
  expect 1
  says 'rank 3 on host .*: MPI start-up: expected 4 ranks (SLURM_STEP_NUM_TASKS=4) with PMI.*found no PMI in the environment. Start with srun --mpi=pmix'
  ;;
*) die "unknown case" ;;
esac
exit 0
