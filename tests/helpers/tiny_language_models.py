"""Tiny random models that read or write words, of the real classes, saved as published.

Every tensor is drawn anew, so that no bias is zero and no norm is one: answers depend
on all of them. Tokenizers need no files: every byte is a token.
"""

import shutil
from pathlib import Path
from typing import Any

import torch
from tokenizers import pre_tokenizers

SIDE = 64  # of the pictures that they read, pixels
BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())  # 256 signs
# Of ChatML, as Qwen's templates write it.
CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def _save(
    model: Any, folder: Path, *processors: Any, spread: float, seed: int = 0
) -> Path:
    """Draw every tensor, and write a folder as the hub has it."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.normal_(0, spread)
    model.save_pretrained(folder)
    for processor in processors:
        processor.save_pretrained(folder)
    return folder


def make_clip(folder: Path, context: int = 32) -> Path:
    """A CLIPModel: pictures of 64 x 64, texts of at most `context` tokens."""
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizer
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    start, end = "<|startoftext|>", "<|endoftext|>"
    signs = [*BYTES, *(f"{sign}</w>" for sign in BYTES), start, end]
    tokenizer = CLIPTokenizer(
        vocab={sign: i for i, sign in enumerate(signs)},
        merges=[],
        model_max_length=context,
        pad_token=end,
    )
    tower = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    tower |= {"intermediate_size": 32, "projection_dim": 16}
    text = {"vocab_size": len(signs), "max_position_embeddings": context}
    text |= {"bos_token_id": 512, "eos_token_id": 513, "pad_token_id": 513}
    config = CLIPConfig(
        text_config=tower | text,
        vision_config=tower | {"image_size": SIDE, "patch_size": 16},
        projection_dim=16,
    )
    pictures = CLIPImageProcessorPil(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
    )
    return _save(CLIPModel(config), folder, tokenizer, pictures, spread=0.2)


def make_siglip2(folder: Path) -> Path:
    """A Siglip2Model of at most 16 patches and 64 tokens."""
    from transformers import Siglip2Config, Siglip2Model, Siglip2Tokenizer
    from transformers.models.siglip2.image_processing_pil_siglip2 import (
        Siglip2ImageProcessorPil,
    )

    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    signs = [*special, *(f"<0x{i:02X}>" for i in range(256))]
    tokenizer = Siglip2Tokenizer(vocab={sign: i for i, sign in enumerate(signs)})
    tower = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    tower |= {"intermediate_size": 32}
    text = {"vocab_size": len(signs), "projection_size": 32}
    text |= {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2}
    config = Siglip2Config(
        text_config=tower | text,
        vision_config=tower | {"patch_size": 16, "num_patches": 16},
    )
    pictures = Siglip2ImageProcessorPil(patch_size=16, max_num_patches=16)
    return _save(Siglip2Model(config), folder, tokenizer, pictures, spread=0.2)


def make_florence(folder: Path, positions: int = 80) -> Path:
    """A Florence-2 that reads and writes at most `positions` tokens, 5 of a picture."""
    from transformers import (
        BartConfig,
        Florence2Config,
        Florence2ForConditionalGeneration,
        RobertaTokenizer,
    )
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    signs = [*special, *BYTES]
    tokenizer = RobertaTokenizer(
        vocab={sign: i for i, sign in enumerate(signs)},
        merges=[],
        extra_special_tokens={"image_token": "<image>"},
    )
    tokenizer.add_tokens([f"<loc_{i}>" for i in range(1000)], special_tokens=True)
    text = BartConfig(
        vocab_size=len(tokenizer),
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_position_embeddings=positions,
    )
    config = Florence2Config(
        text_config=text.to_dict(),
        vision_config={
            "depths": [1, 1, 1, 1],
            "embed_dim": [8, 16, 16, 32],
            "num_heads": [1, 2, 2, 2],
            "num_groups": [1, 2, 2, 2],
            "window_size": 4,
            "projection_dim": 32,
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
    )
    pictures = CLIPImageProcessorPil(
        size={"height": SIDE, "width": SIDE}, do_center_crop=False, resample=3
    )
    model = Florence2ForConditionalGeneration(config)
    model.generation_config.update(num_beams=3, no_repeat_ngram_size=3)  # as published
    return _save(model, folder, tokenizer, pictures, spread=0.8, seed=1)


def _qwen_tokenizer() -> Any:
    from transformers import Qwen2Tokenizer

    tokenizer = Qwen2Tokenizer(vocab={b: i for i, b in enumerate(BYTES)}, merges=[])
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    special += ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
    tokenizer.add_special_tokens({"additional_special_tokens": special})
    tokenizer.eos_token, tokenizer.pad_token = "<|im_end|>", "<|endoftext|>"
    tokenizer.chat_template = CHAT
    return tokenizer


def make_qwen_vl(folder: Path) -> Path:
    """A Qwen3-VL of two layers."""
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
        Qwen2VLImageProcessorPil,
    )

    tokenizer = _qwen_tokenizer()
    number = tokenizer.convert_tokens_to_ids
    config = Qwen3VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 16,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [4, 2, 2],
                "mrope_interleaved": True,
            },
        },
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_heads": 2,
            "patch_size": 16,
            "out_hidden_size": 32,
            "num_position_embeddings": 16,
            "deepstack_visual_indexes": [0],
        },
        image_token_id=number("<|image_pad|>"),
        video_token_id=number("<|video_pad|>"),
        vision_start_token_id=number("<|vision_start|>"),
        vision_end_token_id=number("<|vision_end|>"),
    )
    pictures = Qwen2VLImageProcessorPil(
        patch_size=16, size={"shortest_edge": 32 * 32, "longest_edge": 128 * 128}
    )
    model = Qwen3VLForConditionalGeneration(config)
    return _save(model, folder, tokenizer, pictures, spread=0.2)


def make_causal_lm(folder: Path, chat: bool = True) -> Path:
    """A Qwen3 that chats, or one without a template for it."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    tokenizer = _qwen_tokenizer()
    if not chat:
        tokenizer.chat_template = None
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return _save(Qwen3ForCausalLM(config), folder, tokenizer, spread=0.2)


def copy_without_a_tensor(folder: Path, target: Path) -> None:
    """A saved model, its last weight left out."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(folder, target)
    file = target / "model.safetensors"
    tensors = load_file(file)
    del tensors[max(name for name in tensors if name.endswith(".weight"))]
    save_file(tensors, file, {"format": "pt"})
