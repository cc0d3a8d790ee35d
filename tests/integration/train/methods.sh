#!/bin/bash
# Training by each method, at several resolutions, in stages, of several students. See common.sh.
. "$(dirname "$0")/common.sh"
make_data

case $case in
methods)
  # every method trains on two ranks, and 8 steps are 4 steps, a new process and 4 more
  # a method without prototypes and local crops reads less of small.cfg
  sed '/^\[head\]/,/^\[views\]/{/^\[views\]/!d}; /^\[teacher\]/,/^\[train\]/{/^\[train\]/!d}; /^local_/d; /^freeze_last_layer/d' small.cfg >common.cfg
  masks="--mask.group_size 1 --model.style dinov3 --model.registers 1 --gram.weight 1 --gram.start 2it --gram.first 1it --gram.ramp 2it --gram.every 4it --gram.size 24"
  # (the Gram teacher is the one of step 1 until step 5: the step after the resume needs it from the checkpoint)
  for method in $("$dinoxx" info --methods | cut -d ' ' -f 1); do
    extra=()
    case $method in
    dinov3) read -ra extra <<<"$masks" ;;
    distill*) extra=(--teacher.distill dinov2) ;;
    esac
    run 2 "${base[@]}" --train.method $method "${extra[@]}" --out refused --check
    if [ "$code" = 2 ] && grep -q "expected no value for train.method = $method" log; then extra+=(--config common.cfg --head.hidden_dim 32); else extra+=(--config small.cfg); fi
    run 2 train --data data --train.method $method "${extra[@]}" --out $method
    expect 0
    mkdir -p $method-2/checkpoints
    cp -r $method/checkpoints/step_00000004 $method-2/checkpoints/
    run 2 train --data data --train.method $method "${extra[@]}" --out $method-2
    expect 0
    says "resumed from"
    same_state $method $method-2 step_00000008
    diff <(figures $method | tail -n 4) <(figures $method-2) || die "metrics of $method differ"
  done
  grep -q '"gram_loss"' dinov3/metrics.jsonl || die "no Gram loss"
  grep -q '"patch_loss"' ibot/metrics.jsonl || die "no patch loss"
  grep -q '"effective_rank"' simclr/metrics.jsonl || die "no monitors"
  ;;
resolutions)
  # each step has one of several resolutions, by its place in the data alone: a run that goes on changes them as one that was never stopped
  gram=(--train.method dinov3 --mask.group_size 1 --model.style dinov3 --gram.weight 1 --gram.start 1it --gram.first 1it)
  many=("${gram[@]}" --views.sizes "16x8x24:0.5, 24x12x32:0.5")
  run 2 "${base[@]}" "${many[@]}" --out whole
  expect 0
  for half in head tail; do
    for sizes in 16,8,24 24,12,32; do
      figures whole | $half -n 4 | grep -q "\"crop_sizes\":\[$sizes\]" || die "no crops of $sizes in the $half of the run"
    done
  done
  mkdir -p halves/checkpoints
  cp -r whole/checkpoints/step_00000004 halves/checkpoints/
  run 2 "${base[@]}" "${many[@]}" --out halves
  expect 0
  says "resumed from"
  grep -q "resume differs" log && die "a resume with nothing changed must lose no claim"
  same_state whole halves step_00000008
  diff <(figures whole | tail -n 4) <(figures halves) || die "metrics differ"
  # one step of each is tried; what does not fit is refused by name
  run 2 "${base[@]}" "${many[@]}" --out checked --check
  expect 0
  says "check passed"
  run 1 "${base[@]}" "${gram[@]}" --views.sizes "16x8x24:0.4, 24x12x30:0.6" --out refused
  expect 2
  says "views.sizes, 24x12x30:0.6 (gram.size)"
  [ -e refused ] && die "a refused run left a folder"
  ;;
stages)
  # a stage begins with backbone and heads of the former's teacher; a frozen teacher is distilled; a Gram teacher comes from a run
  run 1 "${base[@]}" --train.method dinov2 --out first
  expect 0
  run 1 "${base[@]}" --train.method dinov2 --model.init_from first --gram.weight 1 --gram.teacher first --out second
  expect 0
  says "heads from the same file"
  says "Gram teacher: backbone from first"
  run 1 "${base[@]}" --train.method dinov2 --model.init_from first --head.out_dim 48 --out other_head
  expect 0
  says "heads begin anew: head.last_layer.weight_v has another shape there"
  run 2 "${base[@]}" --train.method distill --teacher.distill first --model.dim 16 --model.depth 1 --out student
  expect 0
  says "frozen teacher from first/checkpoints/step_00000008/teacher.safetensors"
  # the content of the teacher's file counts, not where it lies
  distill=("${base[@]}" --train.method distill --model.dim 16 --model.depth 1 --train.length 12it --out student)
  cp first/checkpoints/step_00000008/teacher.safetensors moved.safetensors
  run 1 "${distill[@]}" --teacher.distill moved.safetensors --check
  expect 0
  grep -q 'teacher.distill was' log && die "the same teacher elsewhere is called another"
  cp student/config.cfg kept.cfg
  cp first/checkpoints/step_00000004/teacher.safetensors moved.safetensors
  for other in moved.safetensors first/checkpoints/step_00000004; do
    run 2 "${distill[@]}" --teacher.distill $other
    expect 2
    says "has learned, first/checkpoints/step_00000008/teacher.safetensors ([0-9]* bytes, CRC32C [0-9a-f]*), found $other"
  done
  cmp -s student/config.cfg kept.cfg || die "a refused start changes the run"
  cp first/checkpoints/step_00000008/teacher.safetensors moved.safetensors
  run 1 "${distill[@]}" --teacher.distill moved.safetensors
  expect 0
  says "resumed from student/checkpoints/step_00000008"
  grep -q 'teacher.distill was' log && die "the same teacher elsewhere is called another"
  run 1 "${base[@]}" --train.method distill --teacher.distill first --model.fit crop --out cropping_student
  expect 0
  run 1 "${base[@]}" --train.method distill --teacher.distill first --model.patch_size 8 --out refused
  expect 2
  says "model.patch_size: expected 4, as the teacher"
  run 1 "${base[@]}" --train.method distill --teacher.distill first --head.out_dim 48 --out refused
  expect 2
  says "head.out_dim: expected 64, as the teacher"
  [ -e refused ] && die "a refused run left a folder"
  run 1 "${base[@]}" --train.method dinov2 --gram.weight 1 --gram.start 2it --gram.first 3it --out refused
  expect 2
  says "gram.first"
  ;;
students)
  # two students of one teacher in one job, each a run of its own; the same as each by itself
  run 1 "${base[@]}" --train.method dinov3 --model.style dinov3 --head.patch_out_dim 48 --out first
  expect 0
  printf '[model]\ndim = 16\nheads = 2\n' >slim.cfg
  printf '[model]\ndepth = 1\n' >flat.cfg
  job=("${base[@]}" --train.method distill --teacher.distill first --head.shared no --head.patch_out_dim 48)
  run 3 "${job[@]}" --students slim.cfg:2,flat.cfg:1 --out job --check
  expect 0
  says "slim: frozen teacher from first/checkpoints/step_00000008"
  [ -e job ] && die "--check left something behind"
  run 3 "${job[@]}" --students slim.cfg:2,flat.cfg:1 --out job
  expect 0
  says "dinoxx train: student flat, distill"
  grep -q '"job":{"ranks":\[2,1\],"student":"slim"}' job/slim/metrics.jsonl || die "the run does not say whose part it was"
  grep -q '^weight_norm = no' job/slim/config.cfg || die "a student of a DINOv3 teacher has its plain last layer"
  for name in slim flat; do
    [ -f job/$name/checkpoints/step_00000008/teacher.safetensors ] || die "no student $name"
    run 1 train --config job/$name/config.cfg --data data --out alone_$name
    expect 0
    paste <(grep -o '"loss":[0-9.]*' job/$name/metrics.jsonl) <(grep -o '"loss":[0-9.]*' alone_$name/metrics.jsonl) | tr ':' ' ' |
      awk '{ if ($2 - $4 > 1e-4 * $4 || $4 - $2 > 1e-4 * $4) exit 1; n++ } END { exit n != 8 }' || die "$name learns something else by itself"
  done
  run 1 "${job[@]}" --out alone_plain
  expect 0
  run 1 compare job/slim job/flat
  expect 0
  # as after a crash while flat saved its last checkpoint: both go on from the newest that both have
  cp -r job crashed
  rm -r crashed/flat/checkpoints/step_00000008
  run 3 "${job[@]}" --students slim.cfg:2,flat.cfg:1 --out crashed
  expect 0
  says "slim: resumed from crashed/slim/checkpoints/step_00000004"
  same_state job/slim crashed/slim step_00000008
  same_state job/flat crashed/flat step_00000008
  # one student's run goes on by itself
  rm -r crashed/slim/checkpoints/step_00000008
  run 2 train --config crashed/slim/config.cfg --data data --out crashed/slim
  expect 0
  says "resumed from crashed/slim/checkpoints/step_00000004"
  # a teacher that was saved before some keys were there: they are the method's
  mkdir old
  LC_ALL=C sed 's/weight_norm = /#eight_norm = /; s/predictor_hidden_dim = /#redictor_hidden_dim = /' first/checkpoints/step_00000008/teacher.safetensors >old/teacher.safetensors
  cmp -s first/checkpoints/step_00000008/teacher.safetensors old/teacher.safetensors && die "the file is no older one"
  run 1 "${job[@]}" --teacher.distill old/teacher.safetensors --out of_old
  expect 0
  diff <(figures of_old | head -n 1) <(figures alone_plain | head -n 1) || die "another teacher"
  # USR1 to one rank ends all of them at one step
  $mpiexec $flags -n 3 "$dinoxx" "${job[@]}" --train.length 400it --checkpoint.every 0 --students slim.cfg:2,flat.cfg:1 --out stopped >log 2>&1 &
  pid=$!
  wait_for_step stopped/flat 2
  kill -USR1 $pid
  wait $pid
  code=$?
  expect 85
  [ "$(ls stopped/slim/checkpoints)" = "$(ls stopped/flat/checkpoints)" ] || die "the students stopped at different steps"
  # refused by name, before there is a folder
  refuse() {
    local n=$1 students=$2 why=$3
    shift 3
    run "$n" "${job[@]}" "$@" --students "$students" --out refused
    expect 2
    says "$why"
    [ -e refused ] && die "a refused job left a folder"
  }
  printf '[views]\nlocal_count = 3\n' >more.cfg
  printf '[loss]\nkoleo_weight = 0.1\n' >koleo.cfg
  refuse 3 slim.cfg:1,flat.cfg:1 "the 3 ranks of the job, each with one student, found 2 (slim has 1, flat has 1)"
  refuse 2 slim.cfg:1,slim.cfg:1 "slim twice"
  refuse 2 slim.cfg:1,flat.cfg "FILE:RANKS"
  refuse 2 slim.cfg:1,more.cfg:1 "student more, views.local_count: expected \"2\", as student slim has"
  refuse 3 slim.cfg:2,flat.cfg:1 "a multiple of the 3 ranks of the job" --train.batch_size 16
  refuse 2 slim.cfg:1,flat.cfg:1 "student slim, train.method: expected distill" --train.method dino
  refuse 2 slim.cfg:1,flat.cfg:1 "head.out_dim: expected 64, as the teacher" --head.out_dim 48
  refuse 2 slim.cfg:1,flat.cfg:1 "model.patch_size: expected 4, as the teacher" --model.patch_size 8
  refuse 2 slim.cfg:1,flat.cfg:1 "student slim: loss.patch_weight" --mask.scheme none --loss.patch_weight 1
  refuse 3 slim.cfg:2,koleo.cfg:1 "student koleo: KoLeo" --loss.koleo_group 24 --loss.koleo_top_k 24
  refuse 2 slim.cfg:1,flat.cfg:1 "teacher.distill: expected a run folder, a checkpoint or a weight file, found no nowhere" --teacher.distill nowhere
  ;;
*) die "unknown case" ;;
esac
exit 0
