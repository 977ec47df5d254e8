#!/usr/bin/env bash
# Second phase on one GPU: go on from a checkpoint with other rates, one variant per argument.
# Usage: OUT=folder tools/mini_student/calibrate.sh CHECKPOINT SECONDS '{"stuck": 0.1}' …
set -eu
export PYTHONPATH=src:tools${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
init=$1 seconds=$2 work=$(mktemp -d)
shift 2
number=0
for habits in "$@"; do
  number=$((number + 1))
  (
    folder="$work/variant$number"
    python3 -m mini_student.train --out "$folder" --init "$init" --habits "$habits" --seed "$number" \
      --documents 120000 --seconds "$seconds" --lr 8e-4 --workers 7
    cp "$init/training.json" "$folder/training.phase1.json"
    python3 -m mini_student.profile "$folder" --problems 1000 --json "$folder/profile.json"
    tar -C "$work" -cf "$OUT/variant$number.tar" "variant$number"
  ) >"$OUT/variant$number.log" 2>&1 &
done
wait
tail -n 40 "$OUT"/*.log
