"""Makes a tiny Whisper model of random numbers in CTranslate2's format, with the layout of large-v3 and turbo: 128 mel bands and a
hundred languages, so that every token after them has another number. It says nothing sensible; what is tested is that it is taken
for what it is. Usage: layout_model.py BASE_MODEL DIRECTORY"""

import json
import sys
from pathlib import Path

import numpy as np
from ctranslate2.specs import whisper_spec

BANDS, WIDTH, FRAMES, CONTEXT = 128, 64, 1500, 448
FIRST_LANGUAGE = 50259

base, directory = map(Path, sys.argv[1:])
directory.mkdir(parents=True, exist_ok=True)
random = np.random.default_rng(1)


def numbers(*shape):
    return (random.standard_normal(shape) * 0.05).astype(np.float32)


def linear(spec, outputs, inputs=WIDTH):
    spec.weight, spec.bias = numbers(outputs, inputs), numbers(outputs)


def norm(spec):
    spec.gamma, spec.beta = np.ones(WIDTH, np.float32), np.zeros(WIDTH, np.float32)


def attention(spec, *outputs):
    norm(spec.layer_norm)
    for part, size in zip(spec.linear, outputs, strict=True):
        linear(part, size)


def feed_forward(spec):
    norm(spec.layer_norm)
    linear(spec.linear_0, 4 * WIDTH)
    linear(spec.linear_1, WIDTH, 4 * WIDTH)


# One more language than base has, after the others.
vocabulary = json.loads((base / "vocabulary.json").read_text())
last = vocabulary.index("<|translate|>")
vocabulary.insert(last, "<|yue|>")
tokenizer = json.loads((base / "tokenizer.json").read_text())
for token in tokenizer["added_tokens"]:
    token["id"] += token["id"] >= last
new = dict(next(token for token in tokenizer["added_tokens"] if token["content"] == "<|su|>"))
tokenizer["added_tokens"].append(new | {"id": last, "content": "<|yue|>"})
tokenizer["added_tokens"].sort(key=lambda token: token["id"])
# What a tokenizer does around a text is not asked for, and names tokens by their numbers.
tokenizer["post_processor"] = None
(directory / "tokenizer.json").write_text(json.dumps(tokenizer))

spec = whisper_spec.WhisperSpec(1, 1, 1, 1)
for convolution, bands in ((spec.encoder.conv1, BANDS), (spec.encoder.conv2, WIDTH)):
    convolution.weight, convolution.bias = numbers(WIDTH, bands, 3), numbers(WIDTH)
spec.encoder.position_encodings.encodings = numbers(FRAMES, WIDTH)
spec.decoder.position_encodings.encodings = numbers(CONTEXT, WIDTH)
spec.decoder.embeddings.weight = numbers(len(vocabulary), WIDTH)
spec.decoder.projection.weight = spec.decoder.embeddings.weight
norm(spec.encoder.layer_norm)
norm(spec.decoder.layer_norm)
for layer in spec.encoder.layer:
    attention(layer.self_attention, 3 * WIDTH, WIDTH)
    feed_forward(layer.ffn)
for layer in spec.decoder.layer:
    attention(layer.self_attention, 3 * WIDTH, WIDTH)
    attention(layer.attention, WIDTH, 2 * WIDTH, WIDTH)
    feed_forward(layer.ffn)
spec.register_vocabulary(vocabulary)
spec.config.suppress_ids = [1, 2, 7]
spec.config.suppress_ids_begin = [220, 50257]
spec.config.lang_ids = list(range(FIRST_LANGUAGE, last + 1))
spec.config.alignment_heads = [(0, 0)]
spec.validate()
spec.save(str(directory))
