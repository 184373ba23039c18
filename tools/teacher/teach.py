"""Fine-tunes MPNet on labelled reviews and judges texts; on a GPU where there is one, else on the CPU in bfloat16.

    python teach.py pieces.npz target/teacher/all-mpnet-base-v2/model.safetensors target/teacher/run

Several teachers are trained, apart by their seeds, and judge every text but the labelled reviews that they learnt from;
with `--folds` the films are dealt among them, each leaves its share out and judges those labelled reviews too. A text's
logit is the mean of the teachers that judged it. `logits.npy` has one float16 for each text, in order; NaN where there is
none. A run that was stopped goes on where its last checkpoint is.
"""

import argparse
import json
import math
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from mpnet import END, MAX_PIECES, PADDING, START, Teacher, published

UNLABELLED = 2
# Of a text that is longer than the encoder reads: its beginning, and its end, where verdicts stand.
HEAD = 128


@dataclass
class Settings:
    teachers: int = 2
    folds: bool = False
    epochs: int = 3
    batch: int = 32
    learning_rate: float = 4e-5
    # Each layer learns at this share of the rate of the one above it.
    layer_decay: float = 0.9
    warmup: float = 0.06
    weight_decay: float = 0.01
    smoothing: float = 0.02
    seed: int = 1
    max_pieces: int = MAX_PIECES
    # Pieces that are judged at once.
    judge_pieces: int = 65536


class Texts:
    """The pieces of all texts, on the device."""

    def __init__(self, path: Path, device: torch.device, max_pieces: int):
        columns = np.load(path)
        lengths = columns["length"].astype(np.int64)
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        self.ids = torch.from_numpy(columns["ids"].astype(np.int32)).to(device)
        self.starts = torch.from_numpy(starts).to(device)
        self.lengths = torch.from_numpy(lengths).to(device)
        self.read = np.minimum(lengths, max_pieces)
        self.max_pieces = max_pieces
        self.source, self.whole = columns["source"], columns["whole"]
        self.split, self.film = columns["split"], columns["film"]
        self.device = device

    def __len__(self) -> int:
        return len(self.read)

    def batch(self, rows: np.ndarray) -> torch.Tensor:
        """The ids of these texts, padded to a multiple of eight, [B, L]."""
        length = int(-(-self.read[rows].max() // 8) * 8)
        at = torch.from_numpy(rows).to(self.device)
        place = torch.arange(length, device=self.device)[None, :]
        total, start = self.lengths[at][:, None], self.starts[at][:, None]
        # What stands between head and tail is left out.
        skipped = (total - self.max_pieces).clamp(min=0)
        from_place = torch.where((place < HEAD) | (skipped == 0), place, place + skipped)
        ids = self.ids[(start + from_place.clamp(max=total - 1)).clamp(max=len(self.ids) - 1)]
        return torch.where(from_place < total, ids, PADDING).long()


class Trainer:
    """AdamW on float32 copies of bfloat16 weights."""

    def __init__(self, model: Teacher, settings: Settings):
        layers = len(model.layers)
        groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
        self.pairs = []
        for name, parameter in model.named_parameters():
            depth = layers if name.startswith("classifier") else int(name.split(".")[1]) if name.startswith("layers") else -1
            rate = settings.learning_rate * settings.layer_decay ** (layers - 1 - min(depth, layers - 1))
            rate *= 5 if depth == layers else 1
            decay = settings.weight_decay if parameter.ndim > 1 else 0.0
            master = parameter.detach().float().clone().requires_grad_()
            self.pairs.append((parameter, master))
            groups.setdefault((rate, decay), []).append(master)
        groups = [{"params": params, "lr": rate, "weight_decay": decay} for (rate, decay), params in groups.items()]
        fused = self.pairs[0][0].device.type == "cuda"
        self.optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), eps=1e-6, fused=fused)
        self.rates = [group["lr"] for group in self.optimizer.param_groups]

    @torch.no_grad()
    def step(self, factor: float) -> None:
        for group, rate in zip(self.optimizer.param_groups, self.rates):
            group["lr"] = rate * factor
        masters = [master for _, master in self.pairs]
        grads = [parameter.grad.float() for parameter, _ in self.pairs]
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
        torch._foreach_mul_(grads, (1.0 / (norm + 1e-6)).clamp(max=1.0))
        for master, grad in zip(masters, grads):
            master.grad = grad
        self.optimizer.step()
        torch._foreach_copy_([parameter for parameter, _ in self.pairs], masters)
        for parameter, _ in self.pairs:
            parameter.grad = None

    def state(self) -> dict:
        return {"masters": [master.detach().cpu() for _, master in self.pairs], "optimizer": self.optimizer.state_dict()}

    @torch.no_grad()
    def restore(self, state: dict) -> None:
        for (parameter, master), saved in zip(self.pairs, state["masters"]):
            master.copy_(saved)
            parameter.copy_(saved)
        self.optimizer.load_state_dict(state["optimizer"])


def batches_of(rows: np.ndarray, lengths: np.ndarray, size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """One pass over `rows` in batches of like length."""
    rows = rng.permutation(rows)
    bucket = 32 * size
    batches = []
    for at in range(0, len(rows), bucket):
        part = rows[at : at + bucket]
        part = part[np.argsort(lengths[part], kind="stable")]
        batches += [part[begin : begin + size] for begin in range(0, len(part), size)]
    return [batches[at] for at in rng.permutation(len(batches))]


class Run:
    def __init__(self, arguments: argparse.Namespace, settings: Settings):
        self.settings, self.folder = settings, arguments.output
        self.folder.mkdir(parents=True, exist_ok=True)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.every = arguments.checkpoint_seconds
        self.began, self.budget = time.monotonic(), arguments.budget_seconds
        self.texts = Texts(arguments.pieces, self.device, settings.max_pieces)
        self.tensors = published(str(arguments.weights))
        self.dims = json.loads(arguments.dims) if arguments.dims else {}
        texts = self.texts
        self.labelled = (texts.source < UNLABELLED) & (texts.split == 0)
        self.fold = ((texts.film * 2654435761) % (1 << 32) >> 16) % settings.teachers
        self.saved = time.monotonic()

    def say(self, **what) -> None:
        what["seconds"] = round(time.monotonic() - self.began, 1)
        line = json.dumps(what)
        print(line, flush=True)
        with open(self.folder / "log.jsonl", "a") as log:
            log.write(line + "\n")

    def kernels(self):
        if self.device.type != "cuda":
            return nullcontext()
        # The one that takes a bias, without planning anew for every shape.
        return sdpa_kernel([SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH])

    def checkpoint(self, state: dict, always: bool = False) -> None:
        """Every ten minutes by default: a stopped run loses no more."""
        if not always and time.monotonic() - self.saved < self.every:
            return
        beside = self.folder / "checkpoint.tmp"
        torch.save(state, beside)
        beside.rename(self.folder / "checkpoint.pt")
        self.saved = time.monotonic()

    def restored(self) -> dict | None:
        path = self.folder / "checkpoint.pt"
        if not path.exists():
            return None
        state = torch.load(path, map_location="cpu", weights_only=False)
        if state["settings"] != asdict(self.settings) or state["texts"] != len(self.texts):
            raise SystemExit(f"error: {path} is of a run with other settings or texts")
        return state

    def common(self, number: int, sums: np.ndarray, counts: np.ndarray) -> dict:
        settings = asdict(self.settings)
        return {"settings": settings, "texts": len(self.texts), "teacher": number, "sums": sums, "counts": counts}

    def share_of_time(self, number: int) -> float | None:
        """Seconds that this fold may take, where time is short."""
        if not self.budget:
            return None
        return (self.budget - (time.monotonic() - self.began)) / (self.settings.teachers - number)

    def train(self, number: int, state: dict | None, common: dict) -> Teacher:
        settings, texts = self.settings, self.texts
        torch.manual_seed(settings.seed * 1000 + number)
        model = Teacher(**self.dims)
        model.load_published(self.tensors)
        model.to(self.device, torch.bfloat16).train()
        trainer = Trainer(model, settings)
        learnt = self.labelled & texts.whole
        if settings.folds:
            learnt &= self.fold != number
        rows = np.flatnonzero(learnt)
        steps_a_pass = -(-len(rows) // settings.batch)
        total, done = settings.epochs * steps_a_pass, 0
        if state and "trainer" in state:
            trainer.restore(state["trainer"])
            done, total = state["step"], state["total"]
        share, began, counted = self.share_of_time(number), time.monotonic(), 0
        running = []
        for epoch in range(settings.epochs):
            rng = np.random.default_rng([settings.seed, number, epoch])
            for at, batch in enumerate(batches_of(rows, texts.read, settings.batch, rng)):
                step = epoch * steps_a_pass + at
                if step < done or step >= total:
                    continue
                target = torch.from_numpy((texts.source[batch] == 1).astype(np.float32)).to(self.device)
                target = target * (1 - settings.smoothing) + settings.smoothing / 2
                with self.kernels():
                    loss = F.binary_cross_entropy_with_logits(model(texts.batch(batch)), target)
                    loss.backward()
                warm = max(1, int(settings.warmup * total))
                trainer.step(min((step + 1) / warm, (total - step) / max(1, total - warm)))
                running.append(loss.detach())
                counted += 1
                if share and counted == 40:
                    if self.device.type == "cuda":
                        torch.cuda.synchronize()
                    # Within the warm-up the end of the schedule can still be moved: judging gets 60 % of the time.
                    speed = (time.monotonic() - began) / counted
                    total = min(total, max(warm + 1, int(0.4 * share / speed)))
                    self.say(teacher=number, seconds_a_step=round(speed, 4), steps=total)
                if (step + 1) % 200 == 0 or step + 1 == total:
                    self.say(teacher=number, step=step + 1, of=total, loss=round(torch.stack(running).mean().item(), 4))
                    running.clear()
                if time.monotonic() - self.saved >= self.every:
                    self.checkpoint({**common, "step": step + 1, "total": total, "trainer": trainer.state()})
        self.say(teacher=number, trained=len(rows), train_seconds=round(time.monotonic() - began, 1))
        return model.eval()

    def judge(self, model: Teacher, number: int, sums: np.ndarray, counts: np.ndarray, state: dict | None) -> None:
        """Adds the model's logits to `sums`: whole texts first, stretches in an order that a stop cuts anywhere."""
        texts, settings = self.texts, self.settings
        mine = ~self.labelled | (self.fold == number) if settings.folds else ~self.labelled
        rng = np.random.default_rng([settings.seed, 7])
        wholes, stretches = np.flatnonzero(mine & texts.whole), rng.permutation(np.flatnonzero(mine & ~texts.whole))
        chunks = [wholes] if len(wholes) else []
        chunks += [stretches[at : at + 100_000] for at in range(0, len(stretches), 100_000)]
        done = state.get("chunks", 0) if state else 0
        share, began, pieces = self.share_of_time(number), time.monotonic(), 0
        deadline = began + share if share else math.inf
        for place, chunk in enumerate(chunks):
            if place < done:
                continue
            if time.monotonic() > deadline:
                self.say(teacher=number, judged="time ran out", chunks=place, of=len(chunks))
                break
            chunk = chunk[np.argsort(-texts.read[chunk], kind="stable")]
            logits, at = [], 0
            with torch.no_grad(), self.kernels():
                while at < len(chunk):
                    length = -(-int(texts.read[chunk[at]]) // 8) * 8
                    end = at + max(1, settings.judge_pieces // length)
                    logits.append(model(texts.batch(chunk[at:end])))
                    at = end
            sums[chunk] += torch.cat(logits).float().cpu().numpy()
            counts[chunk] += 1
            pieces += int(texts.read[chunk].sum())
            if time.monotonic() - self.saved >= self.every:
                trained = {"chunks": place + 1, "model": model.state_dict()}
                self.checkpoint({**self.common(number, sums, counts), **trained})
        seconds = time.monotonic() - began
        self.say(teacher=number, judged=int(mine.sum()), pieces=pieces, pieces_a_second=int(pieces / max(seconds, 1e-9)))

    def write(self, sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            logits = (sums / counts).astype(np.float16)
        np.save(self.folder / "logits.npy", logits)
        return logits

    def measure(self, logits: np.ndarray, **what) -> None:
        """Accuracy on labelled reviews that no teacher learnt from."""
        for name, rows in (
            ("held_out", self.texts.split == 1),
            ("out_of_fold", self.labelled),
        ):
            rows = rows & self.texts.whole & (self.texts.source < UNLABELLED) & ~np.isnan(logits)
            if rows.any():
                z, y = logits[rows].astype(np.float64), self.texts.source[rows] == 1
                loss = np.mean(np.logaddexp(0, np.where(y, -z, z)))
                self.say(**what, on=name, reviews=int(rows.sum()), accuracy=round(float(np.mean((z > 0) == y)), 4), loss=round(loss, 4))

    def run(self) -> None:
        state = self.restored()
        sums = state["sums"] if state else np.zeros(len(self.texts), np.float32)
        counts = state["counts"] if state else np.zeros(len(self.texts), np.float32)
        self.say(texts=len(self.texts), device=str(self.device), settings=asdict(self.settings))
        for number in range(state["teacher"] if state else 0, self.settings.teachers):
            if state and "model" in state:
                model = Teacher(**self.dims).to(self.device, torch.bfloat16).eval()
                model.load_state_dict(state["model"])
            else:
                model = self.train(number, state, self.common(number, sums, counts))
            self.judge(model, number, sums, counts, state)
            state = None
            logits = self.write(sums, counts)
            self.measure(logits, teacher=number)
            if self.every < 3600:
                self.checkpoint(self.common(number + 1, sums, counts), always=True)
        self.say(done=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pieces", type=Path, help="what tokenize_texts.py wrote")
    parser.add_argument("weights", type=Path, help="model.safetensors as published")
    parser.add_argument("output", type=Path, help="folder for logits.npy, log.jsonl and the checkpoint")
    for name, value in asdict(Settings()).items():
        flag = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            parser.add_argument(flag, action="store_true")
        else:
            parser.add_argument(flag, type=type(value), default=value)
    parser.add_argument("--budget-seconds", type=float, default=0, help="shorten passes and judging to fit; 0 takes what it takes")
    parser.add_argument("--checkpoint-seconds", type=float, default=600)
    parser.add_argument("--dims", help="JSON of another network's sizes, for tests")
    arguments = parser.parse_args()
    settings = Settings(**{name: getattr(arguments, name) for name in asdict(Settings())})
    Run(arguments, settings).run()


if __name__ == "__main__":
    main()
