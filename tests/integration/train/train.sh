#!/bin/bash
# Life of a training run: resume, ranks, signals, time limit, evaluation, check. See common.sh.
. "$(dirname "$0")/common.sh"
make_data
base=(train --config small.cfg --data data)

case $case in
resume_*)
  # 2N steps equal N steps + save + new process + N steps: 8 = 4 + 4, saved in mid-epoch (8 steps an epoch) while the last layer is frozen (6 steps)
  n=${case#resume_}
  run "$n" "${base[@]}" --out whole
  expect 0
  mkdir -p halves/checkpoints
  cp -r whole/checkpoints/step_00000004 halves/checkpoints/
  head -n 7 whole/metrics.jsonl >halves/metrics.jsonl       # as after a crash at step 6: two lines too many
  printf '{"step":7,"lo' >>halves/metrics.jsonl              # and a torn one
  run "$n" "${base[@]}" --out halves
  expect 0
  says "resumed from"
  grep -q "resume differs" log && die "a resume with nothing changed must lose no claim"
  same_state whole halves step_00000008
  diff <(figures whole) <(figures halves) || die "metrics differ"
  grep -q '"last_layer_frozen":true' whole/metrics.jsonl && grep -q '"last_layer_frozen":false' whole/metrics.jsonl || die "the last layer must be released after the save"
  # nothing is left to do
  run "$n" "${base[@]}" --out halves
  expect 0
  says "complete"
  same_state whole halves step_00000008
  ;;
ranks)
  # saved by 4 ranks, resumed by 2 and by 1: the run goes on and says which claim it loses
  run 4 "${base[@]}" --out four
  expect 0
  for n in 2 1; do
    mkdir -p "on$n/checkpoints"
    cp -r four/checkpoints/step_00000004 "on$n/checkpoints/"
    run "$n" "${base[@]}" --out "on$n"
    expect 0
    says "world size was 4 and is $n: results agree to rounding"
    [ -f "on$n/checkpoints/step_00000008/manifest.json" ] || die "no final checkpoint"
    # the losses of steps 5 to 8 agree to 1e-3 (float32, four Adam steps later)
    paste -d ' ' <(figures four | tail -n 4 | sed -E 's/.*"loss":([0-9.e+-]+).*/\1/') <(figures "on$n" | tail -n 4 | sed -E 's/.*"loss":([0-9.e+-]+).*/\1/') |
      awk '{d = $1 - $2; if (d < 0) d = -d; if (NF != 2 || d > 1e-3 * $1) bad = 1} END {exit bad || NR != 4}' || die "losses on $n ranks are others"
  done
  ;;
usr1_*)
  # USR1: saved, exit code 85, resumed to the same bits as a run that was never stopped
  n=${case#usr1_}
  run "$n" "${base[@]}" --train.length 40it --checkpoint.every 0 --out whole
  expect 0
  if [ "$n" = 1 ]; then "$dinoxx" "${base[@]}" --train.length 40it --checkpoint.every 0 --out stopped >log 2>&1 &
  else $mpiexec $flags -n "$n" "$dinoxx" "${base[@]}" --train.length 40it --checkpoint.every 0 --out stopped >log 2>&1 & fi
  pid=$!
  wait_for_step stopped 2
  kill -USR1 $pid
  wait $pid
  code=$?
  expect 85
  says "saved; --resume auto goes on"
  [ -n "$(ls stopped/checkpoints)" ] || die "nothing saved"
  [ -f stopped/checkpoints/step_00000040/manifest.json ] && die "the run was over before the signal came"
  run "$n" "${base[@]}" --train.length 40it --checkpoint.every 0 --out stopped
  expect 0
  same_state whole stopped step_00000040
  ;;
term)
  for signal in TERM INT; do
    "$dinoxx" "${base[@]}" --train.length 4000it --out "on$signal" >log 2>&1 &
    pid=$!
    wait_for_step "on$signal" 2
    # a shell's background job ignores INT unless the program says otherwise: dinoxx does
    kill -$signal $pid
    wait $pid
    code=$?
    expect 85
    says "SIG$signal"
  done
  ;;
max_time)
  run 2 "${base[@]}" --train.length 100000it --checkpoint.every 0 --out run --max-time 6s
  expect 85
  [ "$(ls run/checkpoints | wc -l)" = 1 ] || die "expected one checkpoint"
  ;;
eval)
  # evaluation changes no bit of training
  run 2 "${base[@]}" --out with --eval.every 2it
  expect 0
  says "k-NN"
  [ "$(grep -c '"accuracy"' with/metrics.jsonl)" = 4 ] || die "expected 4 evaluations"
  run 2 "${base[@]}" --out without
  expect 0
  # the configuration stands in the weight files' metadata and differs; the state must not
  for rank in 0 1; do cmp "with/checkpoints/step_00000008/rank_0000${rank}_of_00002.safetensors" "without/checkpoints/step_00000008/rank_0000${rank}_of_00002.safetensors" || die "rank $rank"; done
  diff <(figures with) <(figures without) || die "metrics differ"
  ;;
eval_after_stop)
  # an evaluation that a stop left out is made up for by the run that goes on, and only once
  "$dinoxx" "${base[@]}" --out run --train.length 40it --eval.every 1it --checkpoint.every 0 >log 2>&1 &
  pid=$!
  wait_for_step run 3
  kill -USR1 $pid
  wait $pid
  code=$?
  expect 85
  step=$(sed -n 's/.*stopped at step \([0-9]*\).*/\1/p' log)
  run 1 "${base[@]}" --out run --train.length 40it --eval.every 1it --checkpoint.every 0
  expect 0
  [ "$(grep -c '"accuracy"' run/metrics.jsonl)" = 40 ] || die "expected one evaluation of each step (stopped at $step)"
  ;;
not_a_number)
  run 2 "${base[@]}" --out run --train.length 40it --optim.lr 1e30 --optim.clip 0 --train.max_skipped 3
  expect 1
  says "3 steps in a row with no number in term dino on rank"
  says "image ids"
  [ "$(grep -c '"event":"skipped"' run/metrics.jsonl)" = 3 ] || die "expected three skipped steps in metrics.jsonl"
  ;;
check)
  run 2 "${base[@]}" --out deep/er/run --check
  expect 0
  says "check passed"
  [ -e deep ] && die "--check left something behind"
  run 1 "${base[@]}" --out run
  expect 0
  find run -type f -exec cksum {} + | sort >before
  run 1 "${base[@]}" --out run --check
  expect 0
  find run -type f -exec cksum {} + | sort >after
  diff before after || die "--check changed a run"
  ;;
records)
  run 1 "${base[@]}" --out run --optim.clip 2.5 --checkpoint.every 1it --checkpoint.keep 2
  expect 0
  for key in step epoch loss lr weight_decay momentum teacher_temp images_per_s data_wait grad_norm teacher_entropy kl; do
    [ "$(grep -c "\"$key\":" run/metrics.jsonl)" -ge 8 ] || die "metrics.jsonl has no $key"
  done
  head -n 1 run/metrics.jsonl | grep -q '"command":"dinoxx train .*--optim.clip 2.5' || die "no command line in the header"
  head -n 1 run/metrics.jsonl | grep -q '"git":' || die "no git hash in the header"
  grep -q '^clip = 2.5' run/config.cfg || die "config.cfg is not the resolved one"
  grep -q '= auto' run/config.cfg && die "config.cfg has open values"
  [ "$(ls run/checkpoints | tr '\n' ' ')" = "step_00000007 step_00000008 " ] || die "expected the last two checkpoints, found $(ls run/checkpoints)"
  # the resolved file is a configuration: the same run again, the same bits
  run 1 train --config run/config.cfg --data data --out again
  expect 0
  same_state run again step_00000008
  ;;
init_from)
  # no step moves a weight at rate 0: with momentum 1 the teacher shows what it was given, with momentum 0 what the student was given
  still=(--train.length 1it --train.seed 9 --optim.warmup 0 --optim.lr 0 --optim.min_lr 0)
  run 1 "${base[@]}" --out source --train.length 4it --optim.warmup 0
  expect 0
  "$dinoxx" weights export source --naming transformers --out start >log 2>&1 || die "export"
  for momentum in 1 0; do
    run 1 "${base[@]}" "${still[@]}" --teacher.momentum $momentum --model.init_from start --out "from_$momentum"
    expect 0
    run 1 weights diff "from_$momentum" start
    expect 0
    says "the same tensors, bit for bit"
  done
  run 1 "${base[@]}" "${still[@]}" --out fresh
  expect 0
  run 1 weights diff fresh start
  expect 1
  # another width: what does not fit is listed, and no run is begun
  run 1 "${base[@]}" --model.dim 48 --model.init_from start --out wide
  expect 2
  says "cls_token \[1, 1, 32\] instead of \[1, 1, 48\]"
  says "nothing was loaded"
  [ -z "$(ls wide 2>/dev/null)" ] || die "a refused start left $(ls wide)"
  ;;
imported_eval)
  # a network under other names is the same network: k-NN of each export predicts what the run's own checkpoint predicts
  for style in dino dinov2_reg dinov3; do
    run 1 "${base[@]}" --model.style $style --train.length 2it --optim.warmup 0 --out $style
    expect 0
    knn=(--data data --suite knn --baselines none --image-size 16)
    run 1 eval --checkpoint $style "${knn[@]}" --out knn_$style
    expect 0
    for naming in official timm transformers; do
      "$dinoxx" weights export $style --naming $naming --image-size 16 --out ${style}_$naming >log 2>&1 || die "export"
      # a width of 32 says nothing about heads, and official files hold nothing else but the rotary periods
      heads=()
      [ $naming = official ] && heads=(--model.heads 2)
      run 1 eval --checkpoint ${style}_$naming "${knn[@]}" "${heads[@]}" --out knn_${style}_$naming
      expect 0
      cmp knn_$style/predictions_knn.csv knn_${style}_$naming/predictions_knn.csv || die "$style as $naming predicts otherwise"
    done
  done
  ;;
methods)
  # every method trains on two ranks, and 8 steps are 4 steps, a new process and 4 more
  two="--views.local_count 0 --head.hidden_dim 32"
  masks="--mask.group_size 1 --model.style dinov3 --model.registers 1 --gram.weight 1 --gram.start 2it --gram.first 1it --gram.ramp 2it --gram.every 3it --gram.size 24"
  for method in ibot dinov2 dinov3 byol simclr; do
    extra=()
    case $method in
    byol | simclr) read -ra extra <<<"$two" ;;
    dinov3) read -ra extra <<<"$masks" ;;
    esac
    run 2 "${base[@]}" --train.method $method "${extra[@]}" --out $method
    expect 0
    mkdir -p $method-2/checkpoints
    cp -r $method/checkpoints/step_00000004 $method-2/checkpoints/
    run 2 "${base[@]}" --train.method $method "${extra[@]}" --out $method-2
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
  gram=(--train.method dinov3 --mask.group_size 1 --model.style dinov3 --gram.weight 1)
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
*) die "unknown case" ;;
esac
exit 0
