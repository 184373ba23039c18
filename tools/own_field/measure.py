"""What a model of one's own is worth: sentences about products by Hu, Liu and others (CC BY 4.0), none of which is kept here.

    pip install -r tools/own_field/requirements.txt
    python tools/own_field/measure.py product_reviews_1.zip product_reviews_2.zip target/own-field

A sentence is positive or negative by the sum of its marks (`battery[+2], size[-1]##text`). Two splits, drawn once with one
seed: 2,000 sentences at random and the others; ten products and the four others. For each: the shipped model as it is, a
tf-idf of words and pairs with a logistic regression (its strength by cross-validation), and the shipped model fitted to the
same rows with `trainer train --init`; accuracy and calibration error (15 bins) on the other side, as rows of a table. Several
seeds of the training give their mean and spread; `--draws` draws products and rows anew as well. So few rows show an error by
chance: the last column is that of labels drawn by the model's own probabilities, which are right then.
"""

import argparse
import csv
import json
import random
import re
import statistics
import subprocess
import zipfile
from pathlib import Path

SEED = 13
BINS = 15
ROWS = 2000
PRODUCTS = 4


def sentences(archives: list[Path]) -> list[dict]:
    """Text, label and product of each marked sentence, each text once."""
    rows = {}
    for path in archives:
        with zipfile.ZipFile(path) as archive:
            for name in sorted(archive.namelist()):
                if not name.endswith(".txt") or "README" in name:
                    continue
                for line in archive.read(name).decode("latin-1").splitlines():
                    tags, found, text = line.partition("##")
                    sum_of_marks = sum(map(int, re.findall(r"\[([+-]\d)\]", tags)))
                    text = text.strip()
                    if found and not line.startswith("[t]") and sum_of_marks and text:
                        label = "positive" if sum_of_marks > 0 else "negative"
                        rows.setdefault(text, {"text": text, "label": label, "product": Path(name).stem})
    return list(rows.values())


def splits(rows: list[dict], seed: int) -> dict[str, tuple[list[dict], list[dict]]]:
    products = sorted({row["product"] for row in rows})
    kept_back = set(random.Random(seed).sample(products, PRODUCTS))
    by_product = tuple([row for row in rows if (row["product"] in kept_back) == side] for side in (False, True))
    shuffled = list(rows)
    random.Random(seed).shuffle(shuffled)
    return {"products": by_product, "rows": (shuffled[:ROWS], shuffled[ROWS:])}


def write(path: Path, rows: list[dict]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, ["text", "label", "product"])
        table.writeheader()
        table.writerows(rows)


def tfidf(train: list[dict], test: list[dict]) -> float:
    """The accuracy of a tf-idf with a logistic regression."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.pipeline import make_pipeline

    def sides(rows: list[dict]) -> list[bool]:
        return [row["label"] == "positive" for row in rows]

    def texts(rows: list[dict]) -> list[str]:
        return [row["text"] for row in rows]

    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
        LogisticRegressionCV(
            Cs=10, cv=5, max_iter=2000, scoring="neg_log_loss", l1_ratios=(0.0,), use_legacy_attributes=False
        ),
    )
    model.fit(texts(train), sides(train))
    # `score` would be the logarithmic loss that the strength is chosen by.
    return float((model.predict(texts(test)) == sides(test)).mean())


def error_by_chance(probabilities: list[float]) -> float:
    """The calibration error that is measured where there is none: the mean of 200 draws."""
    import numpy

    generator = numpy.random.default_rng(SEED)
    probabilities = numpy.array(probabilities)
    bins = numpy.minimum((probabilities * BINS).astype(int), BINS - 1)

    def draw() -> float:
        distance = probabilities - (generator.random(len(probabilities)) < probabilities)
        return abs(numpy.bincount(bins, distance, BINS)).sum() / len(probabilities)

    return statistics.mean(draw() for _ in range(200))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archives", type=Path, nargs=2)
    parser.add_argument("work", type=Path, help="folder for tables and models")
    parser.add_argument("--trainer", default="target/release/trainer")
    parser.add_argument("--model", default="models/imdb")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--draws", type=int, default=1, help="with how many seeds in a row products and rows are drawn")
    parser.add_argument("--only", choices=["products", "rows"])
    parser.add_argument("--train-args", default="", help="further flags of `trainer train`, in one word")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)

    def evaluate(model: Path | str, data: Path) -> tuple[float, float]:
        command = [arguments.trainer, "evaluate", "--json", "--model", str(model), "--data", str(data)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        figures = json.loads(done.stdout)
        return figures["accuracy"], figures["ece"]

    def by_chance(model: Path, data: Path) -> float:
        answers = arguments.work / "answers.jsonl"
        command = [arguments.trainer, "predict", "--model", str(model), "--input", str(data), "--output", str(answers)]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        with answers.open(encoding="utf-8") as lines:
            return error_by_chance([json.loads(line)["probabilities"]["positive"] for line in lines])

    def pair(values: list[float]) -> str:
        spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
        return f"{statistics.mean(values):.3f}{spread}"

    rows = sentences(arguments.archives)
    print(f"{len(rows)} sentences about {len({row['product'] for row in rows})} products\n")
    print("| split | learnt from | measured on | as shipped | tf-idf | fitted | calibration error: shipped | fitted | chance |")
    print("|---|---|---|---|---|---|---|---|---|")
    drawn = [(name, sides) for draw in range(arguments.draws) for name, sides in splits(rows, SEED + draw).items()]
    for name, (train, test) in drawn:
        if arguments.only not in (None, name):
            continue
        tables = [arguments.work / f"{name}_{side}.csv" for side in ("train", "test")]
        write(tables[0], train)
        write(tables[1], test)
        fitted = []
        for seed in range(1, arguments.seeds + 1):
            own = arguments.work / f"{name}-{seed}"
            command = [arguments.trainer, "train", "--data", str(tables[0]), "--init", arguments.model]
            command += ["--output", str(own), "--force", "--seed", str(seed), *arguments.train_args.split()]
            with (arguments.work / f"{name}-{seed}.log").open("w") as log:
                subprocess.run(command, check=True, stdout=log, stderr=log)
            fitted.append(evaluate(own, tables[1]))
        shipped = evaluate(arguments.model, tables[1])
        accuracies, errors = [list(values) for values in zip(*fitted)]
        print(
            f"| {name} | {len(train)} | {len(test)} | {shipped[0]:.3f} | {tfidf(train, test):.3f} | {pair(accuracies)} "
            f"| {shipped[1]:.3f} | {pair(errors)} | {by_chance(arguments.work / f'{name}-1', tables[1]):.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
