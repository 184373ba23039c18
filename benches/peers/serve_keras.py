#!/usr/bin/env python3
"""The same model behind FastAPI and uvicorn, run by Keras: a peer for the table of the HTTP service.

python benches/peers/serve_keras.py --model models/keras-imdb --port 8002 [--call predict|function|xla]
"""

import numpy as np
from common import ModelDirectory, keras_reference, quiet_tensorflow
from serving import serve


def predictor(model, arguments):
    """Text to probability and number of words."""
    tensorflow = quiet_tensorflow(arguments.threads)
    net = keras_reference(model)
    if arguments.call == "predict":

        def run(row):
            return net.predict(row, verbose=0)

    else:
        run = tensorflow.function(
            lambda row: net(row, training=False),
            input_signature=[tensorflow.TensorSpec((1, model.length), tensorflow.int32)],
            jit_compile=arguments.call == "xla",
        )

    def predict(text):
        ids = model.encode(text)
        return float(np.asarray(run(model.pad(ids).astype(np.int32)))[0, 0]), len(ids) - 1

    return predict


def add_call(parser):
    """The flag that only Keras has."""
    parser.add_argument(
        "--call",
        choices=["predict", "function", "xla"],
        default="function",
        help="model.predict as tutorials do; one traced tf.function (default); the same compiled by XLA",
    )


if __name__ == "__main__":
    serve(__doc__, predictor, ModelDirectory, add_call)
