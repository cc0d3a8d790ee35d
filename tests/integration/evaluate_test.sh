#!/usr/bin/env bash
# launch/evaluate.sh with the real program: from class folders to results, what is kept, what is left out where it would take too long.
#   evaluate_test.sh SOURCE_DIR PROGRAM
set -euo pipefail
evaluate=$1/launch/evaluate.sh
program=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export OMP_NUM_THREADS=1 DINOXX=$program
fails() { echo "FAILED: $*"; exit 1; }
says() { # says NAME WORDS FILE
  if grep -qF -- "$2" "$3"; then echo "ok: $1"; else cat "$3"; fails "$1: \"$2\" was not said"; fi
}
python3 - "$work/photos" <<'P'
import os, random, struct, sys, zlib
def png(path, base):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    rows = b"".join(b"\0" + bytes(min(255, max(0, base[i % 3] + random.randint(-40, 40))) for i in range(96)) for _ in range(32))
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    with open(path, "wb") as out:
        out.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 32, 32, 8, 2, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
random.seed(1)
for name, base in {"red": (180, 60, 60), "green": (60, 180, 60), "blue": (60, 60, 180)}.items():
    for i in range(40):
        png(f"{sys.argv[1]}/{name}/{i}.png", base)
P
"$program" pack --from-folder "$work/photos" --out "$work/packed" >/dev/null
"$program" train --model.arch vit_tiny --model.dim 32 --model.depth 1 --model.heads 2 --model.patch_size 8 --views.global_size 32 --views.local_size 16 \
  --views.local_count 1 --head.out_dim 32 --head.hidden_dim 32 --head.bottleneck_dim 16 --train.batch_size 8 --train.length 2it \
  --data "$work/packed" --out "$work/run" >/dev/null

bash "$evaluate" "$work/photos" "$work/run" "$work/out" >"$work/log" 2>&1 || { cat "$work/log"; fails "first run"; }
says "the whole ladder" "--protocol all --baselines untrained,raw" "$work/log"
says "an estimate beforehand" "120 images, 3 classes" "$work/log"
says "a stratified split" "(train 84, val 12, test 24)" "$work/log"
for name in results.json predictions_linear.csv; do [ -e "$work/out/$name" ] || fails "$name is not there"; done
if "$program" --help | grep '^  report ' >/dev/null; then [ -s "$work/out/report.html" ] || fails "report.html is not there"; fi

# a slow machine, and pictures that have not changed
cat >"$work/slow" <<P
#!/usr/bin/env bash
case \$1 in
  embed) [ "\$OMPI_COMM_WORLD_RANK" = 0 ] && echo "x.npy: 120 images, 32 features each, rows of length 1; as stored; 1 s, \$SLOW_RATE images/s" || true ;;
  eval | report) echo "\$*" >>"$work/slow_\$1" ;;
  *) exec "$program" "\$@" ;;
esac
P
chmod +x "$work/slow"
DINOXX=$work/slow SLOW_RATE=0.1 bash "$evaluate" "$work/photos" "$work/run" "$work/out" >"$work/log" 2>&1 || { cat "$work/log"; fails "second run"; }
says "the packed images are kept" "is unchanged" "$work/log"
says "what takes longer is offered" "EVALUATE_MINUTES=4733" "$work/log"
says "fine-tuning is part of the estimate" "all of it, with fine-tuning (74.3 h)" "$work/log"
says "and not run" "--protocol knn,clustering,few_shot,logistic --baselines raw" "$work/log"
grep -q -- "--protocol knn,clustering,few_shot,logistic --baselines raw" "$work/slow_eval" || fails "eval was given other words"
code=0
DINOXX=$work/slow SLOW_RATE=0.05 bash "$evaluate" "$work/photos" "$work/run" "$work/out" >"$work/log" 2>&1 || code=$?
[ $code = 2 ] || fails "embedding that takes longer than allowed: expected exit code 2, found $code"
says "what to do then" "Use fewer images" "$work/log"
DINOXX=$work/slow SLOW_RATE=100 bash "$evaluate" --fit=whole "$work/photos" "$work/run" --image-size 16 "$work/out" >"$work/log" 2>&1 || { cat "$work/log"; fails "options"; }
grep -q -- "--fit=whole --image-size 16" "$work/slow_eval" || fails "size and fit were not passed on"
DINOXX=$work/slow SLOW_RATE=100 bash "$evaluate" --crop 0.9 "$work/photos" "$work/run" "$work/out" >"$work/log" 2>&1 || { cat "$work/log"; fails "the crop"; }
grep -q -- "--crop 0.9" "$work/slow_eval" || fails "the crop was not passed on"
says "and whether it is run" "fine-tuning included" "$work/log"
[ "$(OMP_NUM_THREADS=7 bash -c ". '$1/launch/common.sh'; cores")" = "$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc)" ] || fails "cores follow OMP_NUM_THREADS"

rm "$work/photos/red/0.png"
DINOXX=$work/slow SLOW_RATE=100 bash "$evaluate" "$work/photos" "$work/run" "$work/out" >"$work/log" 2>&1 || { cat "$work/log"; fails "third run"; }
says "changed pictures are packed again" "119 images, 3 classes" "$work/log"
mkdir -p "$work/split"
cp -r "$work/photos" "$work/split/train"
cp -r "$work/photos" "$work/split/Test"
DINOXX=$work/slow SLOW_RATE=100 bash "$evaluate" "$work/split" "$work/run" "$work/out2" >"$work/log" 2>&1 || { cat "$work/log"; fails "split folders"; }
says "splits of the folder are kept" "(train 119, val 0, test 119)" "$work/log"

refuses() { # refuses WORDS ARGUMENT...
  local words=$1 code=0
  shift
  bash "$evaluate" "$@" >"$work/log" 2>&1 || code=$?
  [ $code = 2 ] || { cat "$work/log"; fails "$*: expected exit code 2, found $code"; }
  says "$words" "$words" "$work/log"
}
refuses "is not a folder" "$work/none" "$work/run" "$work/out3"
refuses "no such weights" "$work/photos" "$work/none" "$work/out3"
refuses "found 1 arguments" "$work/photos"
refuses "unknown option --size" "$work/photos" "$work/run" --size 16
refuses "lies inside" "$work/photos" "$work/run" "$work/photos/out"
[ ! -e "$work/photos/out" ] || fails "a refused OUT was made"
mkdir -p "$work/loose"
cp "$work/photos/red/1.png" "$work/loose"
refuses "no labels" "$work/loose" "$work/run" "$work/out3"
