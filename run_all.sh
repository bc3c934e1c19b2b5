#!/usr/bin/env bash
[ -n "$BASH_VERSION" ] || exec bash "$0" "$@"
set -eo pipefail # not -u: in old versions of bash an empty list counts as unset

usage() {
    cat << 'TEXT'
The whole report: trains, measures, and writes its figures in place of the committed ones, which git restores.
Started again after a stop, it goes on.

    bash run_all.sh                     the report on MNIST, into figures/ and results/
    bash run_all.sh --quick             the same in small, about 2 minutes, into figures/quick and results/quick
    bash run_all.sh --deep              besides, the studies of many seeds (hours)
    bash run_all.sh --dataset typeset   without MNIST: stand-in digits, every figure of part 2 marked as such

MNIST is taken from the folder MNIST_DIR (default: data/), else downloaded there. Where neither is possible the
stand-in is used.
TEXT
}

quick=false
deep=false
dataset=""
while [ $# -gt 0 ]; do
    case $1 in
        --quick) quick=true ;;
        --deep) deep=true ;;
        --dataset=*) dataset=${1#*=} ;;
        --dataset)
            dataset=${2:-none}
            [ $# -eq 1 ] || shift
            ;;
        -h | --help) usage && exit 0 ;;
        *) echo "run_all.sh: $1 is no option of this script (see --help)" >&2 && exit 2 ;;
    esac
    shift
done
case $dataset in
    "" | mnist | typeset) ;;
    *) echo "run_all.sh: --dataset $dataset: it must be mnist or typeset" >&2 && exit 2 ;;
esac
case ${MNIST_DIR:-} in
    "") unset MNIST_DIR ;;
    /* | [A-Za-z]:*) ;;
    *) MNIST_DIR=$PWD/$MNIST_DIR ;; # before the folder changes
esac
cd "$(dirname "$(readlink -f "$0")")"

EXTRA_PACKAGES=()
source .ci/environment.sh
if [ ! -t 2 ]; then export TQDM_DISABLE=1; fi # without a terminal plain lines, no bars

# A step runs in the background and is waited for, so that a signal ends it at once, with all that it started.
running=""
stop() {
    trap - INT TERM HUP
    if [ -n "$running" ]; then kill -TERM "$running" 2> /dev/null && wait "$running" || true; fi
    echo "run_all.sh: stopped; the same command resumes where it stopped" >&2
    exit "$1"
}
trap 'stop 130' INT
trap 'stop 143' TERM HUP

stand_in_note() {
    echo
    echo "  *** MNIST is not here and cannot be downloaded: part 2 uses typeset digits instead, and its figures say so. ***"
    echo "  *** For the real ones, put MNIST into data/ or set MNIST_DIR, and run this script again.                    ***"
    echo
}
stand_in=false
if [ "$dataset" != typeset ]; then
    status=0
    "$PYTHON" part2_gan/dataset.py || status=$?
    if [ $status -eq 3 ] && [ "$dataset" != mnist ]; then # 3: not here, no network; 2: damaged, which a stand-in would hide
        dataset=typeset
        stand_in=true
        stand_in_note
    elif [ $status -ne 0 ]; then
        exit 2
    fi
fi
dataset=${dataset:-mnist}

results=$PWD/results
figures=$PWD/figures
if $quick; then results=$results/quick figures=$figures/quick; fi
part1=(--out-dir "$results/part1_lstm" --figures-dir "$figures")
part2=$results/part2_gan
if [ "$dataset" != mnist ]; then part2=$part2/$dataset figures=$figures/$dataset; fi
part2_on_data=(--dataset "$dataset" --out-dir "$part2" --figures-dir "$figures")
classifier=(--classifier "$part2/classifier.pt")
networks=(--checkpoint "$part2/generator.pt" "${classifier[@]}")
if $quick; then
    compare=(--lengths 3 7 11 --seeds 1 --epochs 6 --updates 200)
    train_classifier=(--limit 6000 --epochs 2)
    dynamics=(--limit 6000 --batch-size 32 --epochs-initial 2 --epochs-balanced 7)
    quality=(--limit 6000 --samples 2000)
    latent=(--confidence 0.3)
    protocols=(--lengths 7 --seeds 1 --epochs 4 --updates 100)
    long_inputs=(--lengths 15 --seeds 1 --epochs 4 --far-lengths 20 --farthest-lengths 25 --far-epochs 2)
    three_digits=(--seeds 1 --updates 100)
    repetition=(--lengths 15 --sizes 1000 0 --seeds 1 --updates 200)
    gradients=(--seeds 1 --epochs 4 --train-length 15 --input-length 30)
    overpowering=(--limit 5000 --seeds 1 --epochs 2)
    recipes=(--limit 5000 --seeds 1 --epochs 2 --recipes as_reported average penalty --final-epochs 2 --studies changes)
    rates=(--limit 6000 --tries 4000 --count 50)
else
    compare=() train_classifier=() dynamics=() latent=() protocols=() long_inputs=() three_digits=() repetition=()
    gradients=(--train-length 25 --forget-bias 4) quality=() overpowering=() recipes=() rates=()
fi
# After so few steps the generator as written draws more of the digits.
if $quick; then networks[1]=$part2/dynamics/written_balanced_seed0/checkpoint.pt; fi
networks+=("${latent[@]}")

minutes=()
titles=()
commands=()
step() { # minutes on two cores, title, folder, arguments of python
    minutes+=("$1")
    titles+=("$2")
    commands+=("$(printf '%q ' "${@:3}")")
}

if [ ! -e "$part2/.classifier_is_new" ]; then # the classifier.pt of the repository does not count
    rm -f "$part2/dynamics.json"              # nor do its runs: dynamics.py would keep them beside new ones
    step 1 "The classifier of digits" part2_gan classifier.py "${part2_on_data[@]}" "${train_classifier[@]}"
fi
dynamics_minutes=72 compare_minutes=34
if $deep && ! $quick; then # first the runs of one recipe, then those of both, which draws the figures with all of them
    step 380 "Ten seeds as published" part2_gan dynamics.py "${part2_on_data[@]}" "${classifier[@]}" --recipes published --seeds 10
    dynamics=(--seeds 5) compare=(--seeds 10) dynamics_minutes=183 compare_minutes=69
fi
step $compare_minutes "Figure 1: LSTM and RNN on palindromes" part1_lstm compare.py "${part1[@]}" "${compare[@]}"
step $dynamics_minutes "Figures 2 to 5: training dynamics" \
    part2_gan dynamics.py "${part2_on_data[@]}" "${classifier[@]}" "${dynamics[@]}"
step 1 "Sample quality" part2_gan evaluate.py "${part2_on_data[@]}" "${networks[@]:0:4}" "${quality[@]}"
step 0 "Figure 6: interpolation" part2_gan interpolate.py "${part2_on_data[@]}" "${networks[@]}"
step 0 "Figures 7 and 8: vector arithmetic" part2_gan arithmetic.py "${part2_on_data[@]}" "${networks[@]}"
step 1 "A second classifier" part2_gan classifier.py --kind mlp "${part2_on_data[@]}" "${train_classifier[@]}"
step 4 "How often figures 6 to 8 come out" part2_gan -m studies.latent_rates "${part2_on_data[@]}" \
    "${classifier[@]}" --mlp "$part2/classifier_mlp.pt" "${latent[@]}" "${rates[@]}"
if $deep; then
    step 60 "Part 1: optimizers and protocols" part1_lstm -m studies.protocols "${part1[@]}" "${protocols[@]}"
    step 50 "Part 1: long inputs" part1_lstm -m studies.long_inputs "${part1[@]}" "${long_inputs[@]}"
    step 60 "Part 1: repetition" part1_lstm -m studies.repetition "${part1[@]}" "${repetition[@]}"
    step 6 "Part 1: three digits" part1_lstm -m studies.three_digits "${part1[@]}" "${three_digits[@]}"
    step 7 "Part 1: gradients and gates" part1_lstm -m studies.gradients "${part1[@]}" "${gradients[@]}"
    step 180 "Part 2: what makes the discriminator overpower the generator" \
        part2_gan -m studies.overpowering "${part2_on_data[@]}" "${classifier[@]}" "${overpowering[@]}"
    step 120 "Part 2: what improves the samples" \
        part2_gan -m studies.recipes "${part2_on_data[@]}" "${classifier[@]}" "${recipes[@]}"
fi
step 0 "Part 1: the report's claims" part1_lstm report.py "${part1[@]}"
step 0 "Part 2: the report's claims" part2_gan report.py "${part2_on_data[@]}"

times=()
for i in "${!titles[@]}"; do
    left=0 start=$SECONDS
    for m in "${minutes[@]:i}"; do left=$((left + m)); done
    if $quick; then left=""; else left=" (about $left min to go on two cores, $((SECONDS / 60)) min so far)"; fi
    echo
    echo "[$((i + 1))/${#titles[@]}] ${titles[i]}$left"
    eval "set -- ${commands[i]}"
    (cd "$1" && exec "$PYTHON" "${@:2}") &
    running=$! status=0
    wait "$running" || status=$?
    running=""
    if [ $status -ne 0 ]; then
        echo "run_all.sh: this step failed, as said above; the same command resumes here" >&2
        exit $status
    fi
    if [ "$2 $3" = "classifier.py --dataset" ]; then touch "$part2/.classifier_is_new"; fi
    times+=("$(printf '%4d:%02d  %s' $(((SECONDS - start) / 60)) $(((SECONDS - start) % 60)) "${titles[i]}")")
done

echo
{
    cores=$("$PYTHON" -c 'import os; print(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())')
    commit=$(git rev-parse --short HEAD 2> /dev/null) || commit=unknown
    echo "Done in $((SECONDS / 60)) min $((SECONDS % 60)) s, on $cores cores, commit $commit"
    echo "(min:s of every step; what an earlier start had finished took no time)"
    printf '%s\n' "${times[@]}"
} | tee "$results/run_all.txt"
echo "Figures:"
ls -1 "${part1[3]}"/fig1*.png "$figures"/fig[2-8]*.png
if $stand_in; then stand_in_note; fi
