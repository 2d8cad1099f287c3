"""Small models of other people's making, from their configurations, without a download: `transformers`, `timm`, `torchvision`.

Each entry of :data:`ZOO` makes a model, a batch and the function of both that :func:`labs.monitor.stability_report` takes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from .extra import extra

VOCABULARY, LENGTH, BATCH = 99, 12, 4
Loss = Callable[..., Tensor]
Made = tuple[nn.Module, Any, Loss]


def _answer(output: Any, batch: Any) -> Tensor:
    return output.loss


def _tokens() -> Tensor:
    return torch.randint(3, VOCABULARY, (BATCH, LENGTH))


def _text(kind: str, task: str = "AutoModelForCausalLM", labels: str = "tokens", **settings: Any) -> Made:
    """A language model: labels are the tokens themselves, or one of two classes for each text."""
    transformers = extra("transformers")
    sizes = {"vocab_size": VOCABULARY, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    config = transformers.AutoConfig.for_model(kind, **sizes | settings)
    tokens = _tokens()
    batch = {"input_ids": tokens, "labels": tokens if labels == "tokens" else torch.randint(2, (BATCH,))}
    return getattr(transformers, task).from_config(config), batch, _answer


def _picture(kind: str, **settings: Any) -> Made:
    transformers = extra("transformers")
    config = transformers.AutoConfig.for_model(kind, num_labels=5, **settings)
    size = settings.get("image_size", 32)
    batch = {"pixel_values": torch.randn(BATCH, 3, size, size), "labels": torch.randint(5, (BATCH,))}
    return transformers.AutoModelForImageClassification.from_config(config), batch, _answer


def _whisper() -> Made:
    transformers = extra("transformers")
    config = transformers.WhisperConfig(
        vocab_size=VOCABULARY, num_mel_bins=8, d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=64, decoder_ffn_dim=64, max_source_positions=20, pad_token_id=0,
        bos_token_id=1, eos_token_id=2, decoder_start_token_id=1, max_target_positions=20, suppress_tokens=[],
        begin_suppress_tokens=[],
    )  # fmt: skip
    batch = {"input_features": torch.randn(BATCH, 8, 40), "labels": _tokens()}
    return transformers.WhisperForConditionalGeneration(config), batch, _answer


def _wav2vec2() -> Made:
    transformers = extra("transformers")
    config = transformers.Wav2Vec2Config(
        vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, num_labels=5,
        conv_dim=(16, 16, 16), conv_stride=(5, 2, 2), conv_kernel=(10, 3, 3), num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2, classifier_proj_size=32, mask_time_prob=0.0,
    )  # fmt: skip
    batch = {"input_values": torch.randn(BATCH, 800), "labels": torch.randint(5, (BATCH,))}
    return transformers.Wav2Vec2ForSequenceClassification(config), batch, _answer


def _clip() -> Made:
    transformers = extra("transformers")
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = sizes | {"vocab_size": VOCABULARY, "max_position_embeddings": 20, "bos_token_id": 1, "eos_token_id": 2}
    config = transformers.CLIPConfig(
        text_config=text, vision_config=sizes | {"image_size": 32, "patch_size": 8}, projection_dim=16
    )
    batch = {"input_ids": _tokens(), "pixel_values": torch.randn(BATCH, 3, 32, 32), "return_loss": True}
    return transformers.CLIPModel(config), batch, _answer


def _images(side: int = 32, batch: int = BATCH) -> tuple[Tensor, Tensor]:
    return torch.randn(batch, 3, side, side), torch.randint(5, (batch,))


def _timm(kind: str, side: int = 32, **settings: Any) -> Made:
    model = extra("timm").create_model(kind, pretrained=False, num_classes=5, **settings)
    return model, _images(side), nn.functional.cross_entropy


def _mlp_mixer() -> Made:
    mixer = extra("timm.models.mlp_mixer").MlpMixer
    model = mixer(num_classes=5, img_size=32, patch_size=8, num_blocks=2, embed_dim=32)
    return model, _images(), nn.functional.cross_entropy


def _torchvision(kind: str, side: int = 32, **settings: Any) -> Made:
    model = getattr(extra("torchvision.models"), kind)(weights=None, num_classes=5, **settings)
    return model, _images(side), nn.functional.cross_entropy


def _segmentation() -> Made:
    models = extra("torchvision.models.segmentation")
    model = models.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=5)
    target = torch.randint(5, (BATCH, 32, 32))
    return model, (torch.randn(BATCH, 3, 32, 32), target), lambda out, y: nn.functional.cross_entropy(out["out"], y)


_H = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
_HI = _H | {"intermediate_size": 64}
_D = {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
      "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "decoder_start_token_id": 1, "max_position_embeddings": 20}  # fmt: skip
_MASKED, _CLASSES, _S2S = "AutoModelForMaskedLM", "AutoModelForSequenceClassification", "AutoModelForSeq2SeqLM"
_V = _HI | {"image_size": 32, "patch_size": 8}

ZOO: dict[str, Callable[[], Made]] = {
    "GPT-2": partial(_text, "gpt2", n_embd=32, n_layer=2, n_head=2, n_positions=20),
    "GPT-Neo": partial(_text, "gpt_neo", hidden_size=32, num_layers=2, num_heads=2, attention_types=[[["global", "local"], 1]]),
    "GPT-NeoX": partial(_text, "gpt_neox", **_HI),
    "GPT-J": partial(_text, "gptj", n_embd=32, n_layer=2, n_head=2, rotary_dim=8),
    "OPT": partial(_text, "opt", **_H, ffn_dim=64, word_embed_proj_dim=32, max_position_embeddings=20),
    "BLOOM": partial(_text, "bloom", hidden_size=32, n_layer=2, n_head=2),
    "Falcon": partial(_text, "falcon", **_H),
    "MPT": partial(_text, "mpt", d_model=32, n_layers=2, n_heads=2, max_seq_len=20),
    "Llama": partial(_text, "llama", **_HI, num_key_value_heads=1),
    "Mistral": partial(_text, "mistral", **_HI, num_key_value_heads=1),
    "Mixtral": partial(_text, "mixtral", **_HI, num_key_value_heads=1, num_local_experts=2),
    "Qwen2": partial(_text, "qwen2", **_HI, num_key_value_heads=1),
    "Gemma": partial(_text, "gemma", **_HI, num_key_value_heads=1, head_dim=16),
    "Phi": partial(_text, "phi", **_HI),
    "Mamba": partial(_text, "mamba", hidden_size=32, num_hidden_layers=2, state_size=8),
    "XLNet": partial(_text, "xlnet", _CLASSES, "classes", d_model=32, n_layer=2, n_head=2, d_inner=64),
    "BERT": partial(_text, "bert", _MASKED, **_HI),
    "RoBERTa": partial(_text, "roberta", _MASKED, **_HI, max_position_embeddings=20),
    "ALBERT": partial(_text, "albert", _MASKED, **_HI, embedding_size=16),
    "DistilBERT": partial(_text, "distilbert", _MASKED, dim=32, n_layers=2, n_heads=2, hidden_dim=64),
    "ELECTRA": partial(_text, "electra", _CLASSES, "classes", **_HI, embedding_size=16),
    "DeBERTa-v2": partial(_text, "deberta-v2", _CLASSES, "classes", **_HI, relative_attention=True, pos_att_type=["p2c", "c2p"]),
    "T5": partial(_text, "t5", _S2S, d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2, decoder_start_token_id=0),
    "BART": partial(_text, "bart", _S2S, **_D),
    "Pegasus": partial(_text, "pegasus", _S2S, **_D),
    "Whisper": _whisper,
    "wav2vec 2.0": _wav2vec2,
    "CLIP": _clip,
    "ViT": partial(_picture, "vit", **_V),
    "BEiT": partial(_picture, "beit", **_V),
    "Swin": partial(_picture, "swin", image_size=32, patch_size=2, embed_dim=16, depths=[1, 1], num_heads=[1, 2], window_size=4),
    "ConvNeXt": partial(_picture, "convnext", hidden_sizes=[8, 16, 32, 32], depths=[1, 1, 1, 1]),
    "SegFormer": partial(_picture, "segformer", hidden_sizes=[8, 16, 32, 32], depths=[1, 1, 1, 1], decoder_hidden_size=32),
    "MobileNet v2 (transformers)": partial(_picture, "mobilenet_v2", depth_multiplier=0.35),
    "timm ResNet-10t": partial(_timm, "resnet10t", 64),
    "timm EfficientNet-lite": partial(_timm, "efficientnet_lite0", 64),
    "timm MobileNet v3": partial(_timm, "mobilenetv3_small_050", 64),
    "timm MLP-Mixer": _mlp_mixer,
    "timm RegNet": partial(_timm, "regnetx_002", 64),
    "timm ViT": partial(_timm, "vit_tiny_patch16_224", img_size=32, patch_size=8, depth=3, embed_dim=48),
    "timm CaiT": partial(_timm, "cait_xxs24_224", img_size=32, patch_size=8, depth=3, embed_dim=48),
    "timm ConvNeXt": partial(_timm, "convnext_atto", 64),
    "timm PoolFormer": partial(_timm, "poolformer_s12", 64),
    "timm DenseNet": partial(_timm, "densenet121", 64, block_config=(2, 2, 2, 2), growth_rate=8),
    "torchvision ResNet-18": partial(_torchvision, "resnet18"),
    "torchvision MNASNet": partial(_torchvision, "mnasnet0_5", 64),
    "torchvision MobileNet v2": partial(_torchvision, "mobilenet_v2", 64),
    "torchvision ShuffleNet v2": partial(_torchvision, "shufflenet_v2_x0_5", 64),
    "torchvision SqueezeNet": partial(_torchvision, "squeezenet1_1", 64),
    "torchvision ViT": lambda: (
        extra("torchvision.models").VisionTransformer(32, 8, 2, 2, 32, 64, num_classes=5), _images(), nn.functional.cross_entropy
    ),
    "torchvision RegNet": partial(_torchvision, "regnet_x_400mf", 64),
    "torchvision LR-ASPP": _segmentation,
}  # fmt: skip


def loss_of(model: nn.Module, batch: Any, loss: Loss) -> Tensor:
    """The loss of one batch, as :func:`labs.monitor.stability_report` takes it."""
    if isinstance(batch, dict):
        return loss(model(**batch), batch)
    return loss(model(batch[0]), batch[1])
