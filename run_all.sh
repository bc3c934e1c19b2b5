#!/usr/bin/env bash
# The whole report: trains, measures, and writes every figure. Start it again after a stop and it goes on.
#
#     bash run_all.sh                     the report on MNIST, into figures/ and results/
#     bash run_all.sh --quick             the same pipeline in small, 3 to 4 minutes, into figures/quick and results/quick
#     bash run_all.sh --dataset typeset   without MNIST: stand-in digits, every figure of part 2 marked as such
#     bash run_all.sh --deep              besides, controls and the studies of many seeds: about 4.5 hours more on two cores
#
# MNIST is taken from the folder MNIST_DIR (default: data/), else downloaded there. Where neither is possible the
# stand-in is used.
set -eo pipefail # not -u: in old versions of bash an empty list counts as unset
cd "$(dirname "$0")"

quick=false
deep=false
dataset=""
while [ $# -gt 0 ]; do
    case $1 in
        --quick) quick=true ;;
        --deep) deep=true ;;
        --dataset)
            if [ $# -eq 1 ]; then echo "run_all.sh: --dataset needs a value: mnist or typeset" >&2 && exit 2; fi
            dataset=$2
            shift
            ;;
        --dataset=*) dataset=${1#*=} ;;
        -h | --help) sed -n '2,10s/^# \{0,1\}//p' "$0" && exit 0 ;;
        *) echo "run_all.sh: $1 is no option of this script (see --help)" >&2 && exit 2 ;;
    esac
    shift
done
case $dataset in
    "" | mnist | typeset) ;;
    *) echo "run_all.sh: --dataset $dataset: it must be mnist or typeset" >&2 && exit 2 ;;
esac

EXTRA_PACKAGES=()
source .ci/environment.sh

stand_in_note() {
    echo
    echo "  *** MNIST is not here and cannot be downloaded: part 2 uses typeset digits instead, and its figures say so. ***"
    echo "  *** For the real ones, put MNIST into data/ or set MNIST_DIR, and run this script again.                    ***"
    echo
}
if [ "$dataset" != typeset ] && ! "$PYTHON" part2_gan/dataset.py; then
    if [ "$dataset" = mnist ]; then exit 2; fi
    dataset=typeset
    stand_in=true
    stand_in_note
fi
dataset=${dataset:-mnist}

if $quick; then
    figures=figures/quick figures1=figures/quick part1=results/quick/part1_lstm part2=results/quick/part2_gan
    compare=(--seeds 1 --epochs 10)
    classifier=(--limit 10000 --epochs 2)
    study=(--limit 10000 --epochs-initial 5 --epochs-balanced 20)
    latent=(--confidence 0.5)
    beyond=(--lengths 7 --seeds 1 --epochs 4 --updates 100 --long-lengths 15 --long-seeds 1 --long-epochs 4)
    beyond+=(--far-lengths 20 --farthest-lengths 25 --far-epochs 2)
    length3=(--seeds 1 --updates 100)
    gradients=(--seeds 1 --epochs 4 --train-length 15 --input-length 30)
    grid=(--limit 5000 --seeds 1 --epochs 2)
    recipes=(--limit 5000 --seeds 1 --epochs 2 --recipes as_reported average penalty --final-epochs 2 --studies changes)
    rates=(--tries 4000)
else
    figures=figures figures1=figures part1=results/part1_lstm part2=results/part2_gan
    compare=() classifier=() study=() latent=() beyond=() length3=() grid=() recipes=() rates=()
    gradients=(--train-length 25 --forget-bias 4)
    if [ "$dataset" != mnist ]; then figures=figures/$dataset; fi
fi
if [ "$dataset" != mnist ]; then part2=$part2/$dataset; fi
on_data=(--dataset "$dataset" --out-dir "$part2" --figures-dir "$figures")
networks=(--checkpoint "$part2/generator.pt" --classifier "$part2/classifier.pt" "${latent[@]}")

# Minutes that each step takes on two cores, for the remaining time.
if $quick; then minutes=(0 1 1 0 0 0 0); else minutes=(1 17 9 7 1 0 0); fi
if $deep; then if $quick; then minutes+=(1 0 0 1 1 1 0 0 0); else minutes+=(70 3 3 42 40 97 1 2 1); fi; fi
minutes+=(0 0 0)
number=0
times=()
step() { # title, command ...
    local left=0 m start=$SECONDS title=$1
    for m in "${minutes[@]:$number}"; do left=$((left + m)); done
    number=$((number + 1))
    echo
    echo "[$number/${#minutes[@]}] $title (about $left min to go on two cores; $((SECONDS / 60)) min since the start)"
    shift
    "$@"
    times+=("$(printf '%4d:%02d  %s' $(((SECONDS - start) / 60)) $(((SECONDS - start) % 60)) "$title")")
}

read_digits() {
    if [ -e "$part2/.classifier_is_new" ]; then return; fi # the classifier.pt of the repository does not count
    "$PYTHON" part2_gan/classifier.py "${on_data[@]}" "${classifier[@]}"
    touch "$part2/.classifier_is_new"
}

# The balanced GAN is the longest run and takes one core all the time: it trains in the background, everything else
# beside it on the other cores.
cores=$("$PYTHON" -c 'import os; print(os.cpu_count())')
others=$((cores > 1 ? cores - 1 : 1))
study=("$PYTHON" part2_gan/study.py "${on_data[@]}" --classifier "$part2/classifier.pt" "${study[@]}")
wait_for_balanced() {
    tail -n 1 -f "$part2/balanced.log" &
    local shown=$! status=0
    wait "$balanced" || status=$?
    sleep 1
    kill "$shown"
    wait "$shown" 2> /dev/null || true # without it bash tells of the end of tail
    if [ "$status" -ne 0 ]; then
        echo "run_all.sh: the balanced GAN stopped; see $part2/balanced.log" >&2
        return "$status"
    fi
}

measure() { # a run of study.py
    "$PYTHON" part2_gan/evaluate.py --dataset "$dataset" --out-dir "$part2" --figures-dir "$part2/$1" \
        --name "$1" --checkpoint "$part2/$1/checkpoint.pt" --classifier "$part2/classifier.pt"
}
measure_both() {
    "$PYTHON" part2_gan/evaluate.py "${on_data[@]}" "${networks[@]:0:4}"
    measure initial
}
slips() {
    "${study[@]}" --runs initial_alternating initial_mended balanced_simultaneous --workers "$cores"
    for name in initial_alternating initial_mended balanced_simultaneous; do measure $name; done
}

step "The reader of digits" read_digits
"${study[@]}" --runs balanced --workers 1 > "$part2/balanced.log" 2>&1 &
balanced=$!
trap 'kill "$balanced" 2> /dev/null || true' EXIT # a background process does not hear Ctrl-C
step "Figure 1: LSTM and RNN on palindromes" "$PYTHON" \
    part1_lstm/compare.py --out-dir "$part1" --figures-dir "$figures1" --workers "$others" --threads 1 "${compare[@]}"
# Whichever of the two ends last finds the other one there, and draws figures 2 to 5.
step "The first discriminator" "${study[@]}" --runs initial --workers 1
step "The balanced discriminator, in the background so far" wait_for_balanced
trap - EXIT
step "What the samples are worth" measure_both
step "Figure 6: interpolation" "$PYTHON" part2_gan/interpolate.py "${on_data[@]}" "${networks[@]}"
step "Figures 7 and 8: vector arithmetic" "$PYTHON" part2_gan/arithmetic.py "${on_data[@]}" "${networks[@]}"
if $deep; then
    in1=(--out-dir "$part1" --figures-dir "$figures1")
    step "Beyond figure 1: optimizers, protocols, long inputs" "$PYTHON" part1_lstm/beyond.py "${in1[@]}" "${beyond[@]}"
    step "Three digits" "$PYTHON" part1_lstm/length3.py "${in1[@]}" "${length3[@]}"
    step "Gradients and gates" "$PYTHON" part1_lstm/gradients.py "${in1[@]}" "${gradients[@]}"
    step "The two slips, one by one" slips
    step "What makes the discriminator overpower the generator" "$PYTHON" part2_gan/grid.py "${on_data[@]}" \
        --classifier "$part2/classifier.pt" "${grid[@]}"
    step "What makes the digits better" "$PYTHON" part2_gan/recipes.py "${on_data[@]}" \
        --classifier "$part2/classifier.pt" "${recipes[@]}"
    generators=("$part2/generator.pt")
    for folder in "$part2"/report_seed[0-9]*; do # the same recipe with other seeds, from recipes.py
        if [ -e "$folder/result.json" ]; then generators+=("$folder/checkpoint.pt"); fi
    done
    for script in interpolate_rates arithmetic_rates directions; do
        step "The latent space in numbers: $script" "$PYTHON" part2_gan/$script.py --dataset "$dataset" --out-dir "$part2" \
            --figures-dir "$figures" --checkpoints "${generators[@]}" --classifier "$part2/classifier.pt" \
            "${latent[@]}" "${rates[@]}"
    done
fi
step "Part 1: what became of the report's claims" "$PYTHON" part1_lstm/report.py --out-dir "$part1" --figures-dir "$figures1"
step "Part 2: what became of the report's claims" "$PYTHON" part2_gan/report.py "${on_data[@]}"
step "Both parts at a glance" "$PYTHON" part2_gan/at_a_glance.py "${on_data[@]}" --compare "$part1/compare.json"

echo
{
    echo "Done in $((SECONDS / 60)) min $((SECONDS % 60)) s, on $cores cores, commit $(git rev-parse --short HEAD 2> /dev/null)"
    echo "(min:s of every step; what an earlier start had finished took no time)"
    printf '%s\n' "${times[@]}"
} | tee "$(dirname "$part1")/run_all.txt"
echo "Figures:"
ls -1 "$figures"/fig*.png
if [ "${stand_in:-false}" = true ]; then stand_in_note; fi
