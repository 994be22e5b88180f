"""Tiny random models of the real classes that give masks and boxes, as their folders.

A maker a class, `(folder) -> folder`: weights drawn with a fixed seed, and the files of
its processor and tokenizer, as a published model has them. Every byte is a token.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SIDE = 64  # pixels of every model's square
Maker = Callable[[Path], Path]


def _saved(make: Callable[[], Any], folder: Path, *processors: Any) -> Path:
    """A model drawn with one seed, in float32, beside its processors."""
    import torch

    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = make()
        for tensor in model.state_dict().values():
            # Biases and norms of a new model are 0 and 1, whatever reads them.
            if tensor.is_floating_point():
                tensor.add_(torch.randn_like(tensor), alpha=0.02)
        for name, tensor in model.state_dict().items():
            # OWL's scores would be 0 or 1, its boxes the same.
            if "class_head.logit_" in name or "box_head.dense2" in name:
                tensor.mul_(0.1).add_(name.endswith("shift.bias"))
        model.save_pretrained(folder)
    for processor in processors:
        processor.save_pretrained(folder)
    return folder


def _clip_tokenizer(length: int, pad: str = "<|endoftext|>") -> Any:
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTokenizer

    letters = sorted(ByteLevel.alphabet())
    words = [*letters, *(c + "</w>" for c in letters)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={word: i for i, word in enumerate(words)},
        merges=[],
        model_max_length=length,
        pad_token=pad,
    )


def _clip_text(tokenizer: Any, **sizes: int) -> dict[str, Any]:
    """The text tower of CLIP's descendants, 32 wide."""
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": tokenizer.model_max_length,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        **sizes,
    }


def _prompts(patch: int) -> dict[str, Any]:
    return {
        "hidden_size": 32,
        "image_size": SIDE,
        "patch_size": patch,
        "mask_input_channels": 4,
    }


_DECODER = {
    "hidden_size": 32,
    "mlp_dim": 64,
    "num_attention_heads": 2,
    "iou_head_hidden_dim": 32,
}


def _sam(prefix: str, folder: Path) -> Path:
    import transformers
    from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

    vision = {
        "hidden_size": 32,
        "output_channels": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": SIDE,
        "patch_size": 8,
        "window_size": 4,
        "global_attn_indexes": [1],
        "num_pos_feats": 16,
        "mlp_dim": 64,
        "initializer_range": 0.02,  # 1e-10 by default: masks of nothing
    }
    decoder = {**_DECODER, **({"vit_dim": 32} if prefix == "SamHQ" else {})}
    config = getattr(transformers, f"{prefix}Config")(
        vision_config=vision,
        prompt_encoder_config=_prompts(8),
        mask_decoder_config=decoder,
    )
    processor = SamImageProcessorPil(
        size={"longest_edge": SIDE},
        pad_size={"height": SIDE, "width": SIDE},
        mask_size={"longest_edge": SIDE // 4},
        mask_pad_size={"height": SIDE // 4, "width": SIDE // 4},
    )
    model = getattr(transformers, f"{prefix}Model")
    return _saved(lambda: model(config), folder, processor)


def sam(folder: Path) -> Path:
    """Segment Anything."""
    return _sam("Sam", folder)


def sam_hq(folder: Path) -> Path:
    """Segment Anything in high quality."""
    return _sam("SamHQ", folder)


def _sam2_parts() -> dict[str, Any]:
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 8,
        "image_size": [SIDE, SIDE],
        "blocks_per_stage": [1, 1, 2, 1],
        "embed_dim_per_stage": [8, 16, 32, 64],
        "num_attention_heads_per_stage": [1, 1, 2, 2],
        "window_size_per_stage": [4, 4, 4, 2],
        "global_attention_blocks": [3],  # never the first of a stage
        "window_positional_embedding_background_size": [4, 4],
    }
    vision = {
        "model_type": "sam2_vision_model",
        "backbone_config": backbone,
        "backbone_channel_list": [64, 32, 16, 8],
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        "fpn_hidden_size": 32,
    }
    return {
        "vision_config": vision,
        "prompt_encoder_config": _prompts(16),
        "mask_decoder_config": _DECODER,
    }


# What follows objects through a video, which the engine has no use for.
_MEMORY = {
    "memory_attention_hidden_size": 32,
    "memory_attention_num_layers": 1,
    "memory_attention_feed_forward_hidden_size": 64,
    "memory_encoder_hidden_size": 32,
    "memory_encoder_output_channels": 8,
    "mask_downsampler_embed_dim": 32,
    "memory_fuser_embed_dim": 32,
    "memory_fuser_intermediate_dim": 64,
}


def sam2(folder: Path) -> Path:
    """Segment Anything 2, of pictures."""
    from transformers import Sam2Config, Sam2Model

    config = Sam2Config(**_sam2_parts())
    return _saved(lambda: Sam2Model(config), folder)


def sam2_video(folder: Path) -> Path:
    """Segment Anything 2 as it is published: of videos."""
    from transformers import Sam2VideoConfig, Sam2VideoModel

    config = Sam2VideoConfig(**_sam2_parts(), **_MEMORY, image_size=SIDE)
    return _saved(lambda: Sam2VideoModel(config), folder)


def _sam3_vision() -> dict[str, Any]:
    return {
        "model_type": "sam3_vision_model",
        "backbone_config": {
            "model_type": "sam3_vit_model",
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": SIDE,
            "pretrain_image_size": SIDE,
            "patch_size": 8,
            "window_size": 4,
            "global_attn_indexes": [1],
        },
        "fpn_hidden_size": 32,
        "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
    }


def _sam3_tracker_parts() -> dict[str, Any]:
    return {
        "vision_config": _sam3_vision(),
        "prompt_encoder_config": _prompts(8),
        "mask_decoder_config": _DECODER,
    }


def _sam3_parts(tokenizer: Any) -> dict[str, Any]:
    width = {"hidden_size": 32, "num_attention_heads": 2}
    layer = {**width, "intermediate_size": 64}
    text = _clip_text(tokenizer, projection_dim=32)
    return {
        "vision_config": _sam3_vision(),
        "text_config": {"model_type": "clip_text_model", **text},
        "geometry_encoder_config": {**layer, "num_layers": 1},
        "detr_encoder_config": {**layer, "num_layers": 1},
        "detr_decoder_config": {**layer, "num_layers": 2, "num_queries": 10},
        "mask_decoder_config": width,
    }


def sam3_tracker(folder: Path) -> Path:
    """Segment Anything 3, the part that takes boxes."""
    from transformers import Sam3TrackerConfig, Sam3TrackerModel

    config = Sam3TrackerConfig(**_sam3_tracker_parts())
    return _saved(lambda: Sam3TrackerModel(config), folder)


def sam3(folder: Path) -> Path:
    """Segment Anything 3, the part that takes concepts."""
    from transformers import Sam3Config, Sam3Model

    tokenizer = _clip_tokenizer(32)
    config = Sam3Config(**_sam3_parts(tokenizer))
    return _saved(lambda: Sam3Model(config), folder, tokenizer)


def sam3_video(folder: Path) -> Path:
    """Segment Anything 3 as it is published: both parts, of videos."""
    from safetensors.torch import load_file, save_file
    from transformers import Sam3VideoConfig, Sam3VideoModel

    tokenizer = _clip_tokenizer(32)
    config = Sam3VideoConfig(
        detector_config={"model_type": "sam3", **_sam3_parts(tokenizer)},
        tracker_config={
            "model_type": "sam3_tracker_video",
            **_sam3_tracker_parts(),
            **_MEMORY,
        },
    )
    _saved(lambda: Sam3VideoModel(config), folder, tokenizer)
    # transformers 5.24 writes this prefix twice; the published weights have it once.
    path = folder / "model.safetensors"
    twice, once = "tracker_model.tracker_model.", "tracker_model."
    tensors = {k.replace(twice, once): v for k, v in load_file(path).items()}
    save_file(tensors, path, {"format": "pt"})
    return folder


def owlv2(folder: Path) -> Path:
    """OWLv2."""
    from transformers import Owlv2Config, Owlv2ForObjectDetection
    from transformers.models.owlv2.image_processing_pil_owlv2 import (
        Owlv2ImageProcessorPil,
    )

    tokenizer = _clip_tokenizer(16, pad="!")
    config = Owlv2Config(
        text_config=_clip_text(tokenizer),
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": SIDE,
            "patch_size": 16,
        },
        projection_dim=32,
    )
    processor = Owlv2ImageProcessorPil(size={"height": SIDE, "width": SIDE})
    return _saved(lambda: Owlv2ForObjectDetection(config), folder, processor, tokenizer)


def _bert_tokenizer() -> Any:
    """A letter a token, and the four ids that Grounding DINO's code holds."""
    from transformers import BertTokenizer

    fixed = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]"}
    fixed |= {1012: ".", 1029: "?"}
    letters = "abcdefghijklmnopqrstuvwxyz0123456789-'"
    letters_at = {200 + i: c for i, c in enumerate(letters)}
    letters_at |= {300 + i: f"##{c}" for i, c in enumerate(letters)}
    words = [(fixed | letters_at).get(i, f"[unused{i}]") for i in range(1031)]
    return BertTokenizer(
        vocab={word: i for i, word in enumerate(words)}, model_max_length=256
    )


def _grounding_dino(prefix: str, folder: Path) -> Path:
    import transformers
    from transformers.models.grounding_dino import image_processing_pil_grounding_dino

    tokenizer = _bert_tokenizer()
    config = getattr(transformers, f"{prefix}Config")(
        backbone_config={
            "model_type": "swin",
            "image_size": SIDE,
            "embed_dim": 8,
            "depths": [1, 1, 1, 1],
            "num_heads": [1, 2, 2, 2],
            "window_size": 4,
            "out_indices": [2, 3, 4],
        },
        text_config={
            "model_type": "bert",
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
        },
        d_model=32,
        num_queries=16,
        encoder_layers=1,
        encoder_ffn_dim=64,
        encoder_attention_heads=2,
        decoder_layers=2,
        decoder_ffn_dim=64,
        decoder_attention_heads=2,
        disable_custom_kernels=True,
    )
    processor = image_processing_pil_grounding_dino.GroundingDinoImageProcessorPil(
        size={"shortest_edge": 2 * SIDE, "longest_edge": 4 * SIDE}
    )
    model = getattr(transformers, f"{prefix}ForObjectDetection")
    return _saved(lambda: model(config), folder, processor, tokenizer)


def grounding_dino(folder: Path) -> Path:
    """Grounding DINO."""
    return _grounding_dino("GroundingDino", folder)


def mm_grounding_dino(folder: Path) -> Path:
    """MM Grounding DINO."""
    return _grounding_dino("MMGroundingDino", folder)


def clipseg(folder: Path) -> Path:
    """CLIPSeg."""
    from transformers import CLIPSegConfig, CLIPSegForImageSegmentation
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    tokenizer = _clip_tokenizer(77)
    config = CLIPSegConfig(
        text_config=_clip_text(tokenizer),
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": SIDE,
            "patch_size": 16,
        },
        projection_dim=32,
        extract_layers=[0, 1],
        reduce_dim=16,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=32,
    )
    processor = ViTImageProcessorPil(size={"height": SIDE, "width": SIDE})
    return _saved(
        lambda: CLIPSegForImageSegmentation(config), folder, processor, tokenizer
    )


MAKERS: dict[str, Maker] = {
    maker.__name__: maker
    for maker in (
        *(sam, sam_hq, sam2, sam2_video, sam3_tracker, sam3, sam3_video),
        *(owlv2, grounding_dino, mm_grounding_dino, clipseg),
    )
}


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny model by its maker's name, made at its first use."""
    folders: dict[str, Path] = {}

    def folder_of(name: str) -> Path:
        if name not in folders:
            pytest.importorskip("transformers")
            folders[name] = MAKERS[name](tmp_path_factory.mktemp(name))
        return folders[name]

    return folder_of
