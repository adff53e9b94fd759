"""Costs of a config in closed form, without building anything.

Convention, for every function here: a multiplication and an addition are 2 FLOPs; matrix products, convolutions and the
two products of attention count, everything else (norms, softmax, embeddings looked up) does not; attention counts the
whole square, not the causal half; a backward pass is twice its forward pass (Kaplan et al. 2020, arXiv 2001.08361,
section 2.1; for linear layers the sum is the C = 6 N D of Hoffmann et al. 2022, arXiv 2203.15556). All is float32.
What `checkpoint_layers` runs a second time is not counted: these are FLOPs of the model, not of the machine.
Documents are counted at their expected number, so a trial's own FLOPs scatter about these by what its mix drew.
"""

from collections.abc import Mapping

from model_zoo.config import Config, Optimizer, Precision, Sharding
from model_zoo.data.mix import SOURCES, Data
from model_zoo.data.rows import ROWS, Kind
from model_zoo.decoders.decoder import Decoder, DecoderSettings
from model_zoo.encoders import Encoder
from model_zoo.encoders.encoder import HEAD_BLOCKS, EncoderSettings, Features, Objective, objective_forward_flops, objective_params
from model_zoo.encoders.vit import ViT
from model_zoo.fields import Training
from model_zoo.linear import lora_flops, lora_numbers_kept, lora_params

NUM_TRAINING_DIGITS = 1400
BYTES = 4
"""Of a float32."""
ADAM_BYTES = 4 * BYTES
"""Weight, gradient and two moments of a parameter that is trained."""
BFLOAT16_KEPT = 0.6
"""Of the bytes that float32 keeps for the backward pass: operands of matrix products are half, norms and the stream are not. Measured: 0.58
to 0.6."""


def rows_of(config: Config) -> Mapping[str, Mapping[str, Kind]]:
    """Source -> what one of its rows is made of. A row of files is counted as one document as long as a sequence, with as many images as it
    may have: no trial costs more."""
    files, visual = config.data.files, config.tokens_per_image
    if files is None:
        return ROWS
    pictures = min(files.max_images, files.max_tokens // visual)
    found = {}
    for source in SOURCES:
        images = 0 if source == "text" else pictures
        text = files.max_tokens - images * visual
        found[source] = {"sequence": Kind(1, images, text, text)}
    return found


def embedding_params(decoder: Decoder, data: Data) -> int:
    """Token embedding and output head, which are not tied."""
    return 2 * data.vocabulary_size * decoder.width


def total_params(config: Config) -> int:
    """Encoder, connector and decoder, embeddings and head included; what LoRA adds, too."""
    connector = config.connector.num_params(config.connector_shape)
    own = config.encoder.num_params + connector + config.decoder.num_params + embedding_params(config.decoder, config.data)
    return own + adapter_params(config)


def adapter_params(config: Config) -> int:
    """What LoRA adds to encoder and decoder."""
    return sum(lora_params(part.linear_maps, rank=config.train.lora_rank) for part in adapted(config))


def adapted(config: Config) -> list[EncoderSettings | DecoderSettings]:
    """Parts that LoRA adds to."""
    parts: tuple[EncoderSettings | DecoderSettings, ...] = (config.encoder, config.decoder)
    return [part for part in parts if part.training is Training.LORA]


def step_forward_flops(config: Config) -> float:
    """Connector and decoder over the rows of one step, at the expected number of documents."""
    return _connector_flops(config) + sum(_decoder_flops(config))


def _connector_flops(config: Config) -> float:
    return pictures_per_step(config) * config.encoder.num_views * config.connector.forward_flops(config.connector_shape)


def _decoder_flops(config: Config) -> tuple[float, float]:
    """Of a step: of weights and what they are multiplied with, and of attention's two products."""
    flops = attention = 0.0
    for source, share in zip(SOURCES, config.data.mix.shares, strict=True):
        for kind in rows_of(config)[source].values():
            length = kind.pictures * config.tokens_per_image + kind.tokens
            head = 2.0 * kind.answers * config.decoder.width * config.data.vocabulary_size  # it runs only where something is learnt
            flops += share * kind.per_row * (config.decoder.forward_flops(length=length) + head)
            attention += share * kind.per_row * config.decoder.attention_flops(length=length)
    rows = config.train.rows_per_step
    return rows * (flops - attention), rows * attention


def pictures_per_step(config: Config) -> float:
    """Expected number."""
    mix = zip(SOURCES, config.data.mix.shares, strict=True)
    per_row = sum(share * kind.per_row * kind.pictures for source, share in mix for kind in rows_of(config)[source].values())
    return config.train.rows_per_step * per_row


def tokens_per_step(config: Config) -> float:
    """Expected number, visual tokens included."""
    mix = zip(SOURCES, config.data.mix.shares, strict=True)
    text = sum(share * kind.per_row * kind.tokens for source, share in mix for kind in rows_of(config)[source].values())
    return config.train.rows_per_step * text + pictures_per_step(config) * config.tokens_per_image


def encoder_stage_flops(encoder: Encoder) -> float:
    """Training only: images, and captions where the objective reads them, forward and backward."""
    stage = encoder.pretrain
    return 3 * stage.steps * stage.batch_size * (encoder.forward_flops + objective_forward_flops(encoder))


def pretrain_step_flops(config: Config) -> float:
    """One step forward and backward; an encoder that is not frozen takes part.

    Weights of the decoder that stay as they are need no gradient, but it goes through them; so it is with those of an encoder that LoRA
    adds to, its first map counted like the others.
    """
    encoder, rank = config.encoder, config.train.lora_rank
    images = pictures_per_step(config) * encoder.num_views
    weights, attention = _decoder_flops(config)
    passes = 3 if config.decoder.training in (Training.FULL, Training.SLOW) else 2
    flops = 3 * (_connector_flops(config) + attention) + passes * weights
    if config.decoder.training is Training.LORA:
        flops += 3 * tokens_per_step(config) * lora_flops(config.decoder.linear_maps, rank=rank)
    match encoder.training:
        case Training.FULL | Training.SLOW:
            return flops + 3 * images * encoder.forward_flops
        case Training.LORA:
            trained = encoder.attention_flops + lora_flops(encoder.linear_maps, rank=rank)
            return flops + images * (3 * trained + 2 * (encoder.forward_flops - encoder.attention_flops))
        case Training.FROZEN:  # of scenes, the features are there before the first step
            return flops + (images * encoder.forward_flops if config.data.files else 0.0)


def features_stage_flops(encoder: Encoder, *, num_scenes: int) -> float:
    """Forward once over the pool; as everywhere, without the pictures of the evaluation."""
    return (num_scenes + NUM_TRAINING_DIGITS) * encoder.num_views * encoder.forward_flops


def pretrain_pool_flops(config: Config) -> float:
    """A frozen encoder runs forward once over the pool, unless a stage of its own has done so; others do not."""
    if config.encoder.training is not Training.FROZEN or config.encoder.features is Features.CACHED or config.data.files:
        return 0.0
    return features_stage_flops(config.encoder, num_scenes=config.data.num_scenes)


def pretrain_stage_flops(config: Config) -> float:
    """Training, not evaluation."""
    return config.train.steps * pretrain_step_flops(config) + pretrain_pool_flops(config)


def encoder_stage_memory(encoder: Encoder) -> float:
    """Bytes at the peak: parameters four times over, and one step's activations."""
    weights, images = ADAM_BYTES * (encoder.num_params + objective_params(encoder)), encoder.pretrain.batch_size
    head = 0.0
    if encoder.pretrain.objective is Objective.RECONSTRUCTIVE:  # a block keeps its input, its norm, and the MLP's 8 widths
        head = BYTES * images * (encoder.num_patches - 1) * encoder.width * 10 * HEAD_BLOCKS
        assert isinstance(encoder, ViT)
        head += BYTES * images * encoder.num_patches**2 * encoder.depth  # each layer keeps who sees whom as numbers
    return weights + BYTES * images * encoder.numbers_kept + head


def features_stage_memory(encoder: Encoder, *, num_scenes: int) -> float:
    """Bytes at the peak: parameters, the pool, and its features twice while their parts are joined."""
    pool = (num_scenes + NUM_TRAINING_DIGITS) * BYTES
    return BYTES * encoder.num_params + pool * (encoder.picture_size**2 + 2 * encoder.num_views * encoder.num_patches * encoder.width)


def pretrain_stage_memory(config: Config) -> float:
    """Bytes at the peak: parameters, the pool (a frozen encoder's features too), one micro-batch's activations."""
    encoder, images = config.encoder, pictures_per_step(config)
    pool = (images if config.data.files else config.data.num_scenes + NUM_TRAINING_DIGITS) * BYTES
    fixed = pool * encoder.picture_size**2 + activation_bytes(config)
    weights = BYTES * total_params(config) + state_bytes(config)
    if encoder.training is Training.FROZEN:
        return fixed + weights + pool * encoder.num_views * encoder.num_patches * encoder.width
    return fixed + weights


def state_bytes(config: Config) -> float:
    """Gradients of what is trained, and what the optimizer keeps of it."""
    decoder_params, added = config.decoder.num_params + embedding_params(config.decoder, config.data), adapter_params(config)
    parts = ((config.encoder.num_params, config.encoder.training), (decoder_params, config.decoder.training))
    held = sum(number for number, training in parts if training in (Training.FROZEN, Training.LORA))
    own = (trained_bytes(config) - BYTES) * (total_params(config) - held - added)
    return own + (trained_bytes(config, lesser_width=config.train.lora_rank) - BYTES) * added


def shared_bytes(config: Config) -> float:
    """What of `pretrain_stage_memory` several devices share out: activations, since each has its own micro-batches, and where they are
    `sharded` gradients and optimizer state. Weights are not, since one device measures with all of them."""
    return activation_bytes(config) + (state_bytes(config) if config.train.sharding is Sharding.SHARDED else 0.0)


def activation_bytes(config: Config) -> float:
    """What a micro-batch keeps for its backward pass. Layers that keep inputs alone run again one by one: the mean one stands for all."""
    train, decoder, images = config.train, config.decoder, pictures_per_step(config)
    of_token = decoder.numbers_kept
    if train.checkpoint_layers:
        of_token = min(of_token, decoder.depth * decoder.width + of_token / decoder.depth)
    numbers = tokens_per_step(config) * of_token + images * config.encoder.num_views * config.connector.numbers_kept(config.connector_shape)
    if config.encoder.training is not Training.FROZEN:
        numbers += images * config.encoder.num_views * config.encoder.numbers_kept
    for part in adapted(config):
        places = tokens_per_step(config) if part is decoder else images * config.encoder.num_views
        numbers += places * lora_numbers_kept(part.linear_maps, rank=train.lora_rank)
    return numbers / train.accumulate * BYTES * (BFLOAT16_KEPT if train.precision is Precision.BFLOAT16 else 1)


def trained_bytes(config: Config, *, lesser_width: int | None = None) -> float:
    """Of one trained parameter: itself, its gradient, and AdamW's two moments or AdaFactor's sums, m + n for m x n numbers: at most 2 over
    the lesser width for each of its numbers. That is the encoder's or the decoder's, unless it is given."""
    if config.train.optimizer is Optimizer.ADAMW:
        return ADAM_BYTES
    return BYTES * (2 + 2 / (lesser_width or min(config.encoder.width, config.decoder.width)))
