"""Tiny random models of every supported shape, and tiny real tokenizers: made in milliseconds, the same every time.

Weights are large enough that every position says something of its own, so that a mistake in positions, masks or
padding changes the tokens. Windows of sliding attention are shorter than the sequences of most tests.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

VOCABULARY = 328
"""Ids of a tiny model; its tokenizer knows the first 320 of them."""
CONTEXT = 512
WINDOW = 6
PAD, BOS, EOS = 0, 1, 2

_SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": CONTEXT,
    "pad_token_id": PAD,
    "bos_token_id": BOS,
    "eos_token_id": EOS,
}
_GROUPED = _SIZES | {"num_key_value_heads": 2}
_GPT2: dict[str, Any] = {"vocab_size": VOCABULARY, "n_positions": CONTEXT, "n_embd": 32, "n_layer": 2, "n_head": 4}
_GEMMA_LAYERS = ["sliding_attention", "full_attention", "sliding_attention"]

_MAKERS: dict[str, Callable[[], PreTrainedModel]] = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**_GROUPED)),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**_GROUPED, sliding_window=WINDOW)),
    "qwen2": lambda: Qwen2ForCausalLM(
        Qwen2Config(**_GROUPED, use_sliding_window=True, sliding_window=WINDOW, max_window_layers=1)
    ),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**_GROUPED, head_dim=8)),
    "gemma3_text": lambda: Gemma3ForCausalLM(
        Gemma3TextConfig(
            **_GROUPED | {"num_hidden_layers": 3},
            head_dim=8,
            query_pre_attn_scalar=8,
            sliding_window=WINDOW,
            layer_types=_GEMMA_LAYERS,
            final_logit_softcapping=8.0,
        )
    ),
    "phi3": lambda: Phi3ForCausalLM(Phi3Config(**_GROUPED, sliding_window=WINDOW)),
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(**_GPT2, pad_token_id=PAD, bos_token_id=BOS, eos_token_id=EOS)),
    "gpt_neox": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**_SIZES)),
}
SHAPES = tuple(_MAKERS)


def tiny_model(shape: str, seed: int = 0, attention: Literal["sdpa", "eager"] = "sdpa") -> PreTrainedModel:
    """A random model of `shape` in float32, frozen, in evaluation mode, decided by `seed` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _MAKERS[shape]()
        _enlarge(model)
    model.set_attn_implementation(attention)
    return model.eval().requires_grad_(False)


@torch.no_grad()
def _enlarge(model: PreTrainedModel) -> None:
    """Redraw matrices so that they keep the size of what they multiply, and shake norms and biases."""
    embeddings = model.get_input_embeddings().weight
    scale = getattr(model.get_input_embeddings(), "scalar_embed_scale", 1.0)
    for parameter in model.parameters():
        if parameter is embeddings:
            parameter.normal_(std=0.5 / scale)
        elif parameter.dim() > 1:
            parameter.normal_(std=1.5 * min(parameter.shape) ** -0.5)
        else:
            parameter.add_(torch.randn_like(parameter), alpha=0.2)


BlankLine = Literal["one", "two"]
TokenizerKind = Literal["bytes", "bytes_prefixed", "sentencepiece", "metaspace", "metaspace_first"]
PREFIXING: tuple[TokenizerKind, ...] = ("bytes_prefixed", "sentencepiece", "metaspace", "metaspace_first")
"""Tokenizers that begin every text they get with a blank."""


@cache
def _trained(kind: TokenizerKind, blank_line: BlankLine) -> Tokenizer:
    """BPE of 320 ids; the kind `bytes` does not split at words first: `:1` and `film\n` can be one token."""
    cues = [f"Text:a {word} film\nLabel:{label}" for word, label in (("good", 1), ("bad", 0), ("dull", 0))]
    lines = [f"Input: {place}\nOutput: {city}" for place, city in (("France", "Paris"), ("Spain", "Madrid"))]
    specials, alphabet = ["<pad>", "<s>", "</s>"], sorted(pre_tokenizers.ByteLevel.alphabet())
    if kind.startswith("bytes"):
        prefixed = kind == "bytes_prefixed"
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefixed, use_regex=prefixed)
        tokenizer.decoder = decoders.ByteLevel()
    else:
        tokenizer = Tokenizer(models.BPE(byte_fallback=True))
        specials, alphabet = [*specials, *(f"<0x{byte:02X}>" for byte in range(256))], list("\n▁")
        if kind == "sentencepiece":
            tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
            strip = [decoders.Fuse(), decoders.Strip(" ", 1, 0)]
            tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), *strip])
        else:
            scheme: Any = "first" if kind == "metaspace_first" else "always"
            tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
            tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme=scheme)])
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([*cues, *lines, *(["\n\n"] * 40 if blank_line == "one" else [])], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", BOS)])
    return tokenizer


def tiny_tokenizer(
    blank_line: BlankLine = "one",
    padding_side: Literal["left", "right"] = "right",
    kind: TokenizerKind = "bytes",
    begins: bool = True,
) -> PreTrainedTokenizerFast:
    """A real tokenizer of at most 320 ids that `begins` texts with <s>; a blank line is one token, or two newlines."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_trained(kind, blank_line).to_str()),
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        padding_side=padding_side,
        clean_up_tokenization_spaces=False,
    )
    if not begins:
        tokenizer.backend_tokenizer.post_processor = None  # type: ignore[assignment]
    return tokenizer


def save_tiny_model(folder: Path, shape: str = "llama", seed: int = 0, kind: TokenizerKind = "bytes") -> Path:
    """Write a tiny model and its tokenizer to `folder`, as `load_model` takes it."""
    tiny_model(shape, seed).save_pretrained(folder)
    tiny_tokenizer(kind=kind).save_pretrained(folder)
    return folder
