"""Asks a running server through other people's clients: URL."""

import sys

import numpy as np

url = sys.argv[1]
GOOD = "A gripping, beautifully shot film."
BAD = "Awful. A complete waste of time, boring and badly acted."


def huggingface_hub():
    from huggingface_hub import InferenceClient
    from huggingface_hub.errors import HfHubHTTPError

    client = InferenceClient(model=url)
    for text, label in [(GOOD, "positive"), (BAD, "negative")]:
        best = client.text_classification(text, top_k=1)
        assert [element.label for element in best] == [label] and best[0].score > 0.5, best
    both = client.text_classification(GOOD)
    assert abs(sum(element.score for element in both) - 1) < 1e-5, both
    try:
        client.text_classification("...")
    except HfHubHTTPError as error:
        assert error.response.status_code == 422 and "word" in error.response.json()["error"], error
    else:
        raise AssertionError("a text without a word was classified")


def tritonclient():
    import tritonclient.http as triton
    from tritonclient.utils import InferenceServerException

    client = triton.InferenceServerClient(url.removeprefix("http://"))
    assert client.is_server_live() and client.is_server_ready()
    model = "keras-imdb"
    assert client.is_model_ready(model)
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    metadata = client.get_model_metadata(model)
    assert metadata["inputs"][0]["datatype"] == "BYTES", metadata
    for binary in (True, False):
        texts = triton.InferInput("text", [2], "BYTES")
        texts.set_data_from_numpy(np.array([GOOD.encode(), BAD.encode()], dtype=object), binary_data=binary)
        wanted = [triton.InferRequestedOutput(name, binary_data=binary) for name in ("label", "probabilities")]
        answer = client.infer(model, [texts], outputs=wanted, request_id="7")
        labels = [label.decode() if isinstance(label, bytes) else label for label in answer.as_numpy("label")]
        assert labels == ["positive", "negative"], labels
        assert answer.as_numpy("probabilities").shape == (2, 2)
        assert answer.get_response()["id"] == "7"
    try:
        client.get_model_metadata("nobody")
    except InferenceServerException as error:
        assert "no model" in error.message(), error
    else:
        raise AssertionError("an unknown model has metadata")
    client.close()


def open_inference():
    from open_inference.openapi.client import OpenInferenceClient

    client = OpenInferenceClient(base_url=url)
    assert client.check_server_readiness() is not False
    metadata = client.read_model_metadata("keras-imdb")
    assert metadata.inputs[0].name == "text", metadata


huggingface_hub()
tritonclient()
open_inference()
print("huggingface_hub, tritonclient and open-inference-openapi are answered")
