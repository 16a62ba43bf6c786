"""PyTorch architectures built from `transformers` configs, small, without weights.

Each row: domain, model class, config class, what the config is told, inputs. The model class is the one a user
would convert: with its head, where there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tests.benchmarks.zoo.entries import Entry, Input, image

VOCABULARY = 512
LENGTH = 32
TOKENS = Input("tokens", (LENGTH,), limit=VOCABULARY)
MASK = Input("mask", (LENGTH,))
TEXT = {"input_ids": TOKENS, "attention_mask": MASK}
CAUSAL = {"input_ids": TOKENS}
AUDIO = {"input_values": Input("audio", (4000,))}
PIXELS = {"pixel_values": image(64)}

WIDE = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
BERT = {**WIDE, "vocab_size": VOCABULARY, "max_position_embeddings": 64}
PATCHES = {**WIDE, "image_size": 64, "patch_size": 16}
LLAMA = {**BERT, "num_key_value_heads": 2}
SPEECH = {
    **WIDE,
    "conv_dim": (32, 32, 32),
    "conv_kernel": (10, 3, 3),
    "conv_stride": (5, 4, 4),
    "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "classifier_proj_size": 32,
    "vocab_size": 32,
}
RESNET = {"embedding_size": 16, "hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 2, 1], "layer_type": "basic"}
DETR = {
    "use_timm_backbone": False,
    "use_pretrained_backbone": False,
    "backbone": None,
    "d_model": 64,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 128,
    "decoder_ffn_dim": 128,
    "num_queries": 12,
    "num_labels": 10,
}
RT_DETR = {
    "d_model": 32,
    "encoder_hidden_dim": 32,
    "encoder_in_channels": [32, 48, 64],
    "decoder_in_channels": [32, 32, 32],
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "num_queries": 20,
    "num_denoising": 0,
    "num_labels": 10,
}
SEQ2SEQ = {
    "vocab_size": VOCABULARY,
    "d_model": 64,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 128,
    "decoder_ffn_dim": 128,
    "max_position_embeddings": 64,
}
BOTH = {"input_ids": TOKENS, "decoder_input_ids": Input("tokens", (8,), limit=VOCABULARY)}

Row = tuple[str, str, str, Mapping[str, Any], Mapping[str, Input]]

TEXT_ROWS: dict[str, Row] = {
    "bert": ("text", "BertForSequenceClassification", "BertConfig", BERT, TEXT),
    "distilbert": (
        "text",
        "DistilBertForSequenceClassification",
        "DistilBertConfig",
        {"vocab_size": VOCABULARY, "dim": 64, "n_layers": 2, "n_heads": 4, "hidden_dim": 128},
        TEXT,
    ),
    "roberta": ("text", "RobertaForSequenceClassification", "RobertaConfig", BERT, TEXT),
    "albert": ("text", "AlbertForSequenceClassification", "AlbertConfig", {**BERT, "embedding_size": 32}, TEXT),
    "electra": ("text", "ElectraForSequenceClassification", "ElectraConfig", {**BERT, "embedding_size": 32}, TEXT),
    "mobilebert": (
        "text",
        "MobileBertForSequenceClassification",
        "MobileBertConfig",
        {**BERT, "embedding_size": 32, "intra_bottleneck_size": 32, "num_feedforward_networks": 2},
        TEXT,
    ),
    "squeezebert": (
        "text",
        "SqueezeBertForSequenceClassification",
        "SqueezeBertConfig",
        {**BERT, "embedding_size": 64},
        TEXT,
    ),
    "deberta": (
        "text",
        "DebertaForSequenceClassification",
        "DebertaConfig",
        {**BERT, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
        TEXT,
    ),
    "deberta_v2": (
        "text",
        "DebertaV2ForSequenceClassification",
        "DebertaV2Config",
        {**BERT, "relative_attention": True, "position_buckets": 16, "pos_att_type": ["p2c", "c2p"]},
        TEXT,
    ),
    "mpnet": ("text", "MPNetForSequenceClassification", "MPNetConfig", BERT, TEXT),
    "funnel": (
        "text",
        "FunnelForSequenceClassification",
        "FunnelConfig",
        {"vocab_size": VOCABULARY, "block_sizes": [1, 1], "d_model": 64, "n_head": 4, "d_head": 16, "d_inner": 128},
        TEXT,
    ),
    "layoutlm": (
        "text",
        "LayoutLMForTokenClassification",
        "LayoutLMConfig",
        BERT,
        {"input_ids": TOKENS, "bbox": Input("boxes", (LENGTH, 4)), "attention_mask": MASK},
    ),
    "fnet": ("text", "FNetForSequenceClassification", "FNetConfig", BERT, CAUSAL),
    "convbert": ("text", "ConvBertForSequenceClassification", "ConvBertConfig", {**BERT, "embedding_size": 64}, TEXT),
    "nystromformer": (
        "text",
        "NystromformerForSequenceClassification",
        "NystromformerConfig",
        {**BERT, "segment_means_seq_len": LENGTH, "num_landmarks": 8, "conv_kernel_size": 7},
        CAUSAL,
    ),
    "roformer": ("text", "RoFormerForSequenceClassification", "RoFormerConfig", {**BERT, "embedding_size": 64}, TEXT),
    "modernbert": (
        "text",
        "ModernBertForSequenceClassification",
        "ModernBertConfig",
        {**BERT, "local_attention": 16, "pad_token_id": 0, "cls_token_id": 1, "sep_token_id": 2},
        TEXT,
    ),
    "ernie": ("text", "ErnieForSequenceClassification", "ErnieConfig", BERT, TEXT),
    "megatron_bert": ("text", "MegatronBertForSequenceClassification", "MegatronBertConfig", BERT, TEXT),
    "rembert": (
        "text",
        "RemBertForSequenceClassification",
        "RemBertConfig",
        {**BERT, "input_embedding_size": 32, "output_embedding_size": 32},
        TEXT,
    ),
    "xlnet": (
        "text",
        "XLNetForSequenceClassification",
        "XLNetConfig",
        {"vocab_size": VOCABULARY, "d_model": 64, "n_layer": 2, "n_head": 4, "d_inner": 128},
        TEXT,
    ),
    "bert_qa": (
        "text",
        "BertForQuestionAnswering",
        "BertConfig",
        BERT,
        {**TEXT, "token_type_ids": Input("types", (LENGTH,))},
    ),
    "bert_encoder": ("text", "BertModel", "BertConfig", BERT, TEXT),
}

VISION_ROWS: dict[str, Row] = {
    "vit": ("vision", "ViTForImageClassification", "ViTConfig", PATCHES, PIXELS),
    "deit": ("vision", "DeiTForImageClassificationWithTeacher", "DeiTConfig", PATCHES, PIXELS),
    "beit": (
        "vision",
        "BeitForImageClassification",
        "BeitConfig",
        {**PATCHES, "use_relative_position_bias": True, "layer_scale_init_value": 0.1},
        PIXELS,
    ),
    "swin": (
        "vision",
        "SwinForImageClassification",
        "SwinConfig",
        {"image_size": 64, "patch_size": 4, "embed_dim": 32, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4},
        PIXELS,
    ),
    "swinv2": (
        "vision",
        "Swinv2ForImageClassification",
        "Swinv2Config",
        {"image_size": 64, "patch_size": 4, "embed_dim": 32, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4},
        PIXELS,
    ),
    "convnext": (
        "vision",
        "ConvNextForImageClassification",
        "ConvNextConfig",
        {"hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 2, 1]},
        PIXELS,
    ),
    "convnextv2": (
        "vision",
        "ConvNextV2ForImageClassification",
        "ConvNextV2Config",
        {"hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 2, 1]},
        PIXELS,
    ),
    "resnet": ("vision", "ResNetForImageClassification", "ResNetConfig", RESNET, PIXELS),
    "regnet": (
        "vision",
        "RegNetForImageClassification",
        "RegNetConfig",
        {"embedding_size": 16, "hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 2, 1], "groups_width": 8},
        PIXELS,
    ),
    "mobilenet_v1": ("vision", "MobileNetV1ForImageClassification", "MobileNetV1Config", {"image_size": 64}, PIXELS),
    "mobilenet_v2": ("vision", "MobileNetV2ForImageClassification", "MobileNetV2Config", {"image_size": 64}, PIXELS),
    "mobilevit": (
        "vision",
        "MobileViTForImageClassification",
        "MobileViTConfig",
        {"image_size": 64, "hidden_sizes": [32, 48, 64], "neck_hidden_sizes": [8, 16, 24, 32, 48, 64, 128]},
        PIXELS,
    ),
    "mobilevitv2": (
        "vision",
        "MobileViTV2ForImageClassification",
        "MobileViTV2Config",
        {"image_size": 128, "width_multiplier": 0.5},
        {"pixel_values": image(128)},
    ),
    "efficientnet": (
        "vision",
        "EfficientNetForImageClassification",
        "EfficientNetConfig",
        {"image_size": 64, "width_coefficient": 0.5, "depth_coefficient": 0.5, "hidden_dim": 640},
        PIXELS,
    ),
    "levit": (
        "vision",
        "LevitForImageClassification",
        "LevitConfig",
        {"image_size": 128},
        {"pixel_values": image(128)},
    ),
    "poolformer": (
        "vision",
        "PoolFormerForImageClassification",
        "PoolFormerConfig",
        {"hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 2, 1]},
        PIXELS,
    ),
    "cvt": (
        "vision",
        "CvtForImageClassification",
        "CvtConfig",
        {"embed_dim": [16, 32, 64], "num_heads": [1, 2, 4], "depth": [1, 2, 3]},
        PIXELS,
    ),
    "pvt": (
        "vision",
        "PvtForImageClassification",
        "PvtConfig",
        {
            "image_size": 64,
            "hidden_sizes": [16, 32, 48, 64],
            "depths": [1, 1, 2, 1],
            "num_attention_heads": [1, 2, 4, 4],
        },
        PIXELS,
    ),
    "pvt_v2": (
        "vision",
        "PvtV2ForImageClassification",
        "PvtV2Config",
        {
            "image_size": 64,
            "hidden_sizes": [16, 32, 48, 64],
            "depths": [1, 1, 2, 1],
            "num_attention_heads": [1, 2, 4, 4],
        },
        PIXELS,
    ),
    "dinov2": ("vision", "Dinov2ForImageClassification", "Dinov2Config", PATCHES, PIXELS),
    "focalnet": (
        "vision",
        "FocalNetForImageClassification",
        "FocalNetConfig",
        {"image_size": 64, "embed_dim": 32, "depths": [1, 1], "hidden_sizes": [32, 64], "focal_levels": [2, 2]},
        PIXELS,
    ),
    "bit": (
        "vision",
        "BitForImageClassification",
        "BitConfig",
        {"embedding_size": 32, "hidden_sizes": [32, 64, 64, 128], "depths": [1, 1, 1, 1], "num_groups": 8},
        PIXELS,
    ),
    "hiera": (
        "vision",
        "HieraForImageClassification",
        "HieraConfig",
        {
            "image_size": [64, 64],
            "embed_dim": 32,
            "depths": [1, 1, 2, 1],
            "num_heads": [1, 2, 4, 4],
        },
        PIXELS,
    ),
    "textnet": (
        "vision",
        "TextNetForImageClassification",
        "TextNetConfig",
        {"image_size": [64, 64]},
        PIXELS,
    ),
    "swiftformer": (
        "vision",
        "SwiftFormerForImageClassification",
        "SwiftFormerConfig",
        {"depths": [1, 1, 2, 1]},
        PIXELS,
    ),
    "vit_msn": ("vision", "ViTMSNForImageClassification", "ViTMSNConfig", PATCHES, PIXELS),
    "swin2sr": (
        "vision",
        "Swin2SRForImageSuperResolution",
        "Swin2SRConfig",
        {"image_size": 32, "embed_dim": 32, "depths": [2, 2], "num_heads": [2, 4], "window_size": 8},
        {"pixel_values": image(32)},
    ),
}

DENSE_ROWS: dict[str, Row] = {
    "segformer": (
        "segmentation",
        "SegformerForSemanticSegmentation",
        "SegformerConfig",
        {
            "hidden_sizes": [16, 32, 48, 64],
            "depths": [1, 1, 1, 1],
            "num_attention_heads": [1, 2, 4, 4],
            "decoder_hidden_size": 32,
        },
        PIXELS,
    ),
    "mobilevit_deeplab": (
        "segmentation",
        "MobileViTForSemanticSegmentation",
        "MobileViTConfig",
        {"image_size": 64, "hidden_sizes": [32, 48, 64], "neck_hidden_sizes": [8, 16, 24, 32, 48, 64, 128]},
        PIXELS,
    ),
    "mobilenet_v2_deeplab": (
        "segmentation",
        "MobileNetV2ForSemanticSegmentation",
        "MobileNetV2Config",
        {"image_size": 64, "output_stride": 16},
        PIXELS,
    ),
    "upernet": ("segmentation", "UperNetForSemanticSegmentation", "UperNetConfig", {"hidden_size": 32}, PIXELS),
    "dpt": (
        "depth",
        "DPTForDepthEstimation",
        "DPTConfig",
        {
            **PATCHES,
            "num_hidden_layers": 4,
            "backbone_out_indices": [0, 1, 2, 3],
            "neck_hidden_sizes": [16, 32, 48, 64],
            "fusion_hidden_size": 32,
        },
        PIXELS,
    ),
    "glpn": (
        "depth",
        "GLPNForDepthEstimation",
        "GLPNConfig",
        {
            "hidden_sizes": [16, 32, 48, 64],
            "depths": [1, 1, 1, 1],
            "num_attention_heads": [1, 2, 4, 4],
            "decoder_hidden_size": 16,
        },
        PIXELS,
    ),
    "depth_anything": (
        "depth",
        "DepthAnythingForDepthEstimation",
        "DepthAnythingConfig",
        {"reassemble_hidden_size": 32, "neck_hidden_sizes": [16, 32, 48, 64], "fusion_hidden_size": 32},
        {"pixel_values": image(56)},
    ),
    "yolos": (
        "detection",
        "YolosForObjectDetection",
        "YolosConfig",
        {**WIDE, "image_size": [64, 64], "patch_size": 16, "num_detection_tokens": 10, "num_labels": 10},
        PIXELS,
    ),
    "detr": ("detection", "DetrForObjectDetection", "DetrConfig", DETR, PIXELS),
    "conditional_detr": ("detection", "ConditionalDetrForObjectDetection", "ConditionalDetrConfig", DETR, PIXELS),
    "deformable_detr": ("detection", "DeformableDetrForObjectDetection", "DeformableDetrConfig", DETR, PIXELS),
    "rt_detr": ("detection", "RTDetrForObjectDetection", "RTDetrConfig", RT_DETR, PIXELS),
    "vitpose": (
        "keypoints",
        "VitPoseForPoseEstimation",
        "VitPoseConfig",
        {},
        {"pixel_values": Input("image", (3, 64, 48))},
    ),
}

AUDIO_ROWS: dict[str, Row] = {
    "wav2vec2": ("audio", "Wav2Vec2ForCTC", "Wav2Vec2Config", SPEECH, AUDIO),
    "wav2vec2_keyword": ("audio", "Wav2Vec2ForSequenceClassification", "Wav2Vec2Config", SPEECH, AUDIO),
    "hubert": ("audio", "HubertForSequenceClassification", "HubertConfig", SPEECH, AUDIO),
    "wavlm": ("audio", "WavLMForSequenceClassification", "WavLMConfig", SPEECH, AUDIO),
    "unispeech_sat": ("audio", "UniSpeechSatForSequenceClassification", "UniSpeechSatConfig", SPEECH, AUDIO),
    "sew": ("audio", "SEWForCTC", "SEWConfig", SPEECH, AUDIO),
    "data2vec_audio": (
        "audio",
        "Data2VecAudioForCTC",
        "Data2VecAudioConfig",
        {**SPEECH, "num_conv_pos_embeddings": 2, "conv_pos_kernel_size": 5},
        AUDIO,
    ),
    "ast": (
        "audio",
        "ASTForAudioClassification",
        "ASTConfig",
        {**WIDE, "max_length": 64, "num_mel_bins": 32},
        {"input_values": Input("features", (64, 32))},
    ),
    "whisper_encoder": (
        "audio",
        "WhisperForAudioClassification",
        "WhisperConfig",
        {**SEQ2SEQ, "num_mel_bins": 16, "max_source_positions": 50, "max_target_positions": 32},
        {"input_features": Input("features", (16, 100))},
    ),
}

DECODER_ROWS: dict[str, Row] = {
    "gpt2": (
        "decoder",
        "GPT2LMHeadModel",
        "GPT2Config",
        {"vocab_size": VOCABULARY, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 64},
        CAUSAL,
    ),
    "opt": (
        "decoder",
        "OPTForCausalLM",
        "OPTConfig",
        {
            "vocab_size": VOCABULARY,
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "ffn_dim": 128,
            "max_position_embeddings": 64,
            "word_embed_proj_dim": 64,
        },
        CAUSAL,
    ),
    "gpt_neo": (
        "decoder",
        "GPTNeoForCausalLM",
        "GPTNeoConfig",
        {
            "vocab_size": VOCABULARY,
            "hidden_size": 64,
            "num_layers": 2,
            "num_heads": 4,
            "attention_types": [[["global", "local"], 1]],
            "max_position_embeddings": 64,
            "window_size": 16,
        },
        CAUSAL,
    ),
    "gpt_neox": ("decoder", "GPTNeoXForCausalLM", "GPTNeoXConfig", BERT, CAUSAL),
    "llama": ("decoder", "LlamaForCausalLM", "LlamaConfig", LLAMA, CAUSAL),
    "qwen2": ("decoder", "Qwen2ForCausalLM", "Qwen2Config", LLAMA, CAUSAL),
    "mistral": ("decoder", "MistralForCausalLM", "MistralConfig", {**LLAMA, "sliding_window": 16}, CAUSAL),
    "phi": ("decoder", "PhiForCausalLM", "PhiConfig", BERT, CAUSAL),
    "gemma": ("decoder", "GemmaForCausalLM", "GemmaConfig", {**LLAMA, "head_dim": 16}, CAUSAL),
    "bloom": (
        "decoder",
        "BloomForCausalLM",
        "BloomConfig",
        {"vocab_size": VOCABULARY, "hidden_size": 64, "n_layer": 2, "n_head": 4},
        CAUSAL,
    ),
    "t5": (
        "decoder",
        "T5ForConditionalGeneration",
        "T5Config",
        {"vocab_size": VOCABULARY, "d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4},
        BOTH,
    ),
    "bart": ("decoder", "BartForConditionalGeneration", "BartConfig", SEQ2SEQ, BOTH),
    "marian": (
        "decoder",
        "MarianMTModel",
        "MarianConfig",
        {**SEQ2SEQ, "pad_token_id": 0, "decoder_start_token_id": 0, "decoder_vocab_size": VOCABULARY},
        BOTH,
    ),
}

MULTI_ROWS: dict[str, Row] = {
    "clip": (
        "multimodal",
        "CLIPModel",
        "CLIPConfig",
        {"text_config": BERT, "vision_config": PATCHES, "projection_dim": 32},
        {"input_ids": TOKENS, "pixel_values": image(64)},
    ),
    "siglip": (
        "multimodal",
        "SiglipModel",
        "SiglipConfig",
        {"text_config": {**BERT, "max_position_embeddings": LENGTH}, "vision_config": PATCHES},
        {"input_ids": TOKENS, "pixel_values": image(64)},
    ),
    "vilt": (
        "multimodal",
        "ViltForQuestionAnswering",
        "ViltConfig",
        {**BERT, **PATCHES, "num_labels": 10},
        {"input_ids": TOKENS, "pixel_values": image(64)},
    ),
    "patchtst": (
        "series",
        "PatchTSTForPrediction",
        "PatchTSTConfig",
        {
            "num_input_channels": 4,
            "context_length": 32,
            "patch_length": 4,
            "patch_stride": 4,
            "d_model": 32,
            "num_attention_heads": 4,
            "num_hidden_layers": 2,
            "ffn_dim": 64,
            "prediction_length": 8,
            "loss": "mse",
        },
        {"past_values": Input("series", (32, 4))},
    ),
    "patchtsmixer": (
        "series",
        "PatchTSMixerForPrediction",
        "PatchTSMixerConfig",
        {
            "num_input_channels": 4,
            "context_length": 32,
            "patch_length": 4,
            "patch_stride": 4,
            "d_model": 16,
            "num_layers": 2,
            "prediction_length": 8,
            "loss": "mse",
        },
        {"past_values": Input("series", (32, 4))},
    ),
}

ROWS = {**TEXT_ROWS, **VISION_ROWS, **DENSE_ROWS, **AUDIO_ROWS, **DECODER_ROWS, **MULTI_ROWS}


def _backbone(config: str, **values: Any) -> Callable[[], Any]:
    """A config made late: importing transformers takes seconds."""

    def make() -> Any:
        import transformers

        return getattr(transformers, config)(**values)

    return make


# Configs that hold another config.
BACKBONES: dict[str, Mapping[str, Callable[[], Any]]] = {
    "upernet": {
        "backbone_config": _backbone(
            "ConvNextConfig",
            hidden_sizes=[16, 32, 48, 64],
            depths=[1, 1, 2, 1],
            out_features=["stage1", "stage2", "stage3", "stage4"],
        )
    },
    "depth_anything": {
        "backbone_config": _backbone(
            "Dinov2Config",
            hidden_size=32,
            num_hidden_layers=4,
            num_attention_heads=4,
            image_size=56,
            patch_size=14,
            out_indices=[1, 2, 3, 4],
            apply_layernorm=True,
            reshape_hidden_states=False,
        )
    },
    "detr": {"backbone_config": _backbone("ResNetConfig", **RESNET, out_features=["stage4"])},
    "conditional_detr": {"backbone_config": _backbone("ResNetConfig", **RESNET, out_features=["stage4"])},
    "deformable_detr": {
        "backbone_config": _backbone("ResNetConfig", **RESNET, out_features=["stage2", "stage3", "stage4"])
    },
    "rt_detr": {
        "backbone_config": _backbone("RTDetrResNetConfig", **RESNET, out_features=["stage2", "stage3", "stage4"])
    },
    "vitpose": {
        "backbone_config": _backbone(
            "VitPoseBackboneConfig",
            image_size=[64, 48],
            patch_size=[16, 16],
            hidden_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            out_indices=[2],
        )
    },
}


def _builder(name: str, model: str, config: str, values: Mapping[str, Any]) -> Callable[[], Any]:
    def build() -> Any:
        import torch
        import transformers

        torch.manual_seed(0)
        nested = {key: make() for key, make in BACKBONES.get(name, {}).items()}
        return getattr(transformers, model)(getattr(transformers, config)(**values, **nested)).eval()

    return build


def entries() -> list[Entry]:
    """All of them."""
    return [
        Entry(name, "torch", domain, _builder(name, model, config, values), inputs)
        for name, (domain, model, config, values, inputs) in ROWS.items()
    ]
