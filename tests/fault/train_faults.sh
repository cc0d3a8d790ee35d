#!/bin/bash
# What training does with bad input and bad luck: a message that helps, the right exit code, nothing half written. See ../integration/train/common.sh.
. "$(dirname "$0")/../integration/train/common.sh"
make_data

# refused ARGS... WHAT: exit code 2, one line that says WHAT, no run folder
refused() {
  local what=${*: -1}
  run "$ranks" "${@:1:$#-1}"
  expect 2
  says "$what"
  [ "$(grep -c '^dinoxx: ' log)" = 1 ] || die "expected one line of error"
  [ -e run ] && die "a run folder was made"
  return 0
}

case $case in
usage_*)
  ranks=${case#usage_}
  refused "${base[@]}" --out run --optim.lrr 1 "Did you mean --optim.lr"
  refused "${base[@]}" --out run --optim.lr fast "expected a number"
  printf '[optim]\nlr = fast\n' >bad.cfg
  refused train --config bad.cfg --data data --out run "bad.cfg:2: optim.lr"
  printf '[optim]\nlearning = 1\n' >bad.cfg
  refused train --config bad.cfg --data data --out run "bad.cfg:2"
  refused train --config missing.cfg --data data --out run "missing.cfg"
  refused train --config small.cfg --out run "expected a folder made by"
  refused train --config small.cfg --data nowhere --out run "no nowhere"
  refused "${base[@]}" "expected a run folder"
  refused "${base[@]}" --out run --train.batch_size 960 "at most the 192 training images"
  refused "${base[@]}" --out run --resume nowhere "auto, strict, never or a checkpoint folder"
  refused "${base[@]}" --out run --max-time soon "11h"
  refused "${base[@]}" --out run --model.heads 5 "divisor"
  if [ "$ranks" != 1 ]; then refused "${base[@]}" --out run --train.batch_size 25 "a multiple of the $ranks ranks"; fi
  ;;
once)
  # what is wrong with a command line, and help, is said once however many ranks there are
  for command in pack train eval attend propagate match embed predict report compare weights info trian; do
    run 2 $command --no-such-option 1
    expect 2
    [ "$(grep -c '^dinoxx: ' log)" = 1 ] || die "$command: expected one line of error"
  done
  says "Did you mean train"
  for words in --help --version 'train --help' 'eval --help' 'pack --help' 'weights --help'; do
    run 2 $words
    expect 0
    [ "$(grep -cxF -- "$(grep -m 1 dinoxx log)" log)" = 1 ] || die "$words: said twice"
  done
  # the work of one process is done by one
  run 2 pack --toy textures --count 80 --out other
  expect 0
  says "pack is the work of one process"
  [ "$(grep -c '^other: 80 images' log)" = 1 ] || die "packed twice"
  ;;
locked)
  "$dinoxx" "${base[@]}" --train.length 4000it --out run >first.log 2>&1 &
  pid=$!
  wait_for_step run 1
  run 2 "${base[@]}" --out run
  other=$code
  kill -USR1 $pid
  wait $pid
  [ $? = 85 ] || die "the run that holds the folder was disturbed"
  code=$other
  expect 2
  says "a run folder that no other run uses"
  ;;
never)
  run 1 "${base[@]}" --out run
  expect 0
  run 1 "${base[@]}" --out run --resume never
  expect 2
  says "empty run folder"
  ;;
unwritable)
  echo hello >file
  for out in file file/run /proc/run; do
    run 2 "${base[@]}" --out $out
    expect 1
    says "$out"
  done
  [ "$(cat file)" = hello ] || die "the file was changed"
  ;;
full_disk)
  # No file may grow beyond 32 KiB: known before the work, it is refused; where it comes later, the checkpoint fails as on a full disk, the one from before stays
  # the latest, and nothing half written is left.
  run 1 "${base[@]}" --train.length 4it --optim.warmup 1it --out run
  expect 0
  ( ulimit -f 32; run 1 "${base[@]}" --optim.warmup 1it --out run; expect 2; says "ulimit -f" ) || exit 1
  "$dinoxx" "${base[@]}" --optim.warmup 1it --train.length 1000000it --train.log_every 50 --checkpoint.every 0 --out run >log 2>&1 &
  pid=$!
  wait_for_step run 50
  prlimit --pid $pid --fsize=32768
  kill -USR1 $pid
  code=0
  wait $pid || code=$?
  expect 1
  says "to write the file"
  [ "$(ls -A run/checkpoints)" = step_00000004 ] || die "left in checkpoints: $(ls -A run/checkpoints)"
  run 1 "${base[@]}" --optim.warmup 1it --out run
  expect 0
  ;;
memory)
  # a want of memory that start-up cannot foresee: what the process takes with small images, and no room for what large ones need between two
  # layers. Exit code 1, how much was asked for, what to lower.
  peak() { awk '/^VmPeak/ {print $2}' "/proc/$1/status"; }
  "$dinoxx" "${base[@]}" --train.length 4000it --out run >log 2>&1 &
  pid=$!
  wait_for_step run 1
  room=$(($(peak $pid) + 600000))
  kill -USR1 $pid
  wait $pid
  for ranks in 1 2; do
    ( ulimit -v $room
      run $ranks "${base[@]}" --out large --train.batch_size 192 --views.global_size 128 --data.ring 2
      expect 1 ) || exit 1
    says "out of memory on .*: expected [0-9.]* [MG]B more, found less: this process has held up to [0-9.]* [MG]B, and .* are free since it gave up. Lower what the work holds at once: train.batch_size, views.local_count, data.ring"
    grep -q "unexpected failure" log && die "nobody foresaw it"
    [ -z "$(ls large/checkpoints 2>/dev/null)" ] || die "left in checkpoints: $(ls large/checkpoints)"
    rm -rf large
    ( ulimit -v $room
      run $ranks embed --checkpoint run --data data --image-size 1024 --out large.npy
      expect 1 ) || exit 1
    says "out of memory on .*: expected [0-9.]* [MG]B more"
    says "--image-size or --threads of other commands"
    [ -e large.npy ] && die "a file was left behind"
  done
  # with the room that is left, small images go on
  ( ulimit -v $room; run 1 embed --checkpoint run --data data --out small.npy; expect 0 ) || exit 1
  # pack says which image
  "$dinoxx" pack --toy textures --count 200000 --shard-bytes 1M --threads 1 --out killed >log 2>&1 &
  pid=$!
  for _ in $(seq 600); do [ -e killed/.partial ] && break; sleep 0.1; done
  room=$(($(peak $pid) + 150000))
  kill -INT $pid
  wait $pid
  mkdir -p photos/a
  python3 - <<'END' || die "a large image"
import struct, zlib
def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
side = 12000
with open("photos/a/large.png", "wb") as out:
    out.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(bytes(side * (side + 1)), 1)) + chunk(b"IEND", b""))
END
  ( ulimit -v $room; run 1 pack --from-folder photos --threads 1 --out packed; expect 1 ) || exit 1
  says "a/large.png: expected memory for 12000 x 12000 pixels, found not enough. Lower --threads or --shard-bytes, or leave large images out with --max-pixels"
  [ -e packed ] && die "a data folder was left behind"
  ;;
damaged)
  # the newest is damaged on one of two ranks' files: strict refuses, auto says so, goes on from the one before and keeps it aside
  run 2 "${base[@]}" --out run
  expect 0
  file=run/checkpoints/step_00000008/rank_00001_of_00002.safetensors
  cp -r run whole
  printf 'x' | dd of=$file bs=1 seek=$(($(stat -c %s $file) - 3)) conv=notrunc 2>/dev/null
  cp -r run flipped
  run 2 "${base[@]}" --out run --resume strict
  expect 1
  says "CRC32C"
  says "$file"
  [ -e run/damaged ] && die "a refusal moved something"
  run 2 "${base[@]}" --out run
  expect 0
  says "DAMAGED"
  says "step_00000004 at step 4"
  same_state whole run step_00000008
  cmp $file "flipped/${file#run/}" && die "the damaged one is still there"
  cmp "run/damaged/${file#run/checkpoints/}" "flipped/${file#run/}" || die "the damaged one was not kept"
  # one that was named is not exchanged for another
  head -c 1000 "flipped/${file#run/}" >$file
  run 2 "${base[@]}" --out run --resume run/checkpoints/step_00000008
  expect 1
  says "damaged"
  printf '{"format": "another program"}' >run/checkpoints/step_00000008/manifest.json
  run 2 "${base[@]}" --out run
  expect 0
  says "a dinoxx checkpoint"
  says "step_00000004 at step 4"
  [ -e run/damaged/step_00000008.2 ] || die "the second one was not kept"
  ;;
other_model)
  run 1 "${base[@]}" --out run
  expect 0
  run 1 "${base[@]}" --out run --model.dim 64 --train.length 12it
  expect 2
  says "model.dim was 32 and is 64"
  # another learning rate can go on, but is not one run any more
  run 1 "${base[@]}" --out run --optim.lr 0.02 --train.length 12it
  expect 0
  says "optim.lr was 0.01 and is 0.02"
  ;;
launcher)
  # a launcher that starts two tasks of a program that sees no MPI neighbours: refused, else both would write one folder
  code=0
  env OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_RANK=0 "$dinoxx" "${base[@]}" --out run >log 2>&1 || code=$?
  [ "$code" != 0 ] || die "expected a refusal"
  [ -e run ] && die "a run folder was made"
  ;;
dead_rank)
  # a rank that is killed takes the job down in seconds instead of leaving the others waiting; the run resumes
  $mpiexec $flags -n 2 "$dinoxx" "${base[@]}" --train.length 4000it --out run >log 2>&1 &
  pid=$!
  wait_for_step run 5
  victim=$(pgrep -P $pid | tail -n 1)
  kill -KILL "$victim"
  wait $pid
  code=$?
  [ "$code" != 0 ] && [ "$code" != 85 ] || die "expected a failure, found $code"
  run 2 "${base[@]}" --out run
  expect 0
  says "resumed from"
  ;;
*) die "unknown case" ;;
esac
exit 0
