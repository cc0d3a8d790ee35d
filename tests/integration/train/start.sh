#!/bin/bash
# How a training run begins: checks before the first step, what it says then, networks from files. See common.sh.
. "$(dirname "$0")/common.sh"
make_data

case $case in
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
    says "rank 1 on host $(hostname): --out: expected a run folder on a file system that all hosts share"
    [ "$(grep -c '^dinoxx: ' log)" = 1 ] || die "expected one line of error"
    [ -z "$(ls -A host0 host1 | grep -v ':$')" ] || die "left behind: $(ls -A host0 host1)"
  done
  cp -r data host0/
  for check in --check ''; do
    on_hosts --data data --out "$work/run" $check
    expect 2
    says "rank 1 on host $(hostname): --data"
  done
  # as many other pictures under the same name
  "$dinoxx" pack --toy textures --count 240 --seed 4 --out host1/data >log 2>&1 || die "pack"
  for check in --check ''; do
    on_hosts --data data --out "$work/run" $check
    expect 2
    says "data set: expected the same on all ranks, found a different one from rank 0's (host $(hostname)) on ranks 1 (host $(hostname))"
    [ -e run ] && die "a run folder was made"
  done
  rm -r host1/data
  cp -r data host1/
  on_hosts --data data --out "$work/run" --check
  expect 0
  run 1 "${base[@]}" --train.method dinov2 --out first
  expect 0
  run 1 "${base[@]}" --train.method dinov2 --train.seed 1 --out second
  expect 0
  cp first/checkpoints/step_00000008/teacher.safetensors host0/
  cp second/checkpoints/step_00000008/teacher.safetensors host1/
  # ranks with different options: the first key that differs, whether results depend on it or not. What is of a rank's machine may differ
  cat >options.sh <<'END'
#!/bin/bash
words=OPTIONS$OMPI_COMM_WORLD_RANK
exec "$@" ${!words}
END
  chmod +x options.sh
  with_options() {
    code=0
    OPTIONS0=$1 OPTIONS1=$2 $mpiexec $flags -n 2 ./options.sh timeout 60 "$dinoxx" train --config "$work/small.cfg" --data "$work/data" --out "$work/run" --check >log 2>&1 || code=$?
  }
  while read -r key first second; do
    with_options "--parallel.sync zero2 --$key $first" "--parallel.sync zero2 --$key $second"
    expect 2
    says "configuration, $key: expected the same on all ranks, found a different one from rank 0's (host $(hostname)) on ranks 1 (host $(hostname))"
  done <<'END'
optim.lr 0.01 0.02
parallel.sync zero2 zero3
parallel.shard_within all node
head.shard_prototypes no yes
loss.rows_at_once 0 64
checkpoint.every 4it 8it
eval.every 4it 8it
END
  with_options "--parallel.sync ddp" "--parallel.sync zero2 --parallel.shard_within node"
  expect 2
  says "configuration, parallel.sync: expected the same"
  with_options "--parallel.sync zero2 --head.shard_prototypes yes --head.out_dim 64" "--parallel.sync zero2 --head.shard_prototypes yes --head.out_dim 64"
  expect 2
  says "head.shard_prototypes: expected more than 64 prototypes for 2 ranks"
  [ "$(grep -c '^dinoxx: ' log)" = 1 ] || die "expected one line of error"
  with_options "--train.threads 1 --data.ring 2" "--train.threads 2 --data.ring 3 --data.workers 2"
  expect 0
  for check in --check ''; do
    on_hosts --data "$work/data" --out "$work/run" --model.init_from teacher.safetensors $check
    expect 2
    says "model.init_from, teacher.safetensors: expected the same on all ranks"
    on_hosts --data "$work/data" --out "$work/run" --train.method distill --teacher.distill teacher.safetensors $check
    expect 2
    says "teacher.distill, teacher.safetensors: expected the same on all ranks"
    [ -e run ] && die "a run folder was made"
  done
  rm host1/teacher.safetensors
  on_hosts --data "$work/data" --out "$work/run" --model.init_from teacher.safetensors --check
  expect 2
  says "rank 1 on host $(hostname): model.init_from"
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
    # an option that says another network is bad usage, also where nothing but a look is asked for
    run 1 weights inspect ${style}_official --model.heads 8
    expect 2
    run 1 weights inspect ${style}_official --model.stem_padding 2
    expect 2
    run 1 weights inspect ${style}_official --fit whole
    expect 0
    grep -q 'fit whole (option or key)' log || die "the fit is not what was said"
    grep -q '0.4914' ${style}_transformers/preprocessor_config.json ||
      die "the image processor of $style does not have the run's mean"
    # what the export adds for the class of transformers is no difference
    run 1 weights diff $style ${style}_transformers
    expect 0
    # the size is that of training where no option says another
    "$dinoxx" weights export $style --naming transformers --out ${style}_as_trained >log 2>&1 || die "export"
    python3 -c 'import json, sys; sys.exit(json.load(open(sys.argv[1]))["image_size"] != 16)' ${style}_as_trained/config.json ||
      die "the export of $style is not of the size of its training"
  done
  # a file of two types: the file that an import writes has each tensor in its own
  python3 - <<'END' || die "two types"
import json, pathlib, struct
source, target = pathlib.Path("dino_official"), pathlib.Path("mixed")
data = (source / "model.safetensors").read_bytes()
size = struct.unpack("<Q", data[:8])[0]
header, body, out = json.loads(data[8:8 + size]), data[8 + size:], b""
for name in sorted(header):
    if name == "__metadata__":
        continue
    begin, end = header[name]["data_offsets"]
    values = body[begin:end]
    if name.endswith("qkv.weight"):
        values = b"".join(values[i + 2:i + 4] for i in range(0, len(values), 4))
        header[name]["dtype"] = "BF16"
    header[name]["data_offsets"] = [len(out), len(out) + len(values)]
    out += values
text = json.dumps(header).encode()
target.mkdir()
(target / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + out)
END
  run 1 weights import mixed --out kept
  expect 0
  python3 - <<'END' || die "the import does not have the types of its file"
import json, struct
def types(path):
    data = open(path, "rb").read()
    header = json.loads(data[8:8 + struct.unpack("<Q", data[:8])[0]])
    return {name.removeprefix("backbone."): t["dtype"] for name, t in header.items() if name != "__metadata__"}
found = types("kept/model.safetensors")
assert set(found.values()) == {"F32", "BF16"}, found
assert all((t == "BF16") == name.endswith("qkv.weight") for name, t in found.items()), found
END
  ;;
*) die "unknown case" ;;
esac
exit 0
