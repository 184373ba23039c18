"""Asks running servers through other people's clients: URL, URL of one with API keys."""

import sys

import numpy as np

url, guarded = sys.argv[1:]
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
    # Answers above a kilobyte, packed; bodies packed.
    many = triton.InferInput("text", [200], "BYTES")
    many.set_data_from_numpy(np.array([GOOD.encode()] * 200, dtype=object))
    for packed in ("gzip", "deflate"):
        answer = client.infer(
            model, [many], request_compression_algorithm=packed, response_compression_algorithm=packed
        )
        assert set(answer.as_numpy("label")) == {b"positive"}
    wanted = triton.InferRequestedOutput("probabilities", class_count=1)
    classes = client.infer(model, [many], outputs=[wanted]).as_numpy("probabilities")
    assert classes.shape == (200, 1) and classes[0][0].endswith(b":1:positive"), classes[0]
    config = client.get_model_config(model)
    assert config["name"] == model and config["input"][0]["data_type"] == "TYPE_STRING", config
    figures = client.get_inference_statistics(model)["model_stats"][0]
    assert figures["inference_count"] >= 400, figures
    assert [entry["state"] for entry in client.get_model_repository_index()] == ["READY"]
    client.unload_model(model)
    assert not client.is_model_ready(model)
    client.load_model(model)
    assert client.is_model_ready(model)
    client.close()
    # Whatever layer refuses, these clients find its sentence.
    stranger = triton.InferenceServerClient(guarded.removeprefix("http://"))
    try:
        stranger.get_model_metadata(model)
    except InferenceServerException as error:
        assert "key" in error.message(), error
    else:
        raise AssertionError("no key was asked for")
    stranger.close()


def kserve():
    import asyncio
    from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
    from kserve.protocol.infer_type import RequestedOutput

    async def ask():
        client = InferenceRESTClient(RESTConfig(protocol="v2"))
        assert await client.is_server_live(url) and await client.is_server_ready(url)
        model = "keras-imdb"
        assert await client.is_model_ready(url, model) and not await client.is_model_ready(url, "nobody")
        for binary in (True, False):
            texts = InferInput("text", [2], "BYTES")
            texts.set_data_from_numpy(np.array([GOOD.encode(), BAD.encode()], dtype=object), binary_data=binary)
            wanted = [RequestedOutput(name, parameters={"binary_data": binary}) for name in ("label", "probabilities")]
            answer = await client.infer(url, InferRequest(model, [texts], request_id="7", request_outputs=wanted), model)
            labels = [label.decode() if isinstance(label, bytes) else label for label in answer.outputs[0].as_numpy()]
            assert labels == ["positive", "negative"] and answer.id == "7", answer
            assert answer.outputs[1].as_numpy().shape == (2, 2), answer
        for texts, said in [(["..."], "word"), ([], "no text")]:
            body = {"inputs": [{"name": "text", "shape": [len(texts)], "datatype": "BYTES", "data": texts}]}
            try:
                await client.infer(url, body, model)
            except Exception as error:
                assert error.response.status_code == 422 and said in str(error), error
            else:
                raise AssertionError("a text without a word was classified")
        try:
            await client.infer(guarded, body, model)
        except Exception as error:
            assert error.response.status_code == 401 and "key" in str(error), error
        else:
            raise AssertionError("no key was asked for")
        await client.close()

    asyncio.run(ask())


def open_inference():
    from open_inference.openapi.client import OpenInferenceClient

    client = OpenInferenceClient(base_url=url)
    assert client.check_server_readiness() is not False
    metadata = client.read_model_metadata("keras-imdb")
    assert metadata.inputs[0].name == "text", metadata


def openai():
    from openai import APIStatusError, OpenAI

    client = OpenAI(base_url=url + "/v1", api_key="none")
    assert [model.id for model in client.models.list()] == ["keras-imdb"]
    answer = client.post("/classify", cast_to=dict, body={"input": [GOOD, BAD], "model": "keras-imdb"})
    assert [entry["label"] for entry in answer["data"]] == ["positive", "negative"], answer
    try:
        client.models.retrieve("nobody")
    except APIStatusError as error:
        assert error.status_code == 404 and "no model" in error.response.json()["error"], error
    else:
        raise AssertionError("an unknown model was told of")


def text_embeddings_inference():
    from tei_client import HttpClient

    client = HttpClient(url)
    assert client.health()
    info = client.info()
    assert info.server_model_id == "keras-imdb" and info.server_model_metadata.id2label["1"] == "positive", info
    both = client.classify([GOOD, BAD])
    assert [result.scores[0].label for result in both] == ["positive", "negative"], both
    raw = client.classify([GOOD], raw_scores=True)[0].scores
    assert raw[0].score > 0 > raw[1].score, raw
    # It gives a pair of texts as a tuple; the answer is a refusal, which it does not read as scores.
    try:
        client.classify([(GOOD, BAD)])
    except Exception:
        pass
    else:
        raise AssertionError("a pair was classified")


huggingface_hub()
tritonclient()
kserve()
open_inference()
openai()
text_embeddings_inference()
print("huggingface_hub, tritonclient, kserve, open-inference-openapi, openai and tei_client are answered")
