"""The keys of foreign configs that are read by nobody because they change nothing. Any other unread key is refused."""

IRRELEVANT: dict[str, dict[str, str]] = {
    "model_config": {
        "training": "settings of training, which training.published reads; a loaded model computes the same",
        "lora": "settings of training an adapter",
        "name": "describes the file",
        "description": "describes the file",
        "version": "describes the file",
        "license": "describes the file",
    },
    "pretransform": {
        "iterate_batch": "encodes one item after another, with the same result",
        "chunked": "works in overlapping chunks; tiles here equal the whole",
        "model_half": "the number format of the autoencoder, which is chosen when a model is loaded",
    },
    "encoder": {"requires_grad": "whether training changes it"},
    "decoder": {"requires_grad": "whether training changes it"},
    "bottleneck": {"requires_grad": "whether training changes it"},
    "transformer": {
        "zero_init_branch_outputs": "initial values, which a checkpoint replaces",
        "abs_pos_emb_max_length": "only read with use_abs_pos_emb",
        "timestep_embed_dim": "only read with timestep_cond_type input_concat",
    },
    "feed_forward": {"conv_kernel_size": "only read with use_conv"},
    "norm": {"force_fp32": "norms are computed in float32 here"},
}
"""By object, the keys of a config that do not change what a loaded model computes, each with the reason."""
