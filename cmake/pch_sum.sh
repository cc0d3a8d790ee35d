#!/bin/sh
# Launcher of the compiler for the precompiled header: puts a checksum of what the header was made from beside it (NAME.gch.sum), which ccache takes in the
# place of the header's own bytes (CCACHE_PCH_EXTSUM). GCC writes other bytes for the same header each time, so that a second checkout, or the same one
# after its header was compiled again, would find nothing in the cache; and reading 480 MB took 2 s for each source.
# Both calls below preprocess, which ccache hands to the compiler. Any other call here, --version too, is a compilation to ccache: it would answer from
# its cache and write an older header over the one just compiled.
set -eu
"$@"
out=
previous=
count=$#
while [ "$count" -gt 0 ]; do
  word=$1
  shift
  count=$((count - 1))
  case $previous in
    -o) out=$word ;;
  esac
  case $word in
    -MD | -o | -MT | -MF | -c | -include | -fpch-preprocess | -Winvalid-pch) ;;
    *) case $previous in
         -o | -MT | -MF | -c) ;;  # -c: the empty source; what counts is the header that it includes
         *) set -- "$@" "$word" ;;
       esac ;;
  esac
  previous=$word
done
case $out in
  *.gch)
    "$@" -w -E -P -dD -o "$out.i"  # the text, and the macros that it defines
    "$@" -w -E -dM -o "$out.m"     # and those of the compiler: its version, and what its flags set; in an order that differs from folder to folder
    LC_ALL=C sort "$out.m" | cat "$out.i" - | sha256sum >"$out.sum"
    rm "$out.i" "$out.m"
    ;;
esac
