"""Reads model cards as the Hub does: DIRECTORY… ; fails on what the Hub would not show."""

import json
import pathlib
import re
import sys
import xml.dom.minidom

from huggingface_hub import ModelCard

for directory in map(pathlib.Path, sys.argv[1:]):
    text = (directory / "README.md").read_text(encoding="utf8")
    card = ModelCard(text)
    data = card.data
    assert data.pipeline_tag == "text-classification" and data.library_name == "imdb-sentiment", directory
    assert set(data.metrics) >= {"accuracy", "f1"}, data.metrics
    # The head survives being written and read again, figures included.
    again = ModelCard(f"---\n{data.to_yaml()}\n---\n{card.text}").data
    assert again.to_dict() == data.to_dict(), directory
    record = json.loads((directory / "training.json").read_text())
    if not record["data"].get("own"):
        assert data.license and data.language == "en" and data.datasets == ["stanfordnlp/imdb"], data.to_dict()
    results = {result.metric_type: result for result in data.eval_results or []}
    assert results, f"{directory}: no figures"
    measured = record["results"]["validation"]
    for name, key in (("accuracy", "accuracy"), ("f1", "f1"), ("roc_auc", "auc")):
        assert abs(results[name].metric_value - measured[key]) < 1e-4, (directory, name)
        assert results[name].task_type == "text-classification" and results[name].dataset_name, name
    # Every picture that it shows is there, is sound, and has names at its axes and both colour schemes.
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", card.text)
    assert pictures, f"{directory}: no picture"
    for picture in pictures:
        svg = (directory / picture).read_text()
        xml.dom.minidom.parseString(svg)
        assert "prefers-color-scheme:dark" in svg and ("epoch" in svg or "predicted" in svg), (directory, picture)
    assert len(record.get("seeds", [])) in (0, 2)
    if record.get("seeds"):
        assert "| held-out reviews | mean | spread |" in card.text
    assert json.loads((directory / "golden.json").read_text())["reviews"], directory
    assert json.loads((directory / "baseline.json").read_text())["reviews"], directory
    print(f"{directory.name}: card, {len(results)} figures, {len(pictures)} pictures")
