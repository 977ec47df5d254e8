#!/usr/bin/env bash
# Evaluate the embedded student and distilled ones on many problems and runs, on one GPU.
# Usage: tools/measure_mini.sh OUT PROBLEMS RUNS TRAIN_FOLDER…   (train folders of finished runs)
set -eu
out=$1 problems=$2 runs=$3
shift 3
tiers="[{benchmark: mini-gsm, count: $problems}, {benchmark: mini-math, count: $problems}, {benchmark: mini-amc, count: $problems}, {benchmark: mini-aime, count: $problems}]"
number=0
for train in "$@"; do
  folder="$out/seed$number"
  mkdir -p "$folder/evaluate"
  cp -r "$train" "$folder/train"
  if [ "$number" -gt 0 ]; then cp -r "$out/seed0/evaluate/base" "$folder/evaluate/base"; fi
  python3 -c 'from drp.cli.app import main; main()' evaluate recipes/mini.yaml \
    "evaluate.benchmarks=$tiers" "evaluate.runs=$runs" evaluate.engine.batch_size=1500 student.dtype=float32 \
    --out "$folder"
  number=$((number + 1))
done
