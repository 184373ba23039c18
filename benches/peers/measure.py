#!/usr/bin/env python3
"""Times one peer on one row of the table and prints its figures in seconds as one JSON object.

`run.py` calls it, each peer in a process of its own so that no library's threads meet another's:

    python measure.py --row a --peer onnxruntime --model DIR --work DIR [--threads 1]

The result maps each setting that was tried to its best and its median time. Every setting's answer is checked first
against the model in 64-bit numpy: a fast wrong answer is no peer.
"""

import argparse
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from safetensors.numpy import load_file

import common
from common import ModelDirectory, full_review, read_ids, samples

TRAIN_REVIEWS = 20_000
TRAIN_BATCH = 128


# How far a logit of a peer that rounds to 8 bits may lie from the one in 32.
EIGHT_BITS = 0.5


def check(name, found, expected, tolerance=2e-5):
    """Stops when a peer's answer is not the model's."""
    difference = float(np.max(np.abs(np.asarray(found, "f8") - np.asarray(expected, "f8"))))
    if not difference < tolerance:
        raise SystemExit(f"{name}: differs from the reference by {difference}")


# ---------------------------------------------------------------------------------------------------------------
# ONNX Runtime
# ---------------------------------------------------------------------------------------------------------------


def onnx_settings(model, threads):
    """Name and (session, ids first in time) of each way to run one review."""
    by_hand = common.onnx_reference(model)
    first = common.onnx_reference(model, sequence_first=True)
    yield "batch first, spin", (common.onnx_session(by_hand, threads), False)
    yield "time first, spin", (common.onnx_session(first, threads), True)
    yield "time first, no spin", (common.onnx_session(first, threads, spin=False), True)
    exported = torch_export(model)
    if exported is not None:
        yield "torch.onnx export, spin", (common.onnx_session(exported, threads), False)


def torch_export(model):
    """The model as PyTorch's own exporter writes it, or None where the exporter's package is not at hand."""
    import io
    import warnings

    try:
        import torch

        net, data = common.torch_reference(model), io.BytesIO()
        row = torch.zeros(1, model.length, dtype=torch.int64)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(net, (row,), data, dynamo=False, input_names=["ids"], opset_version=17)
        return data.getvalue()
    except Exception as fault:
        print(f"torch.onnx export left out: {str(fault).splitlines()[0]}", file=sys.stderr)
        return None


def bound(session, feeds):
    """A call of the session with inputs and outputs bound beforehand, which spares Python's conversions."""
    import onnxruntime

    binding = session.io_binding()
    values = {name: onnxruntime.OrtValue.ortvalue_from_numpy(array) for name, array in feeds.items()}
    for name, value in values.items():
        binding.bind_ortvalue_input(name, value)
    binding.bind_output("probability", "cpu")

    def run():
        session.run_with_iobinding(binding)

    run.answer = lambda: binding.copy_outputs_to_cpu()[0]
    run.values = values
    return run


def onnx_row_a(model, work, threads):
    """One full review."""
    row = model.pad(full_review(read_ids(work / "reviews_2000.jsonl"), model.length))
    expected, result = model.reference(row), {}
    for name, (session, time_first) in onnx_settings(model, threads):
        feed = np.ascontiguousarray(row.T) if time_first else row
        check(name, session.run(None, {"ids": feed})[0], expected)
        result[name] = samples(lambda session=session, feed=feed: session.run(None, {"ids": feed}))
        if session.get_outputs()[0].name == "probability":
            result[f"{name}, bound"] = samples(bound(session, {"ids": feed}))
    return result


def onnx_row_b(model, work, threads):
    """2,000 reviews one by one: padded, as the model is defined; and with our own padding shortcut lent to it."""
    reviews = [ids[-model.length :] for ids in read_ids(work / "reviews_2000.jsonl")]
    rows = [np.ascontiguousarray(model.pad(ids).T) for ids in reviews]
    session = common.onnx_session(common.onnx_reference(model, sequence_first=True), threads)
    expected = [session.run(["probability"], {"ids": row})[0][0, 0] for row in rows]
    check("padded", expected[:5], [model.reference(row.T) for row in rows[:5]])
    result = {"padded": samples(lambda: [session.run(None, {"ids": row}) for row in rows], at_least=3)}

    # Not the row's peer, but what ONNX Runtime would reach with our idea: the states after every number of padding
    # steps computed once, each review run at its own length from its state.
    stateful = common.onnx_session(common.onnx_reference(model, sequence_first=True, with_state=True), threads)
    hidden = model.config["hidden_size"]
    h = c = np.zeros((1, 1, hidden), np.float32)
    states, padding = [(h, c)], np.zeros((1, 1), np.int64)
    for _ in range(model.length):
        _, h, c = stateful.run(None, {"ids": padding, "h0": h, "c0": c})
        states.append((h, c))
    feeds = []
    for ids in reviews:
        h, c = states[model.length - len(ids)]
        feeds.append({"ids": np.array(ids, np.int64)[:, None], "h0": h, "c0": c})
    short = [stateful.run(["probability"], feed)[0][0, 0] for feed in feeds]
    check("real length", short, expected)
    result["real length with our padding states"] = samples(
        lambda: [stateful.run(["probability"], feed) for feed in feeds], at_least=3
    )
    return result


def onnx_row_c(model, work, threads):
    """25,000 reviews in the batches that suit ONNX Runtime best, timed on 2,000 and scaled; ids given, no tokenizer."""
    reviews = read_ids(work / "reviews_2000.jsonl")
    rows = np.concatenate([model.pad(ids) for ids in reviews]).T  # [time, review]
    data, result = common.onnx_reference(model, sequence_first=True), {}
    scale = 25_000 / len(reviews)
    for size in (1, 8, 32, 128, 500):
        batches = [np.ascontiguousarray(rows[:, at : at + size]) for at in range(0, len(reviews), size)]
        shared = common.onnx_session(data, threads)

        def one_pool(session=shared, batches=batches):
            for batch in batches:
                session.run(None, {"ids": batch})

        result[f"batches of {size}, one session of {threads} threads"] = scaled(samples(one_pool, at_least=3), scale)
        if threads > 1:
            single = common.onnx_session(data, 1)
            with ThreadPoolExecutor(threads) as pool:

                def own_threads(session=single, batches=batches, pool=pool):
                    list(pool.map(lambda batch: session.run(None, {"ids": batch}), batches))

                result[f"batches of {size}, {threads} callers"] = scaled(samples(own_threads, at_least=3), scale)
    return result


def scaled(figures, factor):
    """Times multiplied by a factor."""
    return figures | {"best": figures["best"] * factor, "median": figures["median"] * factor}


# ---------------------------------------------------------------------------------------------------------------
# PyTorch
# ---------------------------------------------------------------------------------------------------------------


def torch_row_a(model, work, threads):
    """One full review."""
    import torch

    torch.set_num_threads(threads)
    net = common.torch_reference(model)
    row = model.pad(full_review(read_ids(work / "reviews_2000.jsonl"), model.length))
    expected, ids, result = model.reference(row), torch.tensor(row), {}
    for name, guard in [("no_grad", torch.no_grad), ("inference_mode", torch.inference_mode)]:
        for onednn in (True, False):
            with guard(), torch.backends.mkldnn.flags(enabled=onednn):
                label = f"{name}, {'oneDNN' if onednn else 'own kernels'}"
                check(label, net(ids), expected)
                result[label] = samples(lambda: net(ids))
    with torch.inference_mode():
        for onednn in (True, False):
            with torch.backends.mkldnn.flags(enabled=onednn):
                frozen = torch.jit.freeze(torch.jit.trace(net, ids))
                label = f"torch.jit, {'oneDNN' if onednn else 'own kernels'}"
                check(label, frozen(ids), expected)
                result[label] = samples(lambda frozen=frozen: frozen(ids))
    return result


def torch_row_b(model, work, threads):
    """2,000 reviews one by one, padded."""
    import torch

    torch.set_num_threads(threads)
    net = common.torch_reference(model)
    rows = [torch.tensor(model.pad(ids)) for ids in read_ids(work / "reviews_2000.jsonl")]
    with torch.inference_mode():
        check("padded", net(rows[0]), model.reference(rows[0].numpy()))
        return {"padded": samples(lambda: [net(row) for row in rows], at_least=2)}


# ---------------------------------------------------------------------------------------------------------------
# Keras
# ---------------------------------------------------------------------------------------------------------------


def keras_row_a(model, work, threads):
    """One full review."""
    tensorflow = common.quiet_tensorflow(threads)
    net = common.keras_reference(model)
    row = model.pad(full_review(read_ids(work / "reviews_2000.jsonl"), model.length)).astype(np.int32)
    expected, ids, result = model.reference(row), tensorflow.constant(row), {}
    signature = [tensorflow.TensorSpec((1, model.length), tensorflow.int32)]
    for name, compiled in [("tf.function", False), ("tf.function, XLA", True)]:
        call = tensorflow.function(lambda x: net(x, training=False), input_signature=signature, jit_compile=compiled)
        check(name, call(ids), expected)
        result[name] = samples(lambda call=call: call(ids).numpy())
    check("model.predict", net.predict(row, verbose=0), expected)
    result["model.predict"] = samples(lambda: net.predict(row, verbose=0))
    return result


def keras_row_d(model, work, threads):
    """One epoch of the reference preset: 20,000 reviews padded to 500 ids, batches of 128, RMSprop.

    The 2,000 real reviews are repeated; tracing and compilation are left out by a short epoch before.
    """
    common.quiet_tensorflow(threads)
    import keras

    reviews = np.concatenate([model.pad(ids) for ids in read_ids(work / "reviews_2000.jsonl")]).astype(np.int32)
    ids = np.concatenate([reviews] * (TRAIN_REVIEWS // len(reviews) + 1))[:TRAIN_REVIEWS]
    labels = (np.arange(TRAIN_REVIEWS) % 2).astype("f4")
    result = {}
    for name, compiled in [("fit", False), ("fit, XLA", True)]:
        keras.utils.set_random_seed(1)
        net = common.keras_network(model.config)
        optimizer = keras.optimizers.RMSprop(learning_rate=0.001, rho=0.9, epsilon=1e-7)
        net.compile(optimizer, "binary_crossentropy", metrics=["accuracy"], jit_compile=compiled)
        # Batches of the last, smaller size too, so that no shape is traced inside the measured epoch.
        short = TRAIN_BATCH * 2 + TRAIN_REVIEWS % TRAIN_BATCH
        timed = {}

        def epoch(count, net=net, timed=timed):
            import time

            started = time.perf_counter()
            net.fit(ids[:count], labels[:count], batch_size=TRAIN_BATCH, epochs=1, verbose=0)
            timed["seconds"] = time.perf_counter() - started

        try:
            epoch(short)
            epoch(short)
            # A form that is hopelessly slower is not worth minutes: its short epoch decides.
            if result and timed["seconds"] * TRAIN_REVIEWS / short > 3 * result["fit"]["best"]:
                continue
            epoch(TRAIN_REVIEWS)
        except Exception as fault:
            print(f"{name} left out: {str(fault).splitlines()[0]}", file=sys.stderr)
            continue
        result[name] = {"best": timed["seconds"], "median": timed["seconds"], "runs": 1}
    return result


# ---------------------------------------------------------------------------------------------------------------
# The wide model: E = H = 256, both directions, 32 real reviews
# ---------------------------------------------------------------------------------------------------------------

WIDE = 256
WIDE_WORDS = 10_000


def wide_batch(work):
    """The ids [32, longest], and the reviews' lengths."""
    reviews = read_ids(work / "batch_32.jsonl")
    lengths = np.array([len(ids) for ids in reviews])
    ids = np.zeros((len(reviews), lengths.max()), np.int64)
    for row, review in zip(ids, reviews, strict=True):
        row[: len(review)] = review
    return ids, lengths


def wide_network(words=WIDE_WORDS, size=WIDE):
    """Embedding -> LSTM in both directions -> maximum and mean over time -> Linear, in PyTorch, weights drawn."""
    import torch

    class Wide(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = torch.nn.Embedding(words, size)
            self.lstm = torch.nn.LSTM(size, size, batch_first=True, bidirectional=True)
            self.classifier = torch.nn.Linear(4 * size, 1)

        def forward(self, ids, lengths, inside, pack):
            """Logits; `inside` [batch, time, 1] says which steps are the review's."""
            states = self.embedding(ids)
            if pack:
                packed = torch.nn.utils.rnn.pack_padded_sequence(states, lengths, True, enforce_sorted=False)
                states, _ = torch.nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0], True)
            else:
                states, _ = self.lstm(states)
            highest = states.masked_fill(~inside, -torch.inf).amax(1)
            mean = states.masked_fill(~inside, 0).sum(1) / lengths[:, None]
            return self.classifier(torch.cat([highest, mean], 1))[:, 0]

    torch.manual_seed(1)
    return Wide()


def torch_row_e(model, work, threads):
    """Forward pass and training step (forward, backward, Adam) of the wide model."""
    import torch

    torch.set_num_threads(threads)
    torch.backends.mkldnn.enabled = True
    ids, lengths = (torch.tensor(array) for array in wide_batch(work))
    inside = (torch.arange(ids.shape[1]) < lengths[:, None])[:, :, None]
    labels = (torch.arange(len(ids)) % 2).float()
    net, result = wide_network(), {}
    with torch.inference_mode():
        net.eval()
        alone = [
            net(ids[n : n + 1, :k], lengths[n : n + 1], inside[n : n + 1, :k], False) for n, k in enumerate(lengths)
        ]
        check("packed", net(ids, lengths, inside, True), torch.cat(alone), 1e-4)
        for pack in (True, False):
            for onednn in (True, False):
                with torch.backends.mkldnn.flags(enabled=onednn):
                    # Padded, the backward direction starts in the padding: another answer, timed as asked.
                    kernels = "oneDNN" if onednn else "own kernels"
                    label = f"forward, {'packed' if pack else 'padded'}, {kernels}, {threads} threads"
                    result[label] = samples(lambda pack=pack: net(ids, lengths, inside, pack), 2.0, 3)
    for pack in (True, False):
        for onednn in (True, False):
            kernels = "oneDNN" if onednn else "own kernels"
            net = wide_network().train()
            optimizer = torch.optim.Adam(net.parameters(), 1e-3, fused=True)

            def step(net=net, optimizer=optimizer, pack=pack):
                optimizer.zero_grad(set_to_none=True)
                logits = net(ids, lengths, inside, pack)
                torch.nn.functional.binary_cross_entropy_with_logits(logits, labels).backward()
                optimizer.step()

            with torch.backends.mkldnn.flags(enabled=onednn):
                label = f"training step, {'packed' if pack else 'padded'}, {kernels}, {threads} threads"
                result[label] = samples(step, 2.0, 3)
    return result


def onnx_row_e(model, work, threads):
    """Forward pass of the wide model, with the reviews' lengths."""
    import torch

    ids, lengths = wide_batch(work)
    inside = (np.arange(ids.shape[1])[None] < lengths[:, None])[:, :, None]
    net = wide_network().eval()
    with torch.inference_mode():
        expected = net(*(torch.tensor(array) for array in (ids, lengths, inside)), True).numpy()
    data = onnx_wide({name: tensor.numpy() for name, tensor in net.state_dict().items()})
    # The time axis comes first in ONNX: [time, batch].
    feed = {
        "ids": np.ascontiguousarray(ids.T),
        "lengths": lengths.astype(np.int32),
        "outside": np.where(inside, 0, -np.inf).astype("f4").transpose(1, 0, 2).copy(),
        "count": lengths.astype("f4")[:, None],
    }
    result = {}
    for spin in (True, False):
        session = common.onnx_session(data, threads, spin)
        check("wide", session.run(None, feed)[0][:, 0], expected, 1e-4)
        label = f"forward, with lengths, {'spin' if spin else 'no spin'}, {threads} threads"
        result[label] = samples(lambda session=session: session.run(None, feed), 2.0, 3)
    return result


def onnx_wide(weights):
    """The wide model as ONNX bytes."""
    from onnx import TensorProto, checker, helper, numpy_helper

    hidden = weights["lstm.weight_hh_l0"].shape[1]

    def both(name, order=common.onnx_gates):
        return np.stack([order(weights[f"lstm.{name}_l0"]), order(weights[f"lstm.{name}_l0_reverse"])])

    constants = {
        "table": weights["embedding.weight"],
        "w": both("weight_ih"),
        "r": both("weight_hh"),
        "b": np.concatenate([both("bias_ih"), both("bias_hh")], 1),
        "flat": np.array([0, 0, 2 * hidden], np.int64),
        "axis": np.array([0], np.int64),
        "dense": weights["classifier.weight"],
        "dense_bias": weights["classifier.bias"],
    }
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["x"]),
        helper.make_node("LSTM", ["x", "w", "r", "b", "lengths"], ["y"], hidden_size=hidden, direction="bidirectional"),
        helper.make_node("Transpose", ["y"], ["by_step"], perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", ["by_step", "flat"], ["states"]),  # [time, batch, both directions]
        helper.make_node("Add", ["states", "outside"], ["masked"]),
        helper.make_node("ReduceMax", ["masked"], ["highest"], axes=[0], keepdims=0),
        # Past a review's end the operator gives zeros, which add nothing.
        helper.make_node("ReduceSum", ["states", "axis"], ["sum"], keepdims=0),
        helper.make_node("Div", ["sum", "count"], ["mean"]),
        helper.make_node("Concat", ["highest", "mean"], ["features"], axis=1),
        helper.make_node("Gemm", ["features", "dense", "dense_bias"], ["logit"], transB=1),
    ]
    inputs = [
        helper.make_tensor_value_info("ids", TensorProto.INT64, ["time", "batch"]),
        helper.make_tensor_value_info("lengths", TensorProto.INT32, ["batch"]),
        helper.make_tensor_value_info("outside", TensorProto.FLOAT, ["time", "batch", 1]),
        helper.make_tensor_value_info("count", TensorProto.FLOAT, ["batch", 1]),
    ]
    outputs = [helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["batch", 1])]
    initializers = [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "wide", inputs, outputs, initializers)
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(built)
    return built.SerializeToString()


# ---------------------------------------------------------------------------------------------------------------
# The default model: what `models/imdb` costs one review at its real length
# ---------------------------------------------------------------------------------------------------------------


def default_network(work):
    """The LSTM of the default model in PyTorch with its own weights, and real reviews as its ids."""
    import torch

    tensors = load_file(work / "default.safetensors")
    net = wide_network(*tensors["embedding.weight"].shape).eval()
    # What tells a text that holds an opinion is no part of the LSTM.
    ours = {name: array for name, array in tensors.items() if not name.startswith("subjectivity.")}
    state = {name: torch.tensor(array.astype("f4")) for name, array in ours.items()}
    for suffix in ("l0", "l0_reverse"):
        state.setdefault(f"lstm.bias_hh_{suffix}", torch.zeros_like(state[f"lstm.bias_ih_{suffix}"]))
    net.load_state_dict(state)
    return net, read_ids(work / "default_500.jsonl")


def torch_row_f(model, work, threads):
    """500 real reviews one by one at their real length."""
    import torch

    torch.set_num_threads(threads)
    net, reviews = default_network(work)
    inputs = []
    for ids in reviews:
        row = torch.tensor(ids)[None]
        inputs.append((row, torch.tensor([len(ids)]), torch.ones(1, len(ids), 1, dtype=torch.bool), False))
    result, answers = {}, []
    with torch.inference_mode():
        for onednn in (True, False):
            with torch.backends.mkldnn.flags(enabled=onednn):
                label = "oneDNN" if onednn else "own kernels"
                answers.append([float(net(*feed)[0]) for feed in inputs[:20]])
                result[label] = samples(lambda: [net(*feed) for feed in inputs], 2.0, 2)
        rounded = torch.ao.quantization.quantize_dynamic(net, {torch.nn.LSTM, torch.nn.Linear}, dtype=torch.qint8)
        check("8 bits", [float(rounded(*feed)[0]) for feed in inputs[:20]], answers[0], EIGHT_BITS)
        result["8 bits (quantize_dynamic)"] = samples(lambda: [rounded(*feed) for feed in inputs], 2.0, 2)
    check("own kernels", answers[1], answers[0], 1e-4)
    return result


def onnx_8_bits(data, work):
    """The model with its LSTM as DynamicQuantizeLSTM, as ONNX Runtime's own tool makes it."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    source, target = work / "default.onnx", work / "default-8-bits.onnx"
    source.write_bytes(data)
    quantize_dynamic(source, target, op_types_to_quantize=["LSTM"], weight_type=QuantType.QInt8)
    rounded = target.read_bytes()
    if b"DynamicQuantizeLSTM" not in rounded:
        raise SystemExit("8 bits: no DynamicQuantizeLSTM in what quantize_dynamic made")
    return rounded


def onnx_row_f(model, work, threads):
    """500 real reviews one by one at their real length."""
    import torch

    net, reviews = default_network(work)
    data = onnx_wide({name: tensor.numpy() for name, tensor in net.state_dict().items()})
    feeds = []
    for ids in reviews:
        length = len(ids)
        feeds.append({
            "ids": np.array(ids, np.int64)[:, None],
            "lengths": np.array([length], np.int32),
            "outside": np.zeros((length, 1, 1), "f4"),
            "count": np.array([[length]], "f4"),
        })
    result = {}
    for label, built, tolerance in [
        ("real length", data, 1e-4),
        ("8 bits (DynamicQuantizeLSTM)", onnx_8_bits(data, work), EIGHT_BITS),
    ]:
        session = common.onnx_session(built, threads)
        with torch.inference_mode():
            for ids, feed in zip(reviews[:20], feeds, strict=False):
                inside = torch.ones(1, len(ids), 1, dtype=torch.bool)
                expected = net(torch.tensor(ids)[None], torch.tensor([len(ids)]), inside, False)
                check(label, session.run(None, feed)[0][0], expected, tolerance)
        result[label] = samples(lambda session=session: [session.run(None, feed) for feed in feeds], 2.0, 2)
    return result


ROWS = {
    ("a", "onnxruntime"): onnx_row_a,
    ("a", "torch"): torch_row_a,
    ("a", "keras"): keras_row_a,
    ("b", "onnxruntime"): onnx_row_b,
    ("b", "torch"): torch_row_b,
    ("c", "onnxruntime"): onnx_row_c,
    ("d", "keras"): keras_row_d,
    ("e", "torch"): torch_row_e,
    ("e", "onnxruntime"): onnx_row_e,
    ("f", "torch"): torch_row_f,
    ("f", "onnxruntime"): onnx_row_f,
}


def main():
    """Runs one measurement."""
    from pathlib import Path

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--row", required=True, choices=sorted({row for row, _ in ROWS}))
    parser.add_argument("--peer", required=True, choices=sorted({peer for _, peer in ROWS}))
    parser.add_argument("--model", type=Path, required=True, help="model directory of the reference architecture")
    parser.add_argument("--work", type=Path, required=True, help="folder with reviews_2000.jsonl and batch_32.jsonl")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    # Libraries read these when they are first imported.
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = str(arguments.threads)
    measure = ROWS[arguments.row, arguments.peer]
    print(json.dumps(measure(ModelDirectory(arguments.model), arguments.work, arguments.threads)))


if __name__ == "__main__":
    main()
