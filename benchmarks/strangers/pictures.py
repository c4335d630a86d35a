"""Networks of images and volumes: transformers' convolutional ones, MONAI, diffusers, segmentation models, timm."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from torch import nn

from benchmarks.strangers.stranger import Made, Stranger, numbers, on, seeded

SMALL_UNET = {"spatial_dims": 2, "in_channels": 1, "out_channels": 2}
MONAI: dict[str, tuple[str, dict[str, Any], tuple[int, ...]]] = {
    "UNet": ("UNet", {**SMALL_UNET, "channels": (4, 8, 16), "strides": (2, 2), "num_res_units": 1}, (1, 32, 32)),
    "UNet relu": (
        "UNet",
        {**SMALL_UNET, "channels": (4, 8, 16), "strides": (2, 2), "act": "relu"},
        (1, 32, 32),
    ),
    "BasicUNet": ("BasicUNet", {**SMALL_UNET, "features": (4, 4, 8, 8, 16, 4)}, (1, 32, 32)),
    "AttentionUnet": ("AttentionUnet", {**SMALL_UNET, "channels": (4, 8, 16), "strides": (2, 2)}, (1, 32, 32)),
    "SegResNet": ("SegResNet", {**SMALL_UNET, "init_filters": 8}, (1, 32, 32)),
    "VNet": ("VNet", {"spatial_dims": 2, "act": ("elu", {"inplace": False})}, (1, 32, 32)),
    "VNet relu": ("VNet", {"spatial_dims": 2, "act": "relu"}, (1, 32, 32)),
    "HighResNet": ("HighResNet", {**SMALL_UNET}, (1, 24, 24)),
    "DenseNet": (
        "DenseNet",
        {**SMALL_UNET, "init_features": 8, "growth_rate": 4, "block_config": (2, 2)},
        (1, 32, 32),
    ),
    "ResNet": (
        "ResNet",
        {
            "block": "basic", "layers": [1, 1, 1, 1], "block_inplanes": [4, 8, 8, 16], "spatial_dims": 2,
            "n_input_channels": 1, "num_classes": 3,
        },
        (1, 32, 32),
    ),
    "SEResNet50": ("SEResNet50", {"spatial_dims": 2, "in_channels": 3, "num_classes": 3}, (3, 32, 32)),
    "AutoEncoder": ("AutoEncoder", {**SMALL_UNET, "channels": (4, 8), "strides": (2, 2)}, (1, 32, 32)),
    "DynUNet": (
        "DynUNet",
        {**SMALL_UNET, "kernel_size": [3, 3, 3], "strides": [1, 2, 2], "upsample_kernel_size": [2, 2],
         "filters": [4, 8, 16]},
        (1, 32, 32),
    ),
    "EfficientNetBN": (
        "EfficientNetBN",
        {"model_name": "efficientnet-b0", "pretrained": False, "spatial_dims": 2, "num_classes": 3},
        (3, 32, 32),
    ),
    "UNETR": (
        "UNETR",
        {"in_channels": 1, "out_channels": 2, "img_size": 32, "spatial_dims": 2, "feature_size": 4, "hidden_size": 24,
         "mlp_dim": 32, "num_heads": 2},
        (1, 32, 32),
    ),
    "UNet 3-D": ("UNet", {**SMALL_UNET, "spatial_dims": 3, "channels": (4, 8), "strides": (2,)}, (1, 16, 16, 16)),
}  # fmt: skip
VISION: dict[str, tuple[str, dict[str, Any]]] = {
    "resnet": (
        "ResNetModel",
        {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"},
    ),
    "regnet": (
        "RegNetModel",
        {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "groups_width": 4},
    ),
    "mobilenet_v1": ("MobileNetV1Model", {"depth_multiplier": 0.25, "image_size": 32}),
    "mobilenet_v2": ("MobileNetV2Model", {"depth_multiplier": 0.35, "image_size": 32}),
    "vit relu": (
        "ViTModel",
        {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 40, "image_size": 32,
         "patch_size": 8, "hidden_act": "relu"},
    ),
    "convnext relu": (
        "ConvNextModel",
        {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2, "hidden_act": "relu", "image_size": 32},
    ),
    "segformer relu": (
        "SegformerModel",
        {"hidden_sizes": [8, 16], "depths": [1, 1], "num_encoder_blocks": 2, "num_attention_heads": [1, 2],
         "sr_ratios": [2, 1], "patch_sizes": [7, 3], "strides": [4, 2], "mlp_ratios": [2, 2], "hidden_act": "relu"},
    ),
    "poolformer gelu": ("PoolFormerModel", {"hidden_sizes": [8, 16], "depths": [1, 1], "num_encoder_blocks": 2,
                                     "patch_sizes": [7, 3], "strides": [4, 2], "padding": [2, 1]}),
}  # fmt: skip
UNIT_AXES = {"segformer relu": -1, "SEResNet50": 1}
"""Where the layer that ran last is of another kind than what the activation sees: a gate beside the way, a view."""
TIMM = (
    "resnet18", "seresnet18", "densenet121", "vgg11_bn", "mnasnet_small", "ghostnet_050", "regnetx_002", "repvgg_a0",
    "mobilenetv2_035", "mobilenetv3_small_050", "lcnet_035", "convnext_atto",
)  # fmt: skip


def _images(build: Callable[[], nn.Module], shape: tuple[int, ...], samples: int = 4) -> Made:
    return on(seeded(build), lambda seed: (numbers(samples, *shape, seed=seed),))


def _monai(name: str) -> Made:
    kind, own, shape = MONAI[name]
    return _images(lambda: getattr(importlib.import_module("monai.networks.nets"), kind)(**own), shape)  # type: ignore[no-any-return]


def _vision(name: str) -> Made:
    kind, own = VISION[name]
    cls = getattr(importlib.import_module("transformers"), kind)
    model = seeded(lambda: cls(cls.config_class(**own)))
    return on(model, lambda seed: {"pixel_values": numbers(4, 3, 32, 32, seed=seed)})


def _timm(name: str) -> Made:
    create = importlib.import_module("timm").create_model
    return _images(lambda: create(name, num_classes=5), (3, 64, 64))  # type: ignore[no-any-return]


def _segmentation(name: str) -> Made:
    kind = getattr(importlib.import_module("segmentation_models_pytorch"), name)
    return _images(lambda: kind("resnet18", encoder_weights=None, in_channels=1, classes=2), (1, 64, 64))  # type: ignore[no-any-return]


def _diffusion() -> Made:
    from diffusers import UNet2DModel

    model = seeded(
        lambda: UNet2DModel(
            sample_size=16, in_channels=1, out_channels=1, block_out_channels=(8, 8), norm_num_groups=4,
            down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"),
            layers_per_block=1,
        )
    )  # fmt: skip
    return on(model, lambda seed: {"sample": numbers(4, 1, 16, 16, seed=seed), "timestep": 7})


def _autoencoder() -> Made:
    from diffusers import AutoencoderKL

    own = {"block_out_channels": (8, 8), "norm_num_groups": 4, "layers_per_block": 1, "latent_channels": 2}
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    model = seeded(lambda: AutoencoderKL(in_channels=1, out_channels=1, **own, **blocks))
    return on(model, lambda seed: {"sample": numbers(4, 1, 16, 16, seed=seed)})


def strangers() -> list[Stranger]:
    """All of them."""
    found = [
        Stranger(f"monai/{name}", "monai", lambda n=name: _monai(n), UNIT_AXES.get(name))  # type: ignore[misc]
        for name in MONAI
    ]
    found += [
        Stranger(f"transformers/{name}", "transformers", lambda n=name: _vision(n), UNIT_AXES.get(name))  # type: ignore[misc]
        for name in VISION
    ]
    found += [
        Stranger("diffusers/UNet2DModel", "diffusers", _diffusion, 1),
        Stranger("diffusers/AutoencoderKL", "diffusers", _autoencoder),
    ]
    found += [Stranger(f"timm/{name}", "timm", lambda n=name: _timm(n)) for name in TIMM]  # type: ignore[misc]
    found += [
        Stranger(f"segmentation_models/{name}", "segmentation_models_pytorch", lambda n=name: _segmentation(n))  # type: ignore[misc]
        for name in ("Unet", "FPN", "Linknet", "PSPNet")
    ]
    return found
