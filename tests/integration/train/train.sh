#!/bin/bash
# Life of a training run: resume, other ranks, evaluation, records, alarms. See common.sh. Further cases: start.sh, stop.sh, methods.sh.
. "$(dirname "$0")/common.sh"
make_data

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
rank_groups)
  # groups of images that depend on a rank's batch are others with other ranks, and it is said which; groups that were stated are not
  subset=("${base[@]}" --train.method dinov2 --model.drop_path_form subset --loss.koleo_weight 0)
  stated=("${subset[@]}" --model.drop_path_group 6 --mask.group_size 2)
  run 2 "${subset[@]}" --train.length 4it --out open
  expect 0
  run 2 "${stated[@]}" --train.length 4it --out stated
  expect 0
  run 4 "${subset[@]}" --out open
  expect 0
  says "world size was 2 and is 4: from here on results differ by more than rounding, as groups of images are others (model.drop_path_group = 0: the group of stochastic depth is a rank's batch, 12 images before and 6 now; mask.group_size was 4 and is 2)"
  run 4 "${stated[@]}" --out stated
  expect 0
  says "world size was 2 and is 4: results agree up to rounding, not bit for bit"
  grep -q "groups of images" log && die "groups that were stated stay as they were"
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
  # the same run, which is to stop there: one line of advice, exit code 1, nothing saved behind the sign; two ranks agree
  for ranks in 1 2; do
    run $ranks "${bare[@]}" --out stopped --train.length 14it --optim.lr 0.05 --optim.warmup 8it --optim.clip 0 --optim.freeze_last_layer 0 \
      --teacher.momentum 0 --teacher.momentum_end 0 --teacher.temp 0.02 --teacher.warmup_temp 0.02 --train.stop_on_collapse yes --checkpoint.every 2it
    expect 1
    says "training at step 9: expected features that tell images apart, found signs of collapse"
    [ "$(grep -c "Lower optim.lr" log)" = 1 ] || die "expected the advice once"
    [ "$(alarms stopped)" = "9 " ] || die "expected one alarm, at step 9, found $(alarms stopped)"
    [ "$(ls stopped/checkpoints | grep step_ | tail -n 1)" = step_00000008 ] || die "expected the state of step 8 to be the last"
    rm -r stopped
  done
  [ "$(onsets real 0 | cut -d ' ' -f 1)" -lt 8 ] || die "the run collapses after its warm-up: the test would not see an alarm that comes too early"
  # two images a step, nothing learnt: by chance both views of both now and then choose one prototype
  run 1 "${bare[@]}" --out chance --train.length 24it --train.batch_size 2 --optim.lr 0 --optim.min_lr 0 --teacher.temp 0.01 --teacher.warmup_temp 0.01
  expect 0
  [ "$(alarms chance)" = "$(onsets chance 3)" ] || die "expected alarms at steps $(onsets chance 3), found $(alarms chance)"
  [ "$(alarms chance | wc -w)" -ge 2 ] || die "expected signs that come twice"
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
  # this network has no rotary positions, no ResNet's stem and no guides, and runs on no GPU, where LibTorch would choose a kernel call by call: their keys stay open
  grep -v '^rope_\|^stem_padding\|^attention\|^outputs' run/config.cfg | grep -q '= auto' && die "config.cfg has open values"
  [ "$(ls run/checkpoints | tr '\n' ' ')" = "step_00000007 step_00000008 " ] || die "expected the last two checkpoints, found $(ls run/checkpoints)"
  # the resolved file is a configuration: the same run again, the same bits
  run 1 train --config run/config.cfg --data data --out again
  expect 0
  same_state run again step_00000008
  ;;
*) die "unknown case" ;;
esac
exit 0
