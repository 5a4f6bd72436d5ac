"""Names of runs, for people: the published one, and what else decides the result. Nothing parses one."""

from pathlib import Path
from typing import Any

from ia2.config import LOW_DATA_FIELDS, TrainConfig, is_path_part
from ia2.store.digests import value_digest

LONGEST_TAIL = 200
LONGEST_NAME, LONGEST_BESIDE = 230, 240
"""File systems take 255 bytes, of which an ending, and the name of a temporary file or lock beside it, need some."""


def safe_filename(name: str, most: int = LONGEST_NAME) -> str:
    """The name, or what can be kept of its beginning and a digest of it where no file should be called so."""
    if is_path_part(name, most):
        return name
    kept = "".join(char if is_path_part(f"_{char}") else "-" for char in name)
    return f"{beginning(kept.lstrip('.'), most - 21)}+{value_digest(name)}"


def beginning(name: str, num_bytes: int) -> str:
    """As many characters of the name as take so many bytes at most."""
    return name.encode()[:num_bytes].decode(errors="ignore")


def short_model_name(model_id: str) -> str:
    """The last part of a model id, as names show it: `Qwen/Qwen3-4B-Base` is `Qwen3-4B-Base`."""
    return Path(model_id.rstrip("/")).name.removesuffix(".gguf")


def run_name(config: TrainConfig) -> str:
    """The published name, and a tail for every other field that decides the result and is not at its default."""
    fields = [short_model_name(config.model_id), *_adapter_part(config), config.num_generated_tokens]
    fields += [config.num_labels, config.lr, config.run_idx, *_low_data_part(config), *_variant_part(config)]
    return safe_filename("_".join(map(str, fields)) + _tail(config))


def _low_data_part(config: TrainConfig) -> list[Any]:
    return [f"ldr{'_'.join(map(str, config.low_data_sizes))}"] if config.ldr_mode else []


def _adapter_part(config: TrainConfig) -> list[Any]:
    match config.method.adapter:
        case "lora":
            return [config.lora_type, config.lora_r, config.lora_alpha]
        case "ia3":
            return ["ia3", config.ia3_type]
        case adapter:
            return [adapter, config.num_virtual_tokens]


def _variant_part(config: TrainConfig) -> list[Any]:
    applies = config.method.fields
    labels = [config.label_type] if applies & {"label_type", "tokl_top_k"} else []
    most = [f"topk{config.tokl_top_k}"] if "tokl_top_k" in applies and config.tokl_top_k != "all" else []
    return labels + most + ([config.ce_loss_weight] if "ce_loss_weight" in applies else [])


NAMED_FIELDS = LOW_DATA_FIELDS | {
    *("training_method", "dataset", "model_id", "num_generated_tokens", "num_train_examples", "lr", "run_idx"),
    *("lora_type", "lora_r", "lora_alpha", "ia3_type", "num_virtual_tokens"),
    *("label_type", "tokl_top_k", "ce_loss_weight"),
}


def _tail(config: TrainConfig) -> str:
    told = config.relevant_fields().keys() - NAMED_FIELDS
    return name_tail({key: value for key, value in config.changed().items() if key in told})


def name_tail(fields: dict[str, Any]) -> str:
    """`+field=value` for each field, or a digest of them all where that would be too long for a name."""
    tail = "".join(f"+{key}={str(value).replace('/', '-')}" for key, value in fields.items())
    return tail if len(tail) <= LONGEST_TAIL else f"+{value_digest(fields)}"
