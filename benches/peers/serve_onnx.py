#!/usr/bin/env python3
"""The same model behind FastAPI and uvicorn, run by ONNX Runtime: a peer for the table of the HTTP service.

python benches/peers/serve_onnx.py --model models/keras-imdb --port 8001
"""

import numpy as np
from common import ModelDirectory, onnx_reference, onnx_session
from serving import serve


def predictor(model, arguments):
    """Text to probability and number of words."""
    session = onnx_session(onnx_reference(model, sequence_first=True), arguments.threads)

    def predict(text):
        ids = model.encode(text)
        feed = {"ids": np.ascontiguousarray(model.pad(ids).T)}
        return float(session.run(None, feed)[0][0, 0]), len(ids) - 1

    return predict


if __name__ == "__main__":
    serve(__doc__, predictor, ModelDirectory)
