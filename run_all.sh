#!/usr/bin/env bash
[ -n "$BASH_VERSION" ] || exec bash "$0" "$@"
set -eo pipefail # not -u: in old versions of bash an empty list counts as unset

usage() {
    cat << 'END'
The whole report: trains, measures, draws. Started again after a stop, it goes on. What is committed is never touched.

    bash run_all.sh            the report on MNIST, into results/mine and figures/mine
    bash run_all.sh --quick    the same in small, about 2 minutes, into results/quick and figures/quick
    bash run_all.sh --deep     besides, more seeds and the studies (days on two cores)
    bash run_all.sh --draw     draws every committed figure again from the committed rows, in a minute; no training

    --dataset typeset          stand-in digits in place of MNIST; every figure made of them says so

MNIST comes from the folder MNIST_DIR (default: data/), or is downloaded there; if neither works, the stand-in is used.
END
}

mode=mine dataset=""
while [ $# -gt 0 ]; do
    case $1 in
        --quick | --deep | --draw) mode=${1#--} ;;
        --dataset=*) dataset=${1#*=} ;;
        --dataset) dataset=${2-none} && shift $(($# > 1)) ;;
        -h | --help) usage && exit 0 ;;
        *) echo "run_all.sh: $1 is no option of this script (see --help)" >&2 && exit 2 ;;
    esac
    shift
done
case $dataset in "" | mnist | typeset) ;; *) echo "run_all.sh: --dataset is mnist or typeset" >&2 && exit 2 ;; esac
if [ -n "$MNIST_DIR" ]; then MNIST_DIR=$(cd "${MNIST_DIR/#\~/$HOME}" && pwd) || exit 2; export MNIST_DIR; fi
cd "$(dirname "$(readlink -f "$0")")"

EXTRA_PACKAGES=()
source .ci/environment.sh
part1() { (cd part1_lstm && "$PYTHON" "$@"); }
part2() { (cd part2_gan && "$PYTHON" "$@"); }

if [ $mode = draw ]; then # the two parts beside one another
    for name in compare benchmark studies.{repetition,long_inputs,three_digits,gradients}; do part1 -m $name --draw; done &
    for name in dynamics evaluate studies.{overpowering,recipes,latent_rates}; do part2 -m $name --draw; done
    for name in interpolate arithmetic; do part2 $name.py --out-dir "$(mktemp -d)" --figures-dir "$PWD/figures"; done
    wait $!
    exit
fi

note="" status=0
if [ "$dataset" != typeset ]; then part2 dataset.py || status=$?; fi
if [ $status -eq 3 ] && [ -z "$dataset" ]; then # 3: not here, no network; 2: damaged, which a stand-in would hide
    dataset=typeset note="*** MNIST is not here and cannot be downloaded: the GANs train on typeset digits instead. ***"
    echo "$note"
elif [ $status -ne 0 ]; then
    exit 2
fi
if [ $mode = quick ]; then folder=quick; else folder=mine; fi
if [ "$dataset" = typeset ]; then folder=$folder-typeset; fi
results=$PWD/results/$folder figures=$PWD/figures/$folder
mkdir -p "$results/part1_lstm" "$results/part2_gan" "$figures"
one=(--out-dir "$results/part1_lstm" --figures-dir "$figures")
two=(--out-dir "$results/part2_gan" --figures-dir "$figures")
cnn=$results/part2_gan/classifier.pt mlp=$results/part2_gan/classifier_mlp.pt
own=("${two[@]}" --dataset "${dataset:-mnist}" --classifier "$cnn")
generator=(--checkpoint "$results/part2_gan/generator.pt")

step() { # title, part1 or part2, arguments of python; what the scripts print goes into a log
    printf '%3d:%02d  %s\n' $((SECONDS / 60)) $((SECONDS % 60)) "$1"
    "${@:2}" >> "$results/log.txt" || { echo "run_all.sh: this step failed; the same command resumes here" >&2; exit 1; }
}

if [ $mode = quick ]; then
    step "figure 1, at 3 to 11 digits" part1 compare.py "${one[@]}" --lengths 3 7 11 --seeds 1
    step "figures 2 to 5, a few epochs of 6,000 digits" part2 dynamics.py "${own[@]:0:6}" --limit 6000 \
        --epochs-initial 3 --epochs-balanced 6 --evaluate-every 0
    step "figure 6: interpolation (the generator in the repository)" part2 interpolate.py "${two[@]}"
    step "figures 7 and 8: vector arithmetic (the same)" part2 arithmetic.py "${two[@]}"
else
    [ -e "$cnn" ] || step "classifier of digits: a CNN" part2 classifier.py "${own[@]:0:6}"
    if [ $mode = deep ]; then seeds=10 gans=5; else seeds=3 gans=1; fi
    step "figures 2 to 5: GANs" part2 dynamics.py "${own[@]}" --seeds $gans
    step "figure 1: LSTM and RNN" part1 compare.py "${one[@]}" --seeds $seeds
    step "figure 6: interpolation" part2 interpolate.py "${own[@]}" "${generator[@]}"
    step "figures 7 and 8: vector arithmetic" part2 arithmetic.py "${own[@]}" "${generator[@]}"
    step "how good the samples are" part2 evaluate.py "${own[@]}" "${generator[@]}"
    [ -e "$mlp" ] || step "classifier of digits: an MLP" part2 classifier.py --kind mlp "${own[@]:0:6}"
    step "how often figures 6 to 8 come out" part2 -m studies.latent_rates "${own[@]}" --mlp "$mlp"
fi
if [ $mode = deep ]; then
    for name in repetition long_inputs three_digits gradients; do step "$name" part1 -m studies.$name "${one[@]}"; done
    for name in overpowering recipes; do step "$name" part2 -m studies.$name "${own[@]}"; done
fi
step "the report's statements" part1 report.py "${one[@]}"
part2 report.py "${two[@]}" >> "$results/log.txt"

processor=$(part1 -c 'import runs, utils; print(runs.CORES, "cores,", utils.processor())')
cat << END | tee -a "$results/log.txt"
$(printf '%3d:%02d' $((SECONDS / 60)) $((SECONDS % 60)))  done, on $processor
Look at fig1 to fig8 in figures/$folder; the READMEs say what there is to see.
$(grep -h 'counts agree' "$results/log.txt" | tail -n 2)
END
[ -z "$note" ] || echo "$note"
