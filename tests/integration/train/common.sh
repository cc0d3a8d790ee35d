# What the training scripts share. Usage of each: SCRIPT DINOXX MPIEXEC MPI_FLAGS CASE (MPI_FLAGS one word, spaces inside).
set -u
dinoxx=$1 mpiexec=$2 flags=$3 case=$4
work=$(mktemp -d "${TMPDIR:-/tmp}/dinoxx_train.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
export OMP_NUM_THREADS=1

die() {
  echo "FAILED ($case): $*" >&2
  [ -f log ] && tail -n 20 log >&2
  exit 1
}
# run N ARGS...: dinoxx on N ranks, output in "log", exit code in $code. One rank runs without mpirun.
run() {
  local n=$1
  shift
  code=0
  if [ "$n" = 1 ]; then "$dinoxx" "$@" >log 2>&1 || code=$?; else $mpiexec $flags -n "$n" "$dinoxx" "$@" >log 2>&1 || code=$?; fi
}
expect() { [ "$code" = "$1" ] || die "expected exit code $1, found $code"; }
says() { grep -q -- "$1" log || die "expected the output to say \"$1\""; }

make_data() { "$dinoxx" pack --toy textures --count "${1:-240}" --seed 3 --out data >log 2>&1 || die "pack"; }
cat >small.cfg <<'END'
[model]
dim = 32
depth = 2
heads = 2
patch_size = 4
drop_path = 0.2
[head]
out_dim = 64
hidden_dim = 48
bottleneck_dim = 16
[views]
global_size = 16
local_size = 8
local_count = 2
[optim]
lr = 0.01
warmup = 3it
freeze_last_layer = 6it
[teacher]
momentum = 0.95
[train]
length = 8it
batch_size = 24
log_every = 1
check_every = 2
[checkpoint]
every = 4it
[eval]
every = 0
END
# A small run of both; --out is left to the case.
base=(train --config small.cfg --data data)
# Lines of metrics.jsonl without what depends on the clock.
figures() { grep '"loss"' "$1/metrics.jsonl" | sed -E 's/"(images_per_s|data_wait|overlapped_share)":[^,}]*,?//g'; }
# The states of two runs at one step are equal, bit for bit.
same_state() {
  local file found=0
  for file in "$1"/checkpoints/"$3"/*.safetensors; do
    found=1
    cmp "$file" "$2/checkpoints/$3/$(basename "$file")" || die "$file differs between $1 and $2"
  done
  [ $found = 1 ] || die "no state of $3 in $1"
}
# Waits until the run in folder $1 has logged step $2, at most 60 s.
wait_for_step() {
  local i
  for i in $(seq 600); do
    grep -q "\"step\":$2[,}]" "$1/metrics.jsonl" 2>/dev/null && return
    sleep 0.1
  done
  die "the run never came to step $2"
}
