#!/bin/bash
# Going on from other weights, and learning from a bare backbone. See common.sh.
. "$(dirname "$0")/common.sh"
make_data

# The tensors of two weight files whose names begin with $3 are equal ($4 = yes) or not one is (no).
compare() {
  python3 - "$@" <<'END' || die "$1 and $2, $3*: equal is not $4"
import json, struct, sys

def tensors(path, prefix):
    data = open(path, "rb").read()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    return {k: data[8 + size + v["data_offsets"][0]:8 + size + v["data_offsets"][1]] for k, v in header.items()
            if k.startswith(prefix) and not k.startswith("__")}

a, b = tensors(sys.argv[1], sys.argv[3]), tensors(sys.argv[2], sys.argv[3])
assert a and a.keys() == b.keys(), "no tensors, or others"
equal = [k for k in a if a[k] == b[k]]
print(f"{len(equal)} of {len(a)} equal", file=sys.stderr)
sys.exit(len(equal) != (len(a) if sys.argv[4] == "yes" else 0))
END
}
teacher_of() { echo "$1/checkpoints/step_$(printf %08d "$2")/teacher.safetensors"; }

case $case in
other_weights)
  run 1 "${base[@]}" --train.method dinov2 --out first
  expect 0
  # the backbone rests for three steps, then its blocks begin from the last on; its average rests for five
  adapt=("${base[@]}" --train.method dinov2 --model.init_from first --train.length 12it --init.heads_only 3it --init.unfreeze 6it --init.anchor 0.5
    --teacher.hold_backbone 5it --checkpoint.every 1it --checkpoint.keep 12 --eval.every 6it --teacher.momentum 0.5)
  run 2 "${adapt[@]}" --out whole
  expect 0
  says "step 0: k-NN"
  [ "$(grep -c '"eval":' whole/metrics.jsonl)" = 3 ] || die "expected evaluations of steps 0, 6 and 12"
  start=$(teacher_of first 8)
  compare "$start" "$(teacher_of whole 3)" backbone. yes
  compare "$start" "$(teacher_of whole 3)" head.mlp no
  compare "$start" "$(teacher_of whole 5)" backbone. yes
  compare "$start" "$(teacher_of whole 12)" backbone.blocks.1.mlp no
  compare "$(teacher_of whole 6)" "$start" backbone.pos_embed yes
  compare "$(teacher_of whole 12)" "$start" backbone.pos_embed no
  # in two halves it is the same run, on one rank up to rounding
  mkdir -p halves/checkpoints
  cp -r whole/checkpoints/step_00000004 halves/checkpoints/
  run 2 "${adapt[@]}" --out halves
  expect 0
  same_state whole halves step_00000012
  # the last block alone; of the others nothing
  run 1 "${base[@]}" --train.method dinov2 --model.init_from first --init.last_blocks 1 --out last --teacher.momentum 0.5
  expect 0
  compare "$start" "$(teacher_of last 8)" backbone.blocks.0. yes
  compare "$start" "$(teacher_of last 8)" backbone.blocks.1.attn no
  compare "$start" "$(teacher_of last 8)" backbone.norm no
  # changes of low rank, and a resume
  lora=("${base[@]}" --train.method dinov2 --model.init_from first --init.lora_rank 4 --teacher.momentum 0.5)
  run 2 "${lora[@]}" --out lora
  expect 0
  compare "$start" "$(teacher_of lora 8)" backbone.norm yes
  compare "$start" "$(teacher_of lora 8)" backbone.blocks.1.attn.qkv.bias yes
  compare "$start" "$(teacher_of lora 8)" backbone.blocks.1.attn.qkv.weight no
  mkdir -p lora_halves/checkpoints
  cp -r lora/checkpoints/step_00000004 lora_halves/checkpoints/
  run 2 "${lora[@]}" --out lora_halves
  expect 0
  same_state lora lora_halves step_00000008
  run 2 "${lora[@]}" --train.length 9it --init.lora_rank 6 --out lora
  expect 2
  says "init.lora_rank was 4 and is 6"
  # refusals
  refused() {
    run 1 "${base[@]}" --train.method dinov2 --out refused "$@"
    expect 2
    [ -e refused ] && die "a refused run left a folder"
  }
  refused --init.anchor 1
  says "init.anchor: expected no value for this run: it is read where model.init_from is set"
  refused --model.init_from first --init.lora_rank 30
  says "init.lora_rank: expected at most 25 for backbone.blocks.1.mlp.fc2.weight, a matrix of 32 x 128"
  refused --model.init_from first --init.lora_rank 4 --parallel.sync zero1
  says "init.lora_rank: expected parallel.sync = ddp"
  refused --model.init_from first --init.heads_only 6it --init.unfreeze 3it
  says "init.unfreeze: expected at most the run's 8 steps, with init.heads_only"
  refused --model.init_from first --init.anchor 1 --gram.weight 1 --gram.teacher first
  says "init.anchor: expected 0 beside a Gram teacher of its own"
  ;;
features)
  run 1 "${base[@]}" --train.method dinov2 --out first
  expect 0
  sed '/^\[head\]/,/^\[views\]/{/^\[views\]/!d}; /^\[teacher\]/,/^\[train\]/{/^\[train\]/!d}; /^local_/d; /^freeze_last_layer/d; /^dim/d; /^depth/d; /^heads/d; /^patch_size/d; /^drop_path/d' small.cfg >student.cfg
  backbone=first/checkpoints/step_00000008/backbone.safetensors
  for student in "--model.arch vit_tiny --model.dim 16 --model.heads 2 --model.depth 1 --model.patch_size 8" \
    "--model.arch vit_tiny --model.dim 16 --model.heads 2 --model.depth 1 --model.patch_size 2 --teacher.match batch" "--model.arch resnet18"; do
    rm -rf student
    learn=(train --config student.cfg --data data --train.method distill_features --head.hidden_dim 24 --teacher.distill "$backbone" --out student)
    run 2 "${learn[@]}" $student --train.length 6it
    expect 0
    says "frozen teacher from $backbone: vision transformer, width 32"
    grep -q 'head.out_dim = 32\|out_dim = 32' student/config.cfg || die "the width of the teacher is not in config.cfg"
    # a longer run is another schedule: what is asked is that it goes on
    run 1 "${learn[@]}" $student --train.length 8it
    expect 0
    says "resumed from student/checkpoints/step_00000006"
  done
  refused() {
    run 1 train --config student.cfg --data data --train.method distill_features --model.arch vit_tiny --model.dim 16 --model.heads 2 --out refused "$@"
    expect 2
    [ -e refused ] && die "a refused run left a folder"
  }
  refused --model.patch_size 4
  says "teacher.distill: expected the frozen teacher"
  refused --teacher.distill "$backbone" --model.patch_size 4 --head.out_dim 48
  says "head.out_dim: expected 32, the width of the teacher in"
  refused --teacher.distill "$backbone" --model.patch_size 6 --views.global_size 18
  says "views.global_size: expected a multiple of 4, the patch of the teacher in"
  refused --teacher.distill "$backbone" --model.patch_size 4 --views.local_count 2 --views.local_size 8
  says "views.local_count: expected 0"
  refused --train.method distill --teacher.distill "$backbone" --model.patch_size 4
  says "train.method = distill_features takes a bare backbone"
  ;;
*) die "unknown case" ;;
esac
exit 0
