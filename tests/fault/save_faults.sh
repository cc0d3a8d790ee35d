#!/bin/bash
# Ranks that are killed in the middle of a sharded save: SCRIPT DINOXX MPIEXEC MPI_FLAGS CASE DIE_IN_CALL (MPI_FLAGS one word, spaces inside; DIE_IN_CALL: the
# library of die_in_call.cpp). The cases are zero2 on two ranks and zero3 on three. Nothing half written is taken: the run goes on from the newest
# checkpoint that is whole, says so, and ends with the bits of a run that nobody disturbed.
die_in_call=$5
. "$(dirname "$0")/../integration/train/common.sh"
make_data

# teacher and backbone are written in parts of 50 kB
training=("${base[@]}" --train.method dinov2 --model.depth 3 --model.recompute block --parallel.sync "$case" --checkpoint.part_size 0.00005 --checkpoint.keep 1
  --train.length 12it)

# killed WHO CALL TEXT STEP: a run whose rank WHO dies in CALL of a file with TEXT in its path, in the save of step 8, goes on from STEP
killed() {
  local from begin=$SECONDS
  from=$(printf 'step_%08d' "$4")
  rm -rf run
  code=0
  $mpiexec $flags -n "$ranks" env LD_PRELOAD="$die_in_call" DIE_IN="$1 $2 $3" "$dinoxx" "${training[@]}" --out run >log 2>&1 || code=$?
  expect 137
  [ $((SECONDS - begin)) -lt 60 ] || die "the others waited $((SECONDS - begin)) s for a rank that was dead"
  [ -e "run/checkpoints/$from/manifest.json" ] || die "$1 $2 $3: no whole checkpoint of step $4"
  rm -rf left
  cp -r run/checkpoints left
  run "$ranks" "${training[@]}" --out run
  expect 0
  says "resumed from run/checkpoints/$from at step $4"
  if [ "$4" = 4 ]; then
    [ -d left/.step_00000008.partial ] || die "$1 $2 $3: not in the middle of the save: $(ls -A left)"
    says "note: the save of step 8 was broken off; nothing of it is taken"
  fi
  same_state whole run step_00000012
  diff <(figures whole) <(figures run) || die "$1 $2 $3: metrics differ"
  [ "$(ls -A run/checkpoints)" = step_00000012 ] || die "left behind: $(ls -A run/checkpoints)"
  echo "$1 $2 $3: $(find left -path '*00000008*' -type f | wc -l) files of the save, goes on from step $4"
}

case $case in
zero2) ranks=2 ;;
zero3) ranks=3 ;;
*) die "unknown case" ;;
esac
run $ranks "${training[@]}" --out whole
expect 0
says "parallel.sync: $case over $ranks ranks"
[ "$(ls whole/checkpoints/step_00000012/teacher-0* | wc -l)" -ge 4 ] || die "expected a teacher in parts"
case $case in
zero2)
  killed 0 write 8.partial/rank_00000 4
  killed 1 rename 8.partial/rank_00001 4
  killed all rename 8.partial/rank_0 4
  killed 0 write 8.partial/teacher.safetensors.index.json 4
  killed 0 renamed 8.partial/manifest.json 4
  ;;
zero3)
  killed 1 write 8.partial/rank_00001 4
  killed all write 8.partial/rank_0 4
  killed 0 write 8.partial/teacher-00003 4
  killed 0 write 8.partial/manifest.json 4
  killed 0 rename checkpoints/step_00000008 4
  killed 0 renamed checkpoints/step_00000008 8
  killed 0 removed step_00000004/manifest.json 8
  ;;
esac
exit 0
