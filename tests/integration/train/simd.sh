#!/bin/bash
# DINOXX_SIMD and the program: every command refuses a wrong word, and a run goes by the level that it names. See common.sh.
. "$(dirname "$0")/common.sh"
words="generic, avx2, avx512, avx512vnni or avx512bf16"
unset DINOXX_SIMD
fingerprint() { grep -o '"fingerprint": *"[0-9a-f]*"' "$1/manifest.json"; }

case $case in
refused)
  # a word that is no level: exit code 2 and the list, from whatever command, once for all ranks
  make_data
  export DINOXX_SIMD=sse9
  for line in info "pack --toy textures --count 4 --out other" "train --config small.cfg --data data --out run"; do
    # shellcheck disable=SC2086
    run 1 $line
    expect 2
    says "DINOXX_SIMD: expected $words, found \"sse9\""
  done
  run 2 train --config small.cfg --data data --out run
  expect 2
  [ "$(grep -c "DINOXX_SIMD: expected $words" log)" = 1 ] || die "two ranks must say it once"
  if [ -e run ] || [ -e other ]; then die "a refused command must write nothing"; fi
  ;;
levels)
  # what this processor has, by the system's own list
  levels=generic
  has() { grep -m1 '^flags' /proc/cpuinfo | grep -qw "$1"; }
  has avx2 && has fma && levels+=" avx2" &&
    has avx512f && has avx512bw && has avx512dq && has avx512vl && levels+=" avx512" &&
    has avx512_vnni && levels+=" avx512vnni" &&
    has avx512_bf16 && levels+=" avx512bf16"
  best=${levels##* }
  "$dinoxx" info >log 2>&1 || die "info"
  says "SIMD level *$best, the processor's"

  for level in $levels; do
    export DINOXX_SIMD=$level
    # packed, loaded, trained at this level: the files of the shard and the order and values of the crops are the same at all of them
    "$dinoxx" pack --toy textures --count 240 --seed 3 --out "data_$level" >log 2>&1 || die "pack at $level"
    # not the file's bytes: HDF5 writes the time into it, the fingerprint is a hash of the samples
    [ "$(fingerprint data_generic)" = "$(fingerprint "data_$level")" ] || die "packed at $level, other samples"
    run 1 train --config small.cfg --data data_generic --out "$level" --teacher.momentum 0.99
    expect 0
    grep '"event":"start"' "$level/metrics.jsonl" | grep -q "\"simd\":\"$level\"" || die "the record of $level names another level"
    [ "$(figures "$level" | wc -l)" = 8 ] || die "eight steps at $level"
  done

  # losses agree to 1e-3 with the generic ones (float32, eight Adam steps)
  for level in ${levels#generic}; do
    paste -d ' ' <(figures generic | sed -E 's/.*"loss":([0-9.e+-]+).*/\1/') <(figures "$level" | sed -E 's/.*"loss":([0-9.e+-]+).*/\1/') |
      awk '{d = $1 - $2; if (d < 0) d = -d; if (NF != 2 || d > 1e-3 * $1) bad = 1} END {exit bad || NR != 8}' || die "losses at $level are others"
    # fused multiply-adds and wider sums round otherwise: equal bits would mean that the level had no effect
    cmp -s generic/checkpoints/step_00000008/teacher.safetensors "$level/checkpoints/step_00000008/teacher.safetensors" &&
      die "training at generic and at $level gave the same bits: does the run go by DINOXX_SIMD?"
  done

  # a resume at another level says which claim it loses, at the same none
  [ "$levels" = generic ] && exit 0
  export DINOXX_SIMD=generic
  run 1 train --config small.cfg --data data_generic --out generic --teacher.momentum 0.99 --train.length 9it
  grep -q "instruction set level" log && die "the same level is no difference"
  export DINOXX_SIMD=avx2
  run 1 train --config small.cfg --data data_generic --out generic --teacher.momentum 0.99 --train.length 10it
  expect 0
  says 'instruction set level was "generic" and is "avx2": results agree up to rounding'
  ;;
*) die "no such case" ;;
esac
