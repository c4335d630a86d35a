"""Transformers of text and sound: transformers, x-transformers."""

from __future__ import annotations

import importlib
from typing import Any

from benchmarks.strangers.stranger import Made, Stranger, numbers, on, seeded, tokens

COMMON = {
    "vocab_size": 90, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "pad_token_id": 0,
}  # fmt: skip
SMALL_D = {
    "vocab_size": 90, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 40, "decoder_ffn_dim": 40, "pad_token_id": 0,
}  # fmt: skip
TEXT: dict[str, tuple[str, dict[str, Any]]] = {
    "bert relu": ("BertModel", {**COMMON, "hidden_act": "relu", "intermediate_size": 40}),
    "bert gelu": ("BertModel", {**COMMON, "intermediate_size": 40}),
    "roberta relu": ("RobertaModel", {**COMMON, "hidden_act": "relu", "intermediate_size": 40}),
    "distilbert relu": (
        "DistilBertModel",
        {"vocab_size": 90, "activation": "relu", "hidden_dim": 40, "dim": 32, "n_layers": 2, "n_heads": 2},
    ),
    "electra relu": ("ElectraModel", {**COMMON, "hidden_act": "relu", "intermediate_size": 40}),
    "albert relu": (
        "AlbertModel",
        {**COMMON, "embedding_size": 16, "hidden_act": "relu", "intermediate_size": 40},
    ),
    "opt relu": ("OPTModel", {**COMMON, "ffn_dim": 40, "word_embed_proj_dim": 32}),
    "gpt_neox relu": ("GPTNeoXModel", {**COMMON, "hidden_act": "relu", "intermediate_size": 40}),
    "llama relu": ("LlamaModel", {**COMMON, "hidden_act": "relu", "intermediate_size": 40}),
    "llama silu": ("LlamaModel", {**COMMON, "intermediate_size": 40}),
    "mistral silu": ("MistralModel", {**COMMON, "intermediate_size": 40, "num_key_value_heads": 1}),
    "phi relu": ("PhiModel", {**COMMON, "hidden_act": "relu", "intermediate_size": 40}),
    "xlm_roberta relu": ("XLMRobertaModel", {**COMMON, "hidden_act": "relu", "intermediate_size": 40}),
    "nystromformer relu": (
        "NystromformerModel",
        {**COMMON, "hidden_act": "relu", "intermediate_size": 40, "num_landmarks": 4, "segment_means_seq_len": 12},
    ),
}
BOTH_WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "t5 relu": (
        "T5Model",
        {"vocab_size": 90, "d_model": 32, "d_kv": 8, "d_ff": 40, "num_layers": 2, "num_heads": 2},
    ),
    "bart relu": ("BartModel", {**SMALL_D, "activation_function": "relu"}),
    "m2m_100 relu": ("M2M100Model", {**SMALL_D}),
    "marian relu": ("MarianModel", {**SMALL_D, "activation_function": "relu", "decoder_start_token_id": 0}),
    "pegasus relu": ("PegasusModel", {**SMALL_D}),
}


def _text(kind: str, own: dict[str, Any]) -> Made:
    cls = getattr(importlib.import_module("transformers"), kind)
    return on(seeded(lambda: cls(cls.config_class(**own))), lambda seed: {"input_ids": tokens(6, 12, seed=seed)})


def _both_ways(kind: str, own: dict[str, Any]) -> Made:
    cls = getattr(importlib.import_module("transformers"), kind)
    model = seeded(lambda: cls(cls.config_class(**own)))
    return on(model, lambda s: {"input_ids": tokens(6, 12, seed=s), "decoder_input_ids": tokens(6, 5, seed=s + 9)})


def _wav2vec2() -> Made:
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    config = Wav2Vec2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=40, hidden_act="relu",
        feat_extract_activation="relu", conv_dim=(16, 16), conv_stride=(5, 2), conv_kernel=(10, 3),
        num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2, apply_spec_augment=False,
    )  # fmt: skip
    return on(seeded(lambda: Wav2Vec2Model(config)), lambda seed: {"input_values": numbers(4, 400, seed=seed)})


def _decoder(own: dict[str, Any]) -> Made:
    from x_transformers import Decoder, TransformerWrapper

    model = seeded(
        lambda: TransformerWrapper(
            num_tokens=90, max_seq_len=16, attn_layers=Decoder(dim=32, depth=2, heads=2, attn_dim_head=8, **own)
        )
    )
    return on(model, lambda seed: (tokens(6, 12, seed=seed),))


def strangers() -> list[Stranger]:
    """All of them; axis −1, for features are last in every transformer."""
    found = [
        Stranger(f"transformers/{name}", "transformers", lambda k=kind, o=own: _text(k, o), -1)  # type: ignore[misc]
        for name, (kind, own) in TEXT.items()
    ]
    found += [
        Stranger(f"transformers/{name}", "transformers", lambda k=kind, o=own: _both_ways(k, o), -1)  # type: ignore[misc]
        for name, (kind, own) in BOTH_WAYS.items()
    ]
    found.append(Stranger("transformers/wav2vec2 relu", "transformers", _wav2vec2))
    found += [
        Stranger(f"x-transformers/{name}", "x_transformers", lambda o=own: _decoder(o), -1)  # type: ignore[misc]
        for name, own in {
            "gelu": {}, "squared relu": {"ff_relu_squared": True}, "gated": {"ff_glu": True},
            "sandwich": {"ff_relu_squared": True, "sandwich_norm": True},
        }.items()
    ]  # fmt: skip
    return found
