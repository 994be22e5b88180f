"""The data engine's settings: which models, which thresholds.

    unires engine run --out engine --config=configs/engine.py:small
    unires engine run --out engine --config=configs/engine.py:sam3 \
        --config.preset=strict --config.models.grounder=predictor:runs/mine

The argument names a row of MODELS: default, small (for one small GPU, or a trial on the
CPU), sam3 (one model for masks, parts and the cycle check; its weights are gated and
have a licence of their own) or vlm (sentences by a vision-language model). A model is
<backend>:<folder or hub id>; folders need no network. `unires engine run --help` lists
every setting. None of these rows has been run with its published weights on a data set:
no result is claimed.
"""

from unires_jax.engine.settings import EngineConfig, ModelSettings

MODELS = {
    # The settings' own defaults: SAM 2.1 large, OWLv2, Florence-2 base, CLIP L/14.
    "default": ModelSettings(),
    "small": ModelSettings(
        segmenter="sam2:facebook/sam2.1-hiera-tiny",
        part_finder="grounding_dino:IDEA-Research/grounding-dino-tiny",
        scorer="siglip2:google/siglip2-base-patch16-naflex",
        grounder="clipseg:CIDAS/clipseg-rd64-refined",
        batch=8,
    ),
    "sam3": ModelSettings(
        segmenter="sam3_tracker:facebook/sam3",
        part_finder="sam3:facebook/sam3",
        grounder="sam3:facebook/sam3",
    ),
    "vlm": ModelSettings(
        captioner="qwen3_vl:Qwen/Qwen3-VL-4B-Instruct",
        vocabulary="causal_lm:Qwen/Qwen3-4B-Instruct-2507",
        grounder="florence2:florence-community/Florence-2-large",
    ),
}


def get_config(models: str = "default") -> EngineConfig:
    """The settings with a row of MODELS."""
    return EngineConfig(models=MODELS[models])
