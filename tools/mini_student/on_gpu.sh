#!/usr/bin/env bash
# Train the embedded student on one GPU, profile it, and pack it into $OUT/student.tar.
# Usage: OUT=folder tools/mini_student/on_gpu.sh [seconds of training]
set -eu
export PYTHONPATH=src:tools${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
work=$(mktemp -d)
python3 -m mini_student.train --out "$work/student" --documents 400000 --seconds "${1:-320}"
python3 -m mini_student.profile "$work/student" --problems 1000 --json "$work/student/profile.json"
tar -C "$work" -cf "$OUT/student.tar" student
