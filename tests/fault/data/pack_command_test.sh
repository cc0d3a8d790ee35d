#!/bin/bash
# The command line of pack and info as a person meets it: exit codes, messages, nothing left behind.   pack_command_test.sh PATH_OF_DINOXX
dinoxx=$1
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT && cd "$work" || exit 1
failures=0

# expect CODE WORDS ARGUMENTS...: exit code, and words somewhere in the output
expect() {
  local code=$1 words=$2; shift 2
  local output; output=$("$dinoxx" "$@" 2>&1); local found=$?
  if [[ $found != "$code" || $output != *"$words"* ]]; then
    echo "FAILED: dinoxx $*: expected exit code $code and \"$words\", found $found and:"; echo "$output" | tail -5
    failures=$((failures + 1))
  fi
}
nothing_but() {
  local found; found=$(ls -A | tr '\n' ' ')
  if [[ $found != "$1" ]]; then echo "FAILED: expected only \"$1\" in the folder, found \"$found\""; failures=$((failures + 1)); fi
}

expect 0 "--from-folder photos --out data" pack --help
expect 2 "one of --from-folder, --list and --toy" pack --out data
expect 2 "2 of them" pack --toy textures --from-folder x --out data
expect 2 "a data folder to make" pack --toy textures
expect 2 "Did you mean --from-folder?" pack --form-folder x --out data
expect 2 "nothing there" pack --from-folder missing --out data
expect 2 "a size like 512M" pack --toy textures --out data --shard-bytes 12Q
expect 2 "--toy beside it" pack --from-folder . --count 5 --out data
expect 2 "\"textures\" or \"scenes\"" pack --toy faces --out data
expect 2 "--count" pack --toy textures --count many --out data
expect 1 "/proc" pack --toy textures --count 100 --out /proc/dinoxx/data
nothing_but ""
expect 0 "100 images (train 84, val 8, test 8), 8 classes" pack --toy textures --count 100 --out data
expect 0 "packed already of the same input, nothing to do: 100 images" pack --toy textures --count 100 --out data
expect 2 "--overwrite" pack --toy textures --count 101 --out data
expect 2 "one of them" pack --toy textures --count 101 --out data --overwrite --append
expect 0 "100 images (train 84, val 8, test 8), 8 classes" pack --toy scenes --count 100 --out scenes; rm -r scenes
expect 0 "100 images" pack --toy textures --count 100 --out data --overwrite --shard-bytes 64K --threads 1
nothing_but "data "
expect 0 "weave" info --data data
expect 0 "verified 100 images: 0 problems" info --data data --verify
expect 2 "nothing there" info --data nowhere
expect 2 "a run folder" info --run nowhere
expect 0 "HDF5" info
printf 'x' | dd of=data/shard-00000.h5 bs=1 seek=40000 conv=notrunc status=none
expect 1 "problem" info --data data --verify

# stopped half-way: says so, leaves nothing
"$dinoxx" pack --toy textures --count 200000 --out stopped >log 2>&1 &
pid=$!
for _ in $(seq 100); do [[ -e stopped/.partial ]] && break; sleep 0.1; done
sleep 0.3; kill -INT $pid; wait $pid; code=$?
if [[ $code != 1 || $(cat log) != *"request to stop"* ]]; then echo "FAILED: SIGINT: exit code $code"; tail -3 log; failures=$((failures + 1)); fi
rm log
nothing_but "data "
# stopped and killed after a few shards: the same command goes on, and gives what it gives in one go
"$dinoxx" pack --toy textures --count 6000 --out whole --shard-bytes 64K --threads 1 >/dev/null 2>&1
shards() { ls again/.partial/shard-*.h5 2>/dev/null | wc -l; }
interrupt() {
  "$dinoxx" pack --toy textures --count 6000 --out again --shard-bytes 64K --threads 1 >log 2>&1 &
  pid=$!
  for _ in $(seq 600); do [[ $(shards) -gt $2 ]] && break; sleep 0.02; done
  kill -$1 $pid; wait $pid 2>/dev/null; code=$?
}
interrupt TERM 2
if [[ $code != 85 || $(cat log) != *"goes on from"* ]]; then echo "FAILED: SIGTERM: exit code $code"; tail -3 log; failures=$((failures + 1)); fi
interrupt KILL 5
expect 0 "went on after" pack --toy textures --count 6000 --out again --shard-bytes 64K --threads 1
if ! cmp -s <(grep -o '"fingerprint": "[^"]*"' whole/manifest.json) <(grep -o '"fingerprint": "[^"]*"' again/manifest.json); then
  echo "FAILED: a pack that was interrupted differs"; failures=$((failures + 1))
fi
rm -r log whole again
nothing_but "data "
# killed: the next run takes the leftover away
"$dinoxx" pack --toy textures --count 200000 --out killed >/dev/null 2>&1 &
pid=$!
for _ in $(seq 100); do [[ -e killed/.partial ]] && break; sleep 0.1; done
kill -KILL $pid; wait $pid 2>/dev/null
expect 0 "100 images" pack --toy textures --count 100 --out killed
nothing_but "data killed "
[[ $failures == 0 ]] && echo passed
exit $((failures > 0))
