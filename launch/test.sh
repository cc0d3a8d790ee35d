#!/usr/bin/env bash
# Sets up, builds and runs all tests (release preset). The last line is ctest's verdict; exit code 0 only if every test passed.
#
#   launch/test.sh [ctest options, for example -R name or -L unit]
set -euo pipefail
# shellcheck source=launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
[ "$installed" = no ] || die "the tests belong to a checkout, not to an installed folder"
"$launch_dir/setup.sh" --tests
build_release all
# Tests with several ranks say so by PROCESSORS, so that as many programs run at once as there are cores.
log=$root/build/release/ctest.log
code=0
ctest --test-dir "$root/build/release" --output-on-failure --no-tests=error -j "$(cores)" "$@" 2>&1 | tee "$log" || code=$?
grep -E '^[0-9]+% tests passed' "$log" || { echo "no verdict from ctest" >&2; exit 1; }
exit "$code"
