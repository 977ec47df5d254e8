"""Average two checkpoints of the mini student: ``weight`` of the first, the rest of the second.

python -m mini_student.average FIRST SECOND --weight 0.67 --out OUT
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file


def main() -> None:
    """Parse arguments, average, save with the first checkpoint's other files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("--weight", type=float, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    shutil.copytree(args.first, args.out)
    first, second = (load_file(p / "model.safetensors") for p in (args.first, args.second))
    mixed = {
        name: (args.weight * first[name].float() + (1 - args.weight) * second[name].float()) for name in first
    }
    save_file(
        {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in mixed.items()},
        args.out / "model.safetensors",
        metadata={"format": "pt"},
    )
    phases = [json.loads((p / "training.json").read_text()) for p in (args.second, args.first)]
    record = {"phases": phases, "average": {"second_phase": args.weight, "first_phase": 1 - args.weight}}
    (args.out / "training.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
