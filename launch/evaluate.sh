#!/usr/bin/env bash
# From a folder of images in class folders and a file of weights to the numbers of all protocols, and the report.
#
#   launch/evaluate.sh FOLDER WEIGHTS [OUT] [--image-size PIXELS] [--fit crop|whole] [--crop SHARE] [--feature-stages N] [--feature-grid G] [--feature-whiten SHARE]
#
#   FOLDER   JPEG or PNG images in class folders, with or without train, val and test folders above them (without: 10 % val, 20 % test of each class)
#   WEIGHTS  a run folder, or weights that dinoxx knows (safetensors, .pth, a model folder)
#   OUT      default: run/evaluate-<name of FOLDER>
#   --image-size, --fit, --crop: of the network's input, --feature-*: what is taken as the feature, as for "dinoxx eval"; linear_probe and finetune are left
#            out beside --feature-*, because they learn from the network itself
#
# Says what it will take before it begins; what would take longer than EVALUATE_MINUTES (default 30) is left out and offered with its command. Run it again
# and it takes the packed images of OUT/data as long as FOLDER is unchanged. EVALUATE_RANKS names another number of ranks
# than launch/local.sh takes by itself.
set -euo pipefail
# shellcheck source=launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
case ${1:-} in -h | --help) sed -n '2,15s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;; esac
line=("$@") given=() input=() whiten=() chosen=no
take() { # take OPTION [VALUE]: embed, which measures the rate, knows all but --feature-whiten
  case $1 in --feature-whiten*) whiten+=("$@") ;; *) input+=("$@") ;; esac
  case $1 in --feature-*) chosen=yes ;; esac
}
while [ $# -gt 0 ]; do
  case $1 in
    --image-size | --fit | --crop | --feature-stages | --feature-grid | --feature-whiten)
      [ $# -ge 2 ] || die "$1 needs a value; see --help"
      take "$1" "$2"
      shift
      ;;
    --image-size=* | --fit=* | --crop=* | --feature-stages=* | --feature-grid=* | --feature-whiten=*) take "$1" ;;
    -*) die "unknown option $1; see --help" ;;
    *) given+=("$1") ;;
  esac
  shift
done
set -- "${given[@]}"
case $# in 2 | 3) ;; *) die "expected FOLDER WEIGHTS [OUT], found $# arguments; see --help" ;; esac
[ -d "$1" ] || die "'$1' is not a folder"
[ -e "$2" ] || die "'$2': no such weights"
minutes=${EVALUATE_MINUTES:-30}
[[ $minutes =~ ^[1-9][0-9]*$ ]] || die "EVALUATE_MINUTES: expected a number of minutes, found '$minutes'"
on_ranks=()
[ -z "${EVALUATE_RANKS:-}" ] || on_ranks=(-n "$EVALUATE_RANKS")
images=$(cd "$1" && pwd)
weights=$(cd "$(dirname "$2")" && pwd)/$(basename "$2")
work=$PWD
[ "$installed" = yes ] || work=$root
out=${3:-$work/run/evaluate-$(basename "$images")}
data=$out/data
say() { echo "evaluate: $*"; }

if [ "$installed" = no ] && [ -z "${DINOXX:-}" ]; then
  build_release dinoxx
fi
program=$(dinoxx_program)
case $(realpath -m -- "$out")/ in "$(realpath "$images")"/*) die "OUT $out lies inside FOLDER $images: choose another" ;; esac
mkdir -p "$out"

# ---------------------------------------------------------------- pack
# FOLDER is unchanged when names, sizes and times of its files are.
state=$(find -L "$images" -type f -printf '%P\t%s\t%T@\n' | LC_ALL=C sort | sha256sum | cut -d' ' -f1)
if [ -e "$data/manifest.json" ] && [ "$(cat "$out/data.state" 2>/dev/null)" = "$state $images" ]; then
  say "data: $data (kept: $images is unchanged)"
else
  below_no_split=$(find -L "$images" -type f \( -iname '*.jpg' -o -iname '*.jpeg' -o -iname '*.png' \) -printf '%P\n' |
    grep -civE '^(train(ing)?|trn|val(id|idation|idate)?|dev|test(ing)?|tst)([_ -]?(set|data|images))?[_ -]?[0-9]*/' || true)
  options=()
  [ "$below_no_split" = 0 ] || options=(--val-fraction 0.1 --test-fraction 0.2)
  rm -f "$out/data.state"
  "$program" pack --from-folder "$images" "${options[@]}" --out "$data" --overwrite
  echo "$state $images" >"$out/data.state"
fi
if tr -d ' \n' <"$data/manifest.json" | grep -q '"label_columns":\[\]'; then
  die "these images have no labels: put each class into a folder of its own"
fi

# ---------------------------------------------------------------- what it will take
choose_ranks "$program"
input+=(--device "$device")
sample=$(mktemp -d)
trap 'rm -rf "$sample"' EXIT
measured=$("$launch_dir/local.sh" "${on_ranks[@]}" embed --checkpoint "$weights" --data "$data" "${input[@]}" --limit 128 --out "$sample/features.npy") || exit $?
read -r width rate < <(sed -n 's/.* images, \([0-9]*\) features.* \([0-9.]*\) images\/s$/\1 \2/p' <<<"$measured")
[ -n "${rate:-}" ] || die "no rate in what embed says: $measured"
about=$("$program" info --data "$data")
total=$(awk '$1 == "images" {print $2}' <<<"$about")
classes=$(awk '$1 == "classes" {sub(";", "", $2); print $2}' <<<"$about")
queries=$(awk '$1 == "splits" {gsub(",", ""); print ($7 > 0 ? $7 : $5 > 0 ? $5 : int($3 / 10))}' <<<"$about")
# estimate NETWORKS PIXELS FITS CROPS: seconds for so many networks, raw pixels (0 or 1), the protocols that fit (0 or 1), and how often linear_probe embeds the
# images again (0: it is left out, and match, which embeds the test images twice). clustering embeds two copies of at most 500 test images. Images in class
# folders have no masks, so that segmentation does nothing. Embedding is measured; the fits take about a minute of one core for 1,000 images x 1,000 features x 10 classes, and
# they see no more directions than there are images.
estimate() {
  awk -v n="$total" -v queries="$queries" -v rate="$rate" -v width="$width" -v classes="$classes" -v cores="$(cores)" \
    -v networks="$1" -v pixels="$2" -v fits="$3" -v crops="$4" '
    function directions(features) { return features < n ? features : n }
    BEGIN {
      size = networks * directions(width) + pixels * directions(3072)
      images = (1 + crops) * n + 2 * (queries < 500 ? queries : 500) + (crops > 0 ? 2 * queries : 0)
      print int(networks * images / rate + fits * 60 * n * size * classes / 1e7 / cores) + 1
    }'
}
# Fine-tuning by 5 methods: 10 epochs of 70 % of the images, each a forward and a backward of three times its cost, 10 % for choosing after each, and the
# test images; for the network and, which takes no longer, for the untrained one.
tuning=$(awk -v n="$total" -v queries="$queries" -v rate="$rate" 'BEGIN { print int(2 * 5 * (10 * 3 * 0.7 * n + 11 * 0.1 * n + queries) / rate) + 1 }')
as_time() { awk -v s="$1" 'BEGIN { print s < 90 ? s " s" : s < 5400 ? int(s / 60 + 0.5) " min" : sprintf("%.1f h", s / 3600) }'; }
protocols=all baselines=untrained,raw crops=5
[ $chosen = no ] || crops=0 tuning=0
seconds=$(estimate 2 1 1 $crops)
whole=$((seconds + tuning))
limit=$((60 * minutes))
if [ "$seconds" -gt $limit ] && [ $crops -gt 1 ]; then
  crops=1 seconds=$(estimate 2 1 1 1)
fi
if [ "$seconds" -gt $limit ]; then
  protocols=knn,clustering,few_shot,logistic seconds=$(estimate 2 1 1 0)
fi
if [ "$seconds" -gt $limit ]; then
  baselines=raw seconds=$(estimate 1 1 1 0)
fi
if [ "$seconds" -gt $limit ]; then
  baselines=none seconds=$(estimate 1 0 1 0)
fi
if [ "$seconds" -gt $limit ]; then
  protocols=knn,clustering seconds=$(estimate 1 0 0 0)
fi
say "$total images, $classes classes; $rate images/s here"
if [ "$whole" -gt $limit ]; then
  say "all of it, with fine-tuning ($(as_time "$tuning")), would take about $(as_time "$whole"), more than $minutes min; for that: EVALUATE_MINUTES=$((whole / 60 + 1)) ${BASH_SOURCE[0]} ${line[*]}"
fi
if [ "$seconds" -gt $limit ]; then
  die "embedding the images alone takes about $(as_time "$seconds"). Use fewer images, a smaller network or more cores (launch/cluster.sh)."
fi
said="about $(as_time "$seconds")"
if [ $protocols = all ]; then
  if [ $chosen = yes ]; then said+=" without linear_probe and finetune"
  elif [ "$whole" -le $limit ]; then said="about $(as_time "$whole"), fine-tuning included"; else said+=" without fine-tuning"; fi
fi
say "now: --protocol $protocols --baselines $baselines, $said"

# ---------------------------------------------------------------- evaluate
# fine-tuning of the network, and of the untrained one, which takes no longer, where there is time left for both; else eval says how long it would take
"$launch_dir/local.sh" "${on_ranks[@]}" eval --checkpoint "$weights" --data "$data" "${input[@]}" "${whiten[@]}" --protocol "$protocols" --baselines "$baselines" --linear-probe-views "$crops" \
  --finetune.max_minutes $(((limit - seconds) / 120)) --out "$out"
echo
say "numbers: $out/results.json, answers for each test image: $out/predictions_*.csv"
if "$program" --help | grep '^  report ' >/dev/null; then
  "$program" report "$out" --data "$data" >/dev/null
  say "report: $out/report.html"
fi
