"""What the two peer services share: flags, the route, uvicorn."""

import argparse
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel


class Review(BaseModel):
    """The body of a request."""

    text: str


def application(predict, name):
    """A service with the one route that is compared, answering with the fields of our own answer."""
    app = FastAPI()

    # `async`, so that the model runs where the request is: handing so short a computation to FastAPI's thread pool
    # costs more than it, and the comparison is for one core.
    @app.post("/predict")
    async def route(review: Review):
        probability, tokens = predict(review.text)
        positive = probability >= 0.5
        return {
            "label": "positive" if positive else "negative",
            "score": probability if positive else 1.0 - probability,
            "probabilities": {"negative": 1.0 - probability, "positive": probability},
            "tokens": tokens,
            "model": name,
        }

    @app.get("/health")
    async def health():
        return {"status": "ok"}

    return app


def serve(description, predictor, load, add_flags=None):
    """Reads the flags, loads the model, answers one review and listens."""
    parser = argparse.ArgumentParser(description=description.split("\n")[0])
    parser.add_argument("--model", type=Path, default=Path("models/keras-imdb"), help="model directory")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--threads", type=int, default=1, help="threads of the inference library")
    if add_flags:
        add_flags(parser)
    arguments = parser.parse_args()
    predict = predictor(load(arguments.model), arguments)
    predict("A first review, so that nothing is traced or compiled under load.")
    app = application(predict, arguments.model.resolve().name)
    uvicorn.run(app, host=arguments.host, port=arguments.port, log_level="warning", access_log=False)
