"""What LLaMA-Factory reads beside the rows: the dataset's description, and our training settings as its YAML."""

from drp.recipe import Recipe


def dataset_info(data: str) -> dict[str, object]:
    """Return the content of ``dataset_info.json`` for a file of rows in the Alpaca format."""
    columns = {"prompt": "instruction", "query": "input", "response": "output", "system": "system"}
    return {"drp": {"file_name": data, "columns": columns}}


def template_name(chat_template: str) -> str | None:
    """Return LLaMA-Factory's name of the template that asks as a student's own does and keeps the thinking, if it is known."""
    if "<｜Assistant｜>" in chat_template:
        return "deepseekr1"
    if "<|im_start|>" in chat_template:
        return "qwen3" if "</think>" in chat_template else "qwen"
    return None


def training_yaml(recipe: Recipe, chat_template: str, model: str | None) -> str:
    """Return ``train.yaml``: the recipe's training, in LLaMA-Factory's words.

    Args:
        recipe: The recipe.
        chat_template: The student's.
        model: Its hub id; ``None``: the reader fills in the folder.
    """
    train, template = recipe.train, template_name(chat_template)
    device_batch = min(train.device_batch, train.effective_batch)
    settings: dict[str, object] = {
        "model_name_or_path": (model or "PATH_OF_THE_STUDENT").partition("@")[0],
        "stage": "sft",
        "do_train": "true",
        "finetuning_type": "lora",
        "lora_target": "all",
        "lora_rank": train.rank,
        "lora_alpha": train.alpha,
        "lora_dropout": train.dropout,
        "dataset": "drp",
        "dataset_dir": ".",
        "template": template or "NAME_OF_A_TEMPLATE_THAT_KEEPS_THE_THINKING",
        "cutoff_len": train.max_length,
        "per_device_train_batch_size": device_batch,
        "gradient_accumulation_steps": max(1, train.effective_batch // device_batch),
        # YAML takes 3e-05 for a text.
        "learning_rate": f"{train.learning_rate:.10f}".rstrip("0"),
        "num_train_epochs": train.epochs,
        "lr_scheduler_type": train.schedule,
        "warmup_ratio": train.warmup,
        "weight_decay": train.weight_decay,
        "seed": train.seed,
        "save_steps": train.save_steps,
        "bf16": "true",
        "logging_steps": 1,
        "output_dir": "adapter",
    }
    head = "# llamafactory-cli train train.yaml, in this folder; the settings are those of `drp train`.\n"
    return head + "".join(f"{name}: {value}\n" for name, value in settings.items())
