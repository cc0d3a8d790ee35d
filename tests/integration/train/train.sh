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
  head -n 8 whole/metrics.jsonl >halves/metrics.jsonl       # as after a crash at step 6: two lines too many
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
  says "complete: 8 of 8"
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
    says "world size was 4 and is $n: results agree up to rounding"
    [ -f "on$n/checkpoints/step_00000008/manifest.json" ] || die "no final checkpoint"
    # the losses of steps 5 to 8 agree to 1e-3 (float32, four Adam steps later)
    paste -d ' ' <(figures four | tail -n 4 | sed -E 's/.*"loss":([0-9.e+-]+).*/\1/') <(figures "on$n" | tail -n 4 | sed -E 's/.*"loss":([0-9.e+-]+).*/\1/') |
      awk '{d = $1 - $2; if (d < 0) d = -d; if (NF != 2 || d > 1e-3 * $1) bad = 1} END {exit bad || NR != 4}' || die "losses on $n ranks are others"
  done
  grep -q "mask.group_size" log && die "dino has no masks: their groups are no difference"
  # KoLeo looks at a rank's batch: with other ranks it is another loss
  run 4 "${base[@]}" --train.method dinov2 --model.style dinov2 --out koleo
  expect 0
  mkdir -p koleo2/checkpoints
  cp -r koleo/checkpoints/step_00000004 koleo2/checkpoints/
  run 2 "${base[@]}" --train.method dinov2 --model.style dinov2 --out koleo2
  expect 0
  says "world size was 4 and is 2: from here on results differ by more than rounding"
  says "KoLeo's group is a rank's batch, 6 images before and 12 now"
  grep -q "mask.group_size was" log && die "the groups of masks still fit: they stay"
  ;;
usr1_*)
  # USR1: saved, exit code 85, resumed to the same bits as a run that was never stopped
  # (400 steps take seconds: the signal comes long before the last one)
  n=${case#usr1_}
  run "$n" "${base[@]}" --train.length 400it --checkpoint.every 0 --out whole
  expect 0
  if [ "$n" = 1 ]; then "$dinoxx" "${base[@]}" --train.length 400it --checkpoint.every 0 --out stopped >log 2>&1 &
  else $mpiexec $flags -n "$n" "$dinoxx" "${base[@]}" --train.length 400it --checkpoint.every 0 --out stopped >log 2>&1 & fi
  pid=$!
  wait_for_step stopped 2
  kill -USR1 $pid
  wait $pid
  code=$?
  expect 85
  says "saved; --resume auto goes on"
  [ -n "$(ls stopped/checkpoints)" ] || die "nothing saved"
  [ -f stopped/checkpoints/step_00000400/manifest.json ] && die "the run was over before the signal came"
  run "$n" "${base[@]}" --train.length 400it --checkpoint.every 0 --out stopped
  expect 0
  same_state whole stopped step_00000400
  ;;
early)
  # USR1 while MPI_Init still waits for another rank: nothing is lost, and the exit code says so
  cat >rank.sh <<'END'
#!/bin/bash
if [ "$OMPI_COMM_WORLD_RANK" = 0 ]; then echo $$ >pid.tmp; mv pid.tmp pid; else while [ ! -e go ]; do sleep 0.05; done; fi
exec "$@"
END
  chmod +x rank.sh
  $mpiexec $flags -n 2 ./rank.sh "$dinoxx" "${base[@]}" --train.length 4000it --out run >log 2>&1 &
  job=$!
  # bit 9 of the caught signals: the handler of USR1 is there
  caught() { [ $((0x$(awk '/^SigCgt/ {print $2}' "/proc/$1/status" 2>/dev/null || echo 0) & 0x200)) != 0 ]; }
  for i in $(seq 600); do
    [ -e pid ] && grep -q dinoxx "/proc/$(cat pid)/cmdline" 2>/dev/null && ! grep -q rank.sh "/proc/$(cat pid)/cmdline" && caught "$(cat pid)" && break
    sleep 0.1
  done
  caught "$(cat pid)" || { kill $job; die "rank 0 catches no USR1 before MPI is there"; }
  kill -USR1 "$(cat pid)"
  touch go
  code=0
  wait $job || code=$?
  expect 85
  says "stopped before the first step (SIGUSR1)"
  [ -e run ] && die "a run folder was made"
  ;;
closed_output)
  # who reads the output goes away, or the terminal closes: the run saves first
  code=0
  "$dinoxx" "${base[@]}" --train.length 400000it --checkpoint.every 0 --out run 2>log | grep -m 1 -q "^dinoxx train" || true
  code=${PIPESTATUS[0]}
  expect 85
  [ "$(ls run/checkpoints | wc -l)" = 1 ] || die "nothing saved"
  "$dinoxx" "${base[@]}" --train.length 400000it --checkpoint.every 0 --out hung >log 2>&1 &
  pid=$!
  wait_for_step hung 2
  kill -HUP $pid
  wait $pid
  code=$?
  expect 85
  says "SIGHUP"
  [ "$(ls hung/checkpoints | wc -l)" = 1 ] || die "nothing saved"
  ;;
complete)
  # a run that came to its end says so to launchers, one that did not does not
  run 1 "${base[@]}" --train.length 4it --optim.warmup 1it --out run
  expect 0
  [ "$(cat run/complete.json)" = '{"steps": 4}' ] || die "no run/complete.json"
  "$dinoxx" "${base[@]}" --train.length 400000it --optim.warmup 1it --out run >log 2>&1 &
  pid=$!
  wait_for_step run 6
  [ -e run/complete.json ] && die "complete.json of the run before is still there"
  kill -TERM $pid
  wait $pid
  code=$?
  expect 85
  [ -e run/complete.json ] && die "complete.json of a run that stopped"
  true
  ;;
hosts)
  # ranks that do not see one another's files, as on two hosts: each has a working folder of its own
  cat >rank.sh <<'END'
#!/bin/bash
cd "host$OMPI_COMM_WORLD_RANK" && exec "$@"
END
  chmod +x rank.sh
  mkdir host0 host1
  on_hosts() { code=0; $mpiexec $flags -n 2 ./rank.sh "$dinoxx" train --config "$work/small.cfg" "$@" >log 2>&1 || code=$?; }
  for check in --check ''; do
    on_hosts --data "$work/data" --out run $check
    expect 2
    says "rank 1: --out: expected a run folder on a file system that all hosts share"
    [ "$(grep -c '^dinoxx: ' log)" = 1 ] || die "expected one line of error"
    [ -z "$(ls -A host0 host1 | grep -v ':$')" ] || die "left behind: $(ls -A host0 host1)"
  done
  cp -r data host0/
  for check in --check ''; do
    on_hosts --data data --out "$work/run" $check
    expect 2
    says "rank 1: --data"
  done
  run 1 "${base[@]}" --train.method dinov2 --out first
  expect 0
  run 1 "${base[@]}" --train.method dinov2 --train.seed 1 --out second
  expect 0
  cp first/checkpoints/step_00000008/teacher.safetensors host0/
  cp second/checkpoints/step_00000008/teacher.safetensors host1/
  for check in --check ''; do
    on_hosts --data "$work/data" --out "$work/run" --model.init_from teacher.safetensors $check
    expect 1
    says "model.init_from, teacher.safetensors: expected the same on all ranks"
    on_hosts --data "$work/data" --out "$work/run" --train.method distill --teacher.distill teacher.safetensors $check
    expect 1
    says "teacher.distill, teacher.safetensors: expected the same on all ranks"
    [ -e run ] && die "a run folder was made"
  done
  rm host1/teacher.safetensors
  on_hosts --data "$work/data" --out "$work/run" --model.init_from teacher.safetensors --check
  expect 2
  says "rank 1: model.init_from"
  # what a resume does not read may be gone
  run 1 "${base[@]}" --model.init_from host0/teacher.safetensors --train.method dinov2 --train.length 4it --out resumed
  expect 0
  rm host0/teacher.safetensors
  run 1 "${base[@]}" --model.init_from host0/teacher.safetensors --train.method dinov2 --train.length 5it --out resumed
  expect 0
  ;;
start_lines)
  # what the start says of rate, batch, lengths, memory and disk, with and without --check
  for check in --check ''; do
    run 2 "${base[@]}" --optim.lr_rule linear_256 --teacher.warmup_temp_epochs 1ep --teacher.temp 0.07 --teacher.warmup_temp 0.04 --out run $check
    expect 0
    says "batch: 12 images on each rank; 8it are 1 epochs of 8 steps"
    says "learning rate: 0.0009375 at its peak (optim.lr = 0.01, linear_256 of 24 images), after 3 steps of warm-up"
    says "memory of each rank: "
    says "disk: [0-9]* kB a checkpoint, at most 2 at once; "
    grep -q "warning: " log && die "a warning about nothing"
  done
  run 1 "${base[@]}" --train.length 4it --teacher.warmup_temp_epochs 1ep --teacher.temp 0.07 --teacher.warmup_temp 0.04 --out short
  expect 0
  says "warning: optim.freeze_last_layer = 6it reaches to step 6, the run to step 4"
  says "warning: teacher.warmup_temp_epochs = 1ep reaches to step 8, the run to step 4"
  # more checkpoints than any disk holds; batches that no machine holds
  for check in --check ''; do
    run 2 "${base[@]}" --train.length 100000000it --checkpoint.every 1it --checkpoint.keep 100000000 --out full $check
    expect 2
    says "full: expected room for .* more of checkpoints: 100000000 of .* each, checkpoint.keep = 100000000 and the one being written, found .* free"
    [ "$(grep -c '^dinoxx: ' log)" = 1 ] || die "expected one line of error"
    run 1 "${base[@]}" --train.batch_size 192 --views.global_size 1024 --data.ring 64 --out large $check
    expect 2
    says "expected memory for the 64 batches that wait on each rank"
    says "Lower train.batch_size"
    [ -e full ] || [ -e large ] && die "a run folder was made"
  done
  # a weight file that is not there is found by --check
  run 1 "${base[@]}" --model.init_from nowhere --out none --check
  expect 2
  says "no nowhere"
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
  says "3 steps in a row with NaN or infinity in term dino on rank"
  says "image ids"
  [ "$(grep -c '"event":"skipped"' run/metrics.jsonl)" = 3 ] || die "expected three skipped steps in metrics.jsonl"
  ;;
collapse)
  # the alarm: once for a collapse, not before the warm-up is over, and again after the signs had cleared
  alarms() { grep '"event":"collapse"' "$1/metrics.jsonl" | sed -E 's/.*"step":([0-9]+).*/\1/' | tr '\n' ' '; }
  # steps after step $2 at which the rule (docs/methods.md) first holds, by the logged figures
  onsets() {
    figures "$1" |
      sed -E 's/.*"effective_rank":([^,}]*).*"feature_deviation":([^,}]*).*"prototype_perplexity":([^,}]*).*"step":([0-9]+).*/\1 \2 \3 \4/' |
      awk -v after="$2" '$4 > after {sign = $1 < 1.05 || $2 < 0.01 || $3 < 1.5; if (sign && !before) printf "%d ", $4; before = sign}'
  }
  bare=("${base[@]}" --loss.centre_momentum 1)  # the centre stays 0
  # a sharp teacher without a centre that is the student of the step before: all images soon choose one prototype
  run 1 "${bare[@]}" --out real --train.length 14it --optim.lr 0.05 --optim.warmup 8it --optim.clip 0 --optim.freeze_last_layer 0 \
    --teacher.momentum 0 --teacher.momentum_end 0 --teacher.temp 0.02 --teacher.warmup_temp 0.02
  expect 0
  says "step 9: collapse: one prototype takes nearly all images"
  [ "$(alarms real)" = "9 " ] || die "expected one alarm, at step 9, found $(alarms real)"
  [ "$(onsets real 0 | cut -d ' ' -f 1)" -lt 8 ] || die "the run collapses after its warm-up: the test would not see an alarm that comes too early"
  # two images a step, nothing learnt: by chance both views of both now and then choose one prototype
  run 1 "${bare[@]}" --out chance --train.length 24it --train.batch_size 2 --optim.lr 0 --optim.min_lr 0 --teacher.temp 0.01 --teacher.warmup_temp 0.01
  expect 0
  [ "$(alarms chance)" = "$(onsets chance 3)" ] || die "expected alarms at steps $(onsets chance 3), found $(alarms chance)"
  [ "$(alarms chance | wc -w)" -ge 2 ] || die "expected signs that come twice"
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
  # this network has no rotary positions and no ResNet's stem: their keys stay open
  grep -v '^rope_\|^stem_padding' run/config.cfg | grep -q '= auto' && die "config.cfg has open values"
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
  # heads change no tensor, and are another network all the same
  run 1 "${base[@]}" "${still[@]}" --model.heads 4 --out four
  expect 0
  run 1 weights diff fresh four
  expect 1
  says "heads: 2 .* and 4 "
  says "not the same network"
  run 1 "${base[@]}" --model.heads 4 --model.init_from start --out refused
  expect 2
  says "heads: expected 2"
  # another width: what does not fit is listed, and no run is begun
  run 1 "${base[@]}" --model.dim 48 --model.init_from start --out wide
  expect 2
  says "cls_token \[1, 1, 32\] instead of \[1, 1, 48\]"
  says "nothing was loaded"
  [ -z "$(ls wide 2>/dev/null)" ] || die "a refused start left $(ls wide)"
  ;;
imported_eval)
  # a network under other names is the same network, with the same normalisation (of a profile that has not ImageNet's): k-NN of each
  # export predicts what the run's own checkpoint predicts
  for style in dino dinov2_reg dinov3; do
    run 1 "${base[@]}" --model.style $style --views.profile solo-cifar-asymmetric --views.local_count 0 --views.local_size 96 --train.length 2it --optim.warmup 0 --out $style
    expect 0
    knn=(--data data --protocol knn --baselines none --image-size 16)
    run 1 eval --checkpoint $style "${knn[@]}" --out knn_$style
    expect 0
    for naming in official timm transformers; do
      "$dinoxx" weights export $style --naming $naming --image-size 16 --out ${style}_$naming >log 2>&1 || die "export"
      # a width of 32 says nothing about heads: the export's metadata do
      run 1 eval --checkpoint ${style}_$naming "${knn[@]}" --out knn_${style}_$naming
      expect 0
      cmp knn_$style/predictions_knn.csv knn_${style}_$naming/predictions_knn.csv || die "$style as $naming predicts otherwise"
    done
    grep -q '0.4914' ${style}_transformers/preprocessor_config.json ||
      die "the image processor of $style does not have the run's mean"
  done
  ;;
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
    distill) extra=(--teacher.distill dinov2) ;;
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
