#!/bin/bash
# The recipes of the largest network, with all their keys, at 1/64 of its width: three stages, each from the one before, on two ranks that share the blocks'
# weights. See common.sh.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"
make_data
configs=$here/../../../configs

# Width 4096 to 64; all blocks. Heads of attention keep a width that rotary positions divide by 4. Pictures, heads and batch are small, lengths in steps are
# a millionth of the published ones and at least two.
small=(--data data --model.dim 64 --model.heads 2 --head.out_dim 96 --head.hidden_dim 128 --head.bottleneck_dim 8 --head.patch_out_dim 64
  --head.patch_hidden_dim 64 --head.patch_bottleneck_dim 6 --train.batch_size 8 --mask.group_size 2 --train.length 6it --train.log_every 1 --train.check_every 3
  --checkpoint.every 3it --eval.every 0)
crops=(--views.global_size 64 --views.local_size 32 --views.local_count 2)
pretrain=(train --config "$configs/dinov3_vit7b16_pretrain.cfg" "${small[@]}" "${crops[@]}" --optim.warmup 2it --teacher.warmup_temp_epochs 2it
  --optim.freeze_last_layer 2it --checkpoint.keep_every 3it)
gram=(train --config "$configs/dinov3_vit7b16_gram.cfg" "${small[@]}" "${crops[@]}" --optim.warmup 2it --model.init_from stage1
  --gram.teacher stage1/checkpoints/step_00000003 --gram.size 128 --gram.ramp 2it --gram.first 2it --gram.every 2it)
high_resolution=(train --config "$configs/dinov3_vit7b16_high_resolution.cfg" "${small[@]}" --views.local_count 2 --views.sizes
  64x32x96:0.5,96x42x144:0.5 --loss.koleo_group 4 --model.init_from stage2 --gram.teacher stage2 --optim.decay 4it)

# stage OUT ARGUMENT...: whole, and again from what it had saved in its middle, to the same bits
stage() {
  local out=$1 losses
  shift
  run 2 "$@" --out "$out"
  expect 0
  says "parallel.sync: zero3 over 2 ranks"
  grep -q "^depth = 40" "$out/config.cfg" && grep -q "^shard_within = node" "$out/config.cfg" || die "not the recipe of the 7B network"
  losses=$(figures "$out" | grep -c '"loss":[0-9]')
  [ "$losses" = 6 ] || die "expected six losses that are numbers, found $losses"
  grep -q '"event":"skipped"' "$out/metrics.jsonl" && die "a step was skipped"
  mkdir -p "again/checkpoints"
  cp "$out/metrics.jsonl" again/
  cp -r "$out/checkpoints/step_00000003" again/checkpoints/
  run 2 "$@" --out again
  expect 0
  says "resumed from again/checkpoints/step_00000003 at step 3"
  same_state "$out" again step_00000006
  diff <(figures "$out") <(figures again) || die "metrics differ"
  rm -r again
}

case $case in
stages)
  stage stage1 "${pretrain[@]}"
  stage stage2 "${gram[@]}"
  stage stage3 "${high_resolution[@]}"
  ;;
policies)
  # float32: what shares nothing computes the same but for rounding (../../cluster/runs.sh); the loss falls
  for sync in ddp zero3; do
    within=node
    [ $sync = zero3 ] || within=all
    run 2 "${pretrain[@]}" --train.precision fp32 --parallel.sync $sync --parallel.shard_within $within --out $sync
    expect 0
  done
  python3 -B "$here/../../cluster/compare.py" ddp zero3 6 5e-6 || die "ddp and zero3 are two trainings"
  figures zero3 | sed -E 's/.*"loss":([0-9.]+).*/\1/' | awk '{l[NR] = $1} END {exit !(NR == 6 && l[4] + l[5] + l[6] < 0.99 * (l[1] + l[2] + l[3]))}' ||
    die "expected losses that fall: $(figures zero3 | grep -o '"loss":[^,]*')"
  ;;
*) die "unknown case" ;;
esac
exit 0
