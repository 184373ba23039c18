"""Asks a running server through both generated Python clients: URL."""

import sys

url = sys.argv[1]
TEXT = "A gripping, beautifully shot film."
# Reviews that a pattern anchored at the start would refuse.
ODD = ['"Quoted", it begins.', "(10/10)\nTwo lines.", "...and it ends", "<br />Great."]


def openapi_generator():
    import openapi_client as generated

    api = generated.ApiClient(generated.Configuration(host=url))
    sentiment = generated.SentimentApi(api)
    one = sentiment.predict(generated.PredictRequest(generated.OneText(text=TEXT))).actual_instance
    assert one.label == generated.Label.POSITIVE and one.score > 0.5, one
    many = generated.ManyTexts(texts=[TEXT, *ODD])
    many = sentiment.predict(generated.PredictRequest(many)).actual_instance
    assert many.failed is None and len(many.predictions) == 1 + len(ODD), many
    assert many.predictions[0].actual_instance.label == generated.Label.POSITIVE, many
    for texts, failed in (([TEXT, "..."], 1), ([TEXT], 0)):
        # A text without a word is refused by the client itself, which knows the pattern.
        reported = generated.ManyTexts.model_construct(texts=texts, on_error="report")
        reported = sentiment.predict(generated.PredictRequest.model_construct(actual_instance=reported)).actual_instance
        assert reported.failed == failed, reported
    try:
        sentiment.predict(generated.PredictRequest(generated.OneText(text=TEXT, model="nobody")))
    except generated.ApiException as error:
        assert error.status == 404, error
    else:
        raise AssertionError("an unknown model was served")
    info = generated.OperationApi(api).info()
    assert info.models[0].config["vocab_size"] > 0, info
    v2 = generated.OpenInferenceProtocolApi(api)
    tensor = generated.InferInput(name="text", shape=[1], datatype="BYTES", data=[TEXT])
    answer = v2.v2_infer(info.model, generated.InferBody(inputs=[tensor]))
    assert answer.outputs[0].data == ["positive"], answer
    assert v2.v2_model_ready(info.model).ready


def openapi_python_client():
    from small import Client
    from small.api.operation import info
    from small.api.sentiment import predict
    from small.models import Label, ManyTexts, OneText

    client = Client(base_url=url)
    one = predict.sync(client=client, body=OneText(text=TEXT))
    assert one.label == Label.POSITIVE, one
    many = predict.sync(client=client, body=ManyTexts(texts=[TEXT, *ODD]))
    assert len(many.predictions) == 1 + len(ODD) and many.predictions[0].label == Label.POSITIVE, many
    problem = predict.sync(client=client, body=OneText(text=TEXT, model="nobody"))
    assert problem.status == 404 and "no model" in problem.detail, problem
    assert info.sync(client=client).models[0].config["vocab_size"] > 0


openapi_generator()
openapi_python_client()
print("both Python clients answer")
