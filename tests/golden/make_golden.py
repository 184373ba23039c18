#!/usr/bin/env python3
"""Makes the golden data of this folder with Keras and PyTorch from small random weights.

    pip install numpy h5py safetensors torch tensorflow-cpu
    python tests/golden/make_golden.py

Each case is a model directory under `models/` and a JSON file of reviews with the logit and the probability that
Keras or PyTorch gives them. Every figure is checked here against a second implementation, so that a mistake in this
script is not taken for the truth. Keras's models go through `tools/keras_to_safetensors.py`, as a user's would.
The weights come from one seed; another version of Keras or PyTorch changes at most the last digits.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"

HERE = Path(__file__).resolve().parent
TOOLS = HERE.parent.parent / "tools"
sys.path[:0] = [str(HERE), str(TOOLS)]

import keras
import numpy as np
import safetensors.torch
import tensorflow
import torch
from keras.src.legacy.preprocessing.text import text_to_word_sequence

import keras_to_safetensors as converter
from reference import ModelDirectory, sigmoid, words_of

SEED = 20260101
# A probability of ours may differ from the recorded one by this much.
TOLERANCE = 1e-5
# Two implementations in 32 bits, or one in 64, may differ by this much in the logit; logits reach about 10 here.
AGREEMENT = 2e-5
MADE_WITH = {
    "keras": keras.__version__,
    "tensorflow": tensorflow.__version__,
    "torch": torch.__version__,
    "numpy": np.__version__,
    "seed": SEED,
}

# Ordinary words first, so that the texts below read like texts; then made-up ones up to the size of the vocabulary.
WORDS = """the and a of to is br in it i this that was as for with movie but film on not you are his have he be one
all at by they an who so from like her or just about it's out if has some there what good more very don't would when
can't café naïve straße 10 1990s""".split()
MISSING_RANK = 11


def word_index(vocab_size):
    """A word index like the published one: longer than the vocabulary, and here with one rank missing."""
    words = WORDS + [f"word{number}" for number in range(len(WORDS), vocab_size + 20)]
    return {word: rank for rank, word in enumerate(words, 1) if rank != MISSING_RANK}


def made_up_text(random, vocabulary, count):
    """A text of exactly `count` words: known, unknown, capitalised, with whatever may stand between words."""
    text = ""
    for number in range(count):
        word = vocabulary[random.integers(len(vocabulary))]
        if random.random() < 0.15:
            word = f"unheard{random.integers(1000)}"
        shape = random.random()
        word = word.capitalize() if shape < 0.15 else word.upper() if shape < 0.2 and "ß" not in word else word
        gaps = [" ", " ", " ", " ", ", ", ". ", "  ", "\n", "<br /> ", " - ", "... "]
        gap = gaps[random.integers(len(gaps))]
        if gap == "<br /> ":  # this gap is itself a word, `br`
            gap = " "
        text += word + (gap if number + 1 < count else random.choice(["", ".", "!"]))
    return text


def reviews_for(random, index, max_length):
    """Named texts around every border: nothing, one word, shorter, exactly as long, longer, much longer."""
    vocabulary = list(index)
    exactly = max_length - 1  # the start id takes one place
    texts = {
        "no text": "",
        "no words": " ... <> !\n",
        "one word": "Good",
        "one unknown word": "Zyzzyva",
        "line breaks": "This is it.<br /><br />Not good,\tnot\nvery good!",
        "apostrophes": "It's not that you don't, it's that he can't 'like' it",
        "other alphabets": "Café NAÏVE straße 电影 🎬 the\u00a0film",
        "beyond the vocabulary": f"the {vocabulary[-1]} and {vocabulary[-20]} of",
        "same word over and over": "very " * exactly,
    }
    for name, count in [
        ("short", 3),
        ("half", max_length // 2),
        ("one padding id", exactly - 1),
        ("exactly full", exactly),
        ("one too many", exactly + 1),
        ("the start id is cut", exactly + 2),
        ("much longer", 4 * max_length),
    ]:
        texts[name] = made_up_text(random, vocabulary, count)
        assert len(words_of(texts[name])) == count, name
    return texts


def write_case(name, maker, description, texts, directory, logits_of, checks):
    """Writes one case's JSON: `logits_of` gives the recorded logits, each of `checks` must agree with them."""
    model = ModelDirectory(directory)
    reviews = []
    for label, text in texts.items():
        assert words_of(text) == text_to_word_sequence(text), label
        ids = model.encode(text)
        input_ids = model.input_ids(ids)
        logit, probability = logits_of(input_ids)
        for check in [lambda ids: (model.logit(ids), None), *checks]:
            other = check(input_ids)[0]
            assert abs(other - logit) < AGREEMENT, f"{name}, {label}: {logit} and {other}"
        assert abs(sigmoid(logit) - probability) < 1e-6, (name, label)
        reviews.append(
            {
                "name": label,
                "text": text,
                "tokens": len(ids) - 1,
                "unknown_tokens": ids[1:].count(2),
                "truncated": len(ids) > model.config["max_length"],
                "input_ids": input_ids,
                "logit": logit,
                "probability": probability,
            }
        )
    spread = [review["logit"] for review in reviews]
    assert np.ptp(spread) > 1, f"{name}: the logits hardly differ, so they prove little"
    case = {
        "made_by": maker,
        "made_with": MADE_WITH,
        "description": description,
        "model": f"models/{name}",
        "tolerance": TOLERANCE,
        "reviews": reviews,
    }
    write_json(HERE / f"{name}.json", case)
    print(f"{name}: {len(reviews)} reviews, logits {min(spread):.2f} to {max(spread):.2f}")


def write_json(path, value):
    """Writes JSON with one line per field and lists of numbers on one line."""
    text = json.dumps(value, indent=1, ensure_ascii=True)
    lines, joining = [], None
    for line in text.split("\n"):
        if joining is not None:
            joining.append(line.strip())
            if line.strip() in ("]", "],"):
                lines.append("".join(joining))
                joining = None
        elif line.endswith('"input_ids": [') or line.endswith('"words": ['):
            joining = [line]
        else:
            lines.append(line)
    path.write_text("\n".join(lines) + "\n", encoding="ascii")


# ---------------------------------------------------------------------------------------------------------------
# Keras
# ---------------------------------------------------------------------------------------------------------------


def keras_case(name, description, vocab_size, embedding, hidden, max_length, build):
    """Builds a Keras model, converts it with the tool and records Keras's answers."""
    random = np.random.default_rng([SEED, vocab_size, hidden])
    keras.utils.set_random_seed(SEED)
    model = build(vocab_size, embedding, hidden, max_length)
    layers = {type(layer).__name__: layer for layer in model.layers}
    for layer in ("Embedding", "LSTM", "Dense"):
        # Wide enough that gates saturate now and then, and that no review gives a probability of about a half.
        scale = {"Embedding": 1.0, "LSTM": 1.2 / np.sqrt(hidden) + 0.2, "Dense": 12.0 / np.sqrt(hidden)}[layer]
        weights = [random.normal(0, scale, array.shape).astype("f4") for array in layers[layer].get_weights()]
        layers[layer].set_weights(weights)
    kernel, bias = layers["Dense"].get_weights()
    last_state = keras.Model(model.inputs, layers["LSTM"].output)

    directory = HERE / "models" / name
    index = word_index(vocab_size)
    with tempfile.TemporaryDirectory() as folder:
        saved, words = Path(folder) / "model.keras", Path(folder) / "imdb_word_index.json"
        model.save(saved)
        words.write_text(json.dumps(index))
        command = [sys.executable, TOOLS / "keras_to_safetensors.py", "--keras", saved, "--word-index", words]
        subprocess.run([*command, "--output", directory, "--force"], check=True, capture_output=True)

    twin = TorchModel(ModelDirectory(directory))

    def logits_of(input_ids):
        batch = np.array([input_ids])
        answer = float(model.predict(batch, verbose=0)[0, 0])
        state = last_state.predict(batch, verbose=0)
        logit = float((state @ kernel + bias)[0, 0])
        gives_logits = layers["Dense"].activation.__name__ == "linear" and "Activation" not in layers
        return logit, float(sigmoid(logit)) if gives_logits else answer

    texts = reviews_for(random, index, max_length)
    write_case(name, "keras", description, texts, directory, logits_of, [twin.answer])


def sequential(vocab_size, embedding, hidden, max_length):
    """The published tutorial's own form."""
    model = keras.Sequential(
        [
            keras.layers.Embedding(vocab_size, embedding),
            keras.layers.LSTM(hidden),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.build((None, max_length))
    return model


def functional(vocab_size, embedding, hidden, max_length):
    """A functional model with dropout, names of its own and the sigmoid as a layer."""
    ids = keras.Input((max_length,), dtype="int32", name="review")
    x = keras.layers.Embedding(vocab_size, embedding, name="words")(ids)
    x = keras.layers.SpatialDropout1D(0.3)(x)
    x = keras.layers.LSTM(hidden, dropout=0.2, name="reader")(x)
    x = keras.layers.Dropout(0.5)(x)
    x = keras.layers.Dense(1, name="verdict")(x)
    return keras.Model(ids, keras.layers.Activation("sigmoid")(x))


def logits(vocab_size, embedding, hidden, max_length):
    """A model trained with `from_logits=True`: no sigmoid anywhere."""
    return keras.Sequential(
        [
            keras.Input((max_length,)),
            keras.layers.Embedding(vocab_size, embedding),
            keras.layers.LSTM(hidden),
            keras.layers.Dense(1),
        ]
    )


# ---------------------------------------------------------------------------------------------------------------
# PyTorch
# ---------------------------------------------------------------------------------------------------------------


class Net(torch.nn.Module):
    """Embedding -> LSTM -> pooling -> Linear, with the tensor names of a model directory."""

    def __init__(self, config, bias_hh=True):
        super().__init__()
        directions = 2 if config["bidirectional"] else 1
        hidden, pooled = config["hidden_size"], 2 if config["pooling"] == "max_mean" else 1
        self.pooling = config["pooling"]
        self.embedding = torch.nn.Embedding(config["vocab_size"], config["embedding_dim"])
        self.lstm = torch.nn.LSTM(
            config["embedding_dim"], hidden, config["num_layers"], batch_first=True, bidirectional=directions == 2
        )
        self.classifier = torch.nn.Linear(pooled * directions * hidden, 1)

    def forward(self, ids, lengths):
        """The logits of a batch of ids [batch, time], of which each review has its own length."""
        packed = torch.nn.utils.rnn.pack_padded_sequence(
            self.embedding(ids), lengths, batch_first=True, enforce_sorted=False
        )
        packed, (last, _) = self.lstm(packed)
        if self.pooling == "max_mean":
            states, _ = torch.nn.utils.rnn.pad_packed_sequence(packed, batch_first=True)
            inside = torch.arange(states.shape[1])[None, :, None] < lengths[:, None, None]
            highest = states.masked_fill(~inside, -torch.inf).amax(1)
            mean = states.masked_fill(~inside, 0).sum(1) / lengths[:, None]
            features = torch.cat([highest, mean], 1)
        else:
            # The last layer's states stand at the end: forward, then backward.
            directions = 2 if self.lstm.bidirectional else 1
            features = torch.cat(list(last[-directions:]), 1)
        return self.classifier(features)[:, 0]


class TorchModel:
    """The weights of a model directory in PyTorch."""

    def __init__(self, model):
        self.net = Net(model.config).eval()
        tensors = {name: torch.tensor(array) for name, array in model.tensors.items()}
        for name, parameter in self.net.named_parameters():
            if name not in tensors:
                assert "bias_hh" in name, name
                tensors[name] = torch.zeros_like(parameter)
        self.net.load_state_dict(tensors)

    def answer(self, input_ids):
        """Logit and probability of one review."""
        with torch.no_grad():
            logit = self.net(torch.tensor([input_ids]), torch.tensor([len(input_ids)]))
        return float(logit[0]), float(torch.sigmoid(logit)[0])


def torch_case(name, description, config, foreign):
    """Draws a PyTorch model, writes its directory and records its answers, computed as one packed batch."""
    random = np.random.default_rng([SEED, config["vocab_size"], config["hidden_size"]])
    net = Net(config).eval()
    with torch.no_grad():
        for parameter_name, parameter in sorted(net.named_parameters()):
            spread = {"embedding": 1.0, "lstm": 1.2 / np.sqrt(config["hidden_size"]) + 0.2, "classifier": 2.0}
            scale = spread[parameter_name.split(".")[0]]
            parameter.copy_(torch.tensor(random.normal(0, scale, tuple(parameter.shape)).astype("f4")))
    directory = HERE / "models" / name
    write_torch_directory(directory, net, config, foreign)

    model = ModelDirectory(directory)
    index = word_index(config["vocab_size"])
    texts = reviews_for(random, index, config["max_length"])
    inputs = [model.input_ids(model.encode(text)) for text in texts.values()]
    lengths = torch.tensor([len(ids) for ids in inputs])
    batch = torch.nn.utils.rnn.pad_sequence([torch.tensor(ids) for ids in inputs], batch_first=True)
    with torch.no_grad():
        batch_logits = net(batch, lengths)
    answers = {
        tuple(ids): (float(logit), float(torch.sigmoid(logit))) for ids, logit in zip(inputs, batch_logits, strict=True)
    }
    alone = TorchModel(model)  # the same review without batch-mates, from the file that was written
    write_case(name, "torch", description, texts, directory, lambda ids: answers[tuple(ids)], [alone.answer])


def write_torch_directory(directory, net, config, foreign):
    """Writes a PyTorch model as a directory; `foreign` as `safetensors` itself writes it, without digests."""
    with tempfile.TemporaryDirectory() as folder:
        words = Path(folder) / "imdb_word_index.json"
        words.write_text(json.dumps(word_index(config["vocab_size"])))
        vocabulary = ("\n".join(converter.read_words(words, config["vocab_size"])) + "\n").encode()
    settings = (json.dumps(config, indent=2) + "\n").encode()
    tensors = {name: tensor.contiguous() for name, tensor in net.state_dict().items()}
    if foreign:
        weights = safetensors.torch.save(tensors)
    else:
        metadata = {
            "format": converter.FORMAT,
            "config_sha256": converter.hashlib.sha256(settings).hexdigest(),
            "vocab_sha256": converter.hashlib.sha256(vocabulary).hexdigest(),
            "seed": str(SEED),
        }
        weights = converter.encode_safetensors({name: tensor.numpy() for name, tensor in tensors.items()}, metadata)
    files = {"config.json": settings, "vocab.txt": vocabulary, "model.safetensors": weights}
    converter.write_directory(directory, files, force=True)


def config_of(vocab_size, embedding, hidden, max_length, **other):
    """A config.json: the reference architecture, `other` overriding it."""
    config = {
        "format": 1,
        "tokenizer": "keras",
        "vocab_size": vocab_size,
        "embedding_dim": embedding,
        "hidden_size": hidden,
        "num_layers": 1,
        "bidirectional": False,
        "pooling": "last",
        "max_length": max_length,
        "padding": "pre",
    }
    return config | other


# ---------------------------------------------------------------------------------------------------------------
# The tokenizer
# ---------------------------------------------------------------------------------------------------------------

# Characters for random texts: separators, ordinary ones, and those with a history of trouble in lower-casing.
ALPHABET = (
    " \t\n\r\v\f\0!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~aZ09éÉßẞİIıΣσςΑαǅŁ"
    "\u0301\u00a0\u200b\u3000\ufb03Ⅷ电ア한Ａ１，🎬𐐀\u2028\u00ad"
)

TEXTS = [
    "",
    " ",
    "   \t\n  ",
    '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n',
    "A gripping, beautifully shot film.",
    "It's not that I didn't like it; I couldn't 'like' it, 'tis all.",
    "'quoted' ''twice'' rock'n'roll '",
    "Great.<br /><br />Really great.",
    "<br/><BR><p>a</p>",
    "10/10 -- 1,000 times 3.5 stars & 100%",
    "snake_case kebab-case dotted.name e-mail@example.org #tag $5 a+b=c x^2 `code`",
    "{braces} [brackets] pipe|pipe ~tilde back\\slash semi;colon question?mark",
    "UPPER Lower MiXeD",
    "tab\there newline\nhere carriage\rreturn carriage\r\nnewline",
    "vertical\vtab form\ffeed nul\0nul bell\abell escape\x1b[0m unit\x1fseparator",
    "no\u00a0break narrow\u202fno-break en\u2002quad em\u2003quad thin\u2009space",
    "ideographic\u3000space zero\u200bwidth",
    "line\u2028separator paragraph\u2029separator next\u0085line",
    "byte\ufeffmark \ufeffleading soft\u00adhyphen word\u2060joiner",
    "“curly quotes” ‘single’ don’t — em dash – en dash… ellipsis",
    "¡Hola! ¿Qué tal? «guillemets» „low“ §5 ©2024 ™ €10 £9 ¥8 ×÷±",
    "Ünïcödé ÀÉÎÕÜ ÆØÅ Œuvre Łódź Ðóttir Þór ŽIŽEK",
    "İstanbul I ı İ Iİıi DİYARBAKIR",
    "Straße STRASSE ẞ ß GROẞ",
    "ΟΔΥΣΣΕΥΣ Σ ΣΑ ΑΣ ΑΣΑ Σ. ΑΣ. ΑΣ.Α ΑΣ'Α ΑΣ-Α Α.Σ Α'Σ",
    "ΣΣ ΣΣΣ ΑΣΣ ΣΑΣ ΑΣ1 ΑΣ 1 1Σ 1ΑΣ ΑΣ\u0301 ΑΣ\u0301Α \u0301Σ Α\u0301Σ ΑΣ\u00adΑ ΑΣ\u00ad",
    "ΑΣ:Α ΑΣ_Α ΑΣ·Α ΑΣ’Α ΑΣ’ ΑΣ^Α ΑΣ`Α ΑΣ\u00a0Α ΑΣ\rΑ ΑΣ電 aΣ aΣb Σb",
    "e\u0301 E\u0301 \u0301 x\u0301y a\u0300\u0316 A\u030a \u1e9b\u0323 \u212b \u2126 \u212a",
    "İ\u0307 I\u0307 i\u0307 J\u030c ŉ ǰ ΐ ΰ և ẖẗẘẙẚ ﬀ ﬁ ﬃ ﬅ",
    "ǄǅǆǇǈǉǊǋǌǱǲǳ ᾈ ᾼ ῼ ϒ ϓ ϴ Ω K Å",
    "Ⅷ ⅷ Ⓐ ⓐ Ⅎ Ↄ ㎏ ㏑ ²³ ½ ① ٣ ३",
    "ПРИВЕТ Мир Ђорђе Ѐ Ѝ Ҋ Ӏ",
    "ՀԱՅԵՐԵՆ ᲐᲑᲒ ႠႡႢ ᏣᎳᎩ Ꭰ ꭰ ⰀⰁ 𐐀𐐁 𐒰 𞤀 𑢠",
    "中文 电影很好看。非常！ 日本語の映画、最高！ 한국어 영화",
    "ＦＵＬＬ　ｗｉｄｔｈ！ Ａ，Ｂ．Ｃ １２３ （ａ） ＜ｂｒ＞ ｱｲｳ",
    "🎬 great🎬film 👍🏽 👨‍👩‍👧‍👦 🇩🇪 ❤️ ☺ 🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "שלום עולם مرحبا بالعالم हिन्दी ไทย ქართული አማርኛ",
    "\u202eright to left\u202c \u2066isolate\u2069 \u200e\u200f marks",
    "\U0010ffff \ue000 \ufffd \ufffe private \U000f0000",
    "trailing spaces   ",
    "   leading spaces",
    "a",
    "a b  c   d",
    "....a....",
    "x" * 300,
    "-" * 300 + "x",
    "À" * 100,
]


def tokenizer_cases():
    """Texts with the words that Keras's own function cuts them into."""
    random = np.random.default_rng(SEED)
    texts = list(TEXTS)
    for _ in range(120):
        picks = random.integers(len(ALPHABET), size=random.integers(1, 40))
        texts.append("".join(ALPHABET[pick] for pick in picks))
    cases = [{"text": text, "words": text_to_word_sequence(text)} for text in texts]
    for case in cases:
        assert case["words"] == words_of(case["text"]), case
    value = {
        "made_by": "text_to_word_sequence of Keras (keras.src.legacy.preprocessing.text)",
        "made_with": {"keras": keras.__version__, "python": sys.version.split()[0]},
        "cases": cases,
    }
    write_json(HERE / "tokenizer.json", value)
    print(f"tokenizer: {len(cases)} texts")


def main():
    """Makes everything anew."""
    torch.set_num_threads(1)
    shutil.rmtree(HERE / "models", ignore_errors=True)
    keras_case("keras_tiny", "Sequential, sigmoid in the Dense layer.", 50, 4, 3, 12, sequential)
    keras_case("keras_wide", "Functional, with dropout, sigmoid as a layer of its own.", 200, 16, 32, 40, functional)
    keras_case("keras_odd", "No sigmoid: the model gives logits. 17 units fit no vector width.", 61, 5, 17, 23, logits)
    torch_case(
        "torch_two_biases",
        "PyTorch with bias_ih and bias_hh; the file is written by the safetensors package and carries no digests.",
        config_of(64, 8, 8, 16),
        foreign=True,
    )
    free = {"bidirectional": True, "padding": "none"}
    torch_case(
        "torch_bidirectional",
        "Two layers, both directions, maximum and mean over time, no padding: one packed batch.",
        config_of(80, 6, 5, 30, num_layers=2, pooling="max_mean", **free),
        foreign=False,
    )
    torch_case(
        "torch_bidirectional_last",
        "One layer, both directions, the last state of each (the backward one's stands at the first word), no padding.",
        config_of(70, 7, 9, 20, **free),
        foreign=False,
    )
    tokenizer_cases()


if __name__ == "__main__":
    main()
