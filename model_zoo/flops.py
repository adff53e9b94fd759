"""Costs of a config in closed form, without building anything.

Convention, for every function here: a multiplication and an addition are 2 FLOPs; matrix products, convolutions and the
two products of attention count, everything else (norms, softmax, embeddings looked up) does not; attention counts the
whole square, not the causal half; a backward pass is twice its forward pass (Kaplan et al. 2020, arXiv 2001.08361,
section 2.1; for linear layers the sum is the C = 6 N D of Hoffmann et al. 2022, arXiv 2203.15556). All is float32.
Documents are counted at their expected number, so a trial's own FLOPs scatter about these by what its mix drew.
"""

from model_zoo.config import SOURCES, Config, Decoder, Encoder, Features, Keys, Objective, Training
from model_zoo.data.rows import ROWS
from model_zoo.data.vocabulary import NUM_DIGITS, NUM_PLACES, SIZE

HEAD_BLOCKS = 2
"""Blocks of the head that foretells patches."""
NUM_TRAINING_DIGITS = 1400
BYTES = 4
"""Of a float32."""
ADAM_BYTES = 4 * BYTES
"""Weight, gradient and two moments of a parameter that is trained."""


def encoder_params(encoder: Encoder) -> int:
    """All parameters of the vision transformer."""
    d = encoder.width
    layer = 12 * d**2 + 13 * d  # attention 4 d^2 + 4 d, MLP 8 d^2 + 5 d, two norms 4 d
    return (encoder.patch_size**2 + 1) * d + encoder.num_patches * d + encoder.depth * layer + 2 * d


def objective_params(encoder: Encoder) -> int:
    """All parameters of the encoder stage's objective, which are thrown away after it."""
    e = encoder.width
    match encoder.pretrain.objective:
        case Objective.CONTRASTIVE:
            return NUM_PLACES * NUM_DIGITS * e + (4 * e**2 + 3 * e) + (e**2 + e) + 1
        case Objective.RECONSTRUCTIVE:
            return HEAD_BLOCKS * (8 * e**2 + 7 * e) + 2 * e + (e + 1) * encoder.patch_size**2
        case Objective.NONE:
            return 0


def embedding_params(decoder: Decoder) -> int:
    """Token embedding and output head, which are not tied."""
    return 2 * SIZE * decoder.width


def total_params(config: Config) -> int:
    """Encoder, connector and decoder, embeddings and head included."""
    connector = config.connector.num_params(config.connector_shape)
    return encoder_params(config.encoder) + connector + config.decoder.num_params + embedding_params(config.decoder)


def encoder_forward_flops(encoder: Encoder) -> float:
    """One image."""
    d, p = encoder.width, encoder.num_patches
    return 2.0 * p * d * (encoder.patch_size**2 + encoder.depth * (12 * d + 2 * p))


def document_forward_flops(decoder: Decoder, *, length: int, answers: int) -> float:
    """Decoder and head over one document of `length` tokens; the head runs only where something is learnt."""
    d = decoder.width
    linear = 4 * d**2 + 3 * d * decoder.mlp_width
    return 2.0 * decoder.depth * (length * linear + 2 * length**2 * d) + 2.0 * answers * d * SIZE


def step_forward_flops(config: Config) -> float:
    """Connector and decoder over the rows of one step, at the expected number of documents."""
    connector = config.connector.forward_flops(config.connector_shape)
    flops = 0.0
    for source, share in zip(SOURCES, config.data.mix.shares, strict=True):
        for kind in ROWS[source].values():
            length = kind.pictures * config.connector.num_tokens + kind.tokens
            decoder = document_forward_flops(config.decoder, length=length, answers=kind.answers)
            flops += share * kind.per_row * (kind.pictures * connector + decoder)
    return config.train.rows_per_step * flops


def pictures_per_step(config: Config) -> float:
    """Expected number."""
    mix = zip(SOURCES, config.data.mix.shares, strict=True)
    per_row = sum(share * kind.per_row * kind.pictures for source, share in mix for kind in ROWS[source].values())
    return config.train.rows_per_step * per_row


def tokens_per_step(config: Config) -> float:
    """Expected number, visual tokens included."""
    mix = zip(SOURCES, config.data.mix.shares, strict=True)
    text = sum(share * kind.per_row * kind.tokens for source, share in mix for kind in ROWS[source].values())
    return config.train.rows_per_step * text + pictures_per_step(config) * config.connector.num_tokens


def objective_forward_flops(encoder: Encoder) -> float:
    """One image of the encoder stage, after the encoder."""
    e = encoder.width
    match encoder.pretrain.objective:
        case Objective.CONTRASTIVE:
            return 2.0 * (4 * e**2 + e**2) + 2.0 * encoder.pretrain.batch_size * e
        case Objective.RECONSTRUCTIVE:
            return 2.0 * (encoder.num_patches - 1) * (HEAD_BLOCKS * 8 * e**2 + e * encoder.patch_size**2)
        case Objective.NONE:
            return 0.0


def encoder_stage_flops(encoder: Encoder) -> float:
    """Training only: images, and captions where the objective reads them, forward and backward."""
    stage = encoder.pretrain
    return 3 * stage.steps * stage.batch_size * (encoder_forward_flops(encoder) + objective_forward_flops(encoder))


def pretrain_step_flops(config: Config) -> float:
    """One step forward and backward; an encoder that is trained takes part."""
    forward = step_forward_flops(config)
    if config.encoder.training is not Training.FROZEN:
        forward += pictures_per_step(config) * encoder_forward_flops(config.encoder)
    return 3 * forward


def features_stage_flops(encoder: Encoder, *, num_scenes: int) -> float:
    """Forward once over the pool; as everywhere, without the pictures of the evaluation."""
    return (num_scenes + NUM_TRAINING_DIGITS) * encoder_forward_flops(encoder)


def pretrain_pool_flops(config: Config) -> float:
    """A frozen encoder runs forward once over the pool, unless a stage of its own has done so; others do not."""
    if config.encoder.training is not Training.FROZEN or config.encoder.features is Features.CACHED:
        return 0.0
    return features_stage_flops(config.encoder, num_scenes=config.data.num_scenes)


def pretrain_stage_flops(config: Config) -> float:
    """Training, not evaluation."""
    return config.train.steps * pretrain_step_flops(config) + pretrain_pool_flops(config)


def encoder_activation_bytes(encoder: Encoder, *, images: float) -> float:
    """Kept for the backward pass: per patch and layer 16 widths (norms 2, attention 5, MLP 8, norm statistics)."""
    return BYTES * images * encoder.num_patches * encoder.width * (16 * encoder.depth + 1)


def decoder_activation_bytes(decoder: Decoder, *, tokens: float) -> float:
    """Kept for the backward pass, per token: norms and attention 13 widths, smearing 1, the MLP 4 of its own."""
    attention = (14 if decoder.keys is Keys.SMEARED else 13) * decoder.width
    return BYTES * tokens * (decoder.depth * (attention + 4 * decoder.mlp_width) + 4 * decoder.width)


def encoder_stage_memory(encoder: Encoder) -> float:
    """Bytes at the peak: parameters four times over, and one step's activations."""
    weights, images = ADAM_BYTES * (encoder_params(encoder) + objective_params(encoder)), encoder.pretrain.batch_size
    head = 0.0
    if encoder.pretrain.objective is Objective.RECONSTRUCTIVE:  # a block keeps its input, its norm, and the MLP's 8 widths
        head = BYTES * images * (encoder.num_patches - 1) * encoder.width * 10 * HEAD_BLOCKS
        head += BYTES * images * encoder.num_patches**2 * encoder.depth  # each layer keeps who sees whom as numbers
    return weights + encoder_activation_bytes(encoder, images=images) + head


def features_stage_memory(encoder: Encoder, *, num_scenes: int) -> float:
    """Bytes at the peak: parameters, the pool, and its features twice while their parts are joined."""
    pool = (num_scenes + NUM_TRAINING_DIGITS) * BYTES
    return BYTES * encoder_params(encoder) + pool * (encoder.image_size**2 + 2 * encoder.num_patches * encoder.width)


def pretrain_stage_memory(config: Config) -> float:
    """Bytes at the peak: parameters, the pool (a frozen encoder's features too), one step's activations."""
    encoder, images = config.encoder, pictures_per_step(config)
    pool = (config.data.num_scenes + NUM_TRAINING_DIGITS) * BYTES
    activations = decoder_activation_bytes(config.decoder, tokens=tokens_per_step(config))
    activations += BYTES * images * config.connector.numbers_kept(config.connector_shape)
    fixed = pool * encoder.image_size**2 + activations
    if encoder.training is Training.FROZEN:
        held = encoder_params(encoder)
        trained = total_params(config) - held
        return fixed + BYTES * held + ADAM_BYTES * trained + pool * encoder.num_patches * encoder.width
    return fixed + ADAM_BYTES * total_params(config) + encoder_activation_bytes(encoder, images=images)
