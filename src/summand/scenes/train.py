"""Train a scenes CLIP from scratch: `python -m summand.scenes.train scenes-vit --out runs/scenes-vit`.

Loss = multi-positive InfoNCE over captions (both directions; which captions fit which images is computed from the
causes) + the same contrast among the prompts of each attribute + a classifier on the patches of a middle layer, which
is thrown away afterwards. The text tower is trained first, alone, on the sum of one simplex vector per named value,
stays locked while the image tower learns, and is unlocked at a low rate at the end: trained jointly from the start,
slow attributes (position, letter) stall because their prompts lie too close together to give the images a gradient.
In the last blocks of the ViT the class token's MLP output is dropped at random, so that attention heads write what
the class token knows, as in large CLIPs.

A killed run resumes from its checkpoint with the same command.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .attributes import ATTRIBUTES, GROUP_ATTRIBUTES, SCENE_ATTRIBUTES, Causes, draw_causes
from .captions import captions, prompts
from .pretrained import INPUT_SIZE, NAMES, ScenePreprocess, build
from .render import Chance, Scenes, render, sample
from .tokenizer import SceneTokenizer

TWO_GROUP_SHARE = 0.25
CAPTIONS_PER_SCENE = 2
TEXT_STEPS = 800
WARM_UP = 24_000
SAVE_EVERY = 60.0
"""Seconds between checkpoints."""
UNLOCK_AT = 0.9
PATCH_TASK_UNTIL = 0.9
PATCH_TASK = ("shape", "colour", "texture", "count", "size")
MLP_DROP = 0.25
SLOW = {"count": 3.0, "shape": 2.0, "texture": 2.5}
"""Weights of the attributes that are learnt last, in the contrast among prompts; 1 for the others."""
UNDROPPED_BLOCKS = 2
EVALUATION_SEED = 987_654_321


def mixed_causes(count: int, seed: int) -> Causes:
    """Causes of scenes with one group of objects and, in about a quarter, with two."""
    two = int(count * TWO_GROUP_SHARE)
    singles, doubles = draw_causes(count - two, seed), draw_causes(two, seed, groups=2)
    return Causes(
        np.concatenate([singles.groups, doubles.groups]),
        np.concatenate([singles.place, doubles.place]),
        np.concatenate([singles.letter, doubles.letter]),
    )


class Batches(torch.utils.data.IterableDataset):
    """The batch at a position of a run is a function of (seed, images seen before it) alone, so that a resumed run
    sees what it would have seen."""

    def __init__(self, first: int, stride: int, size: int, seed: int, input_size: int) -> None:
        self.first, self.stride, self.size, self.seed = first, stride, size, seed
        self.preprocess, self.tokenizer = ScenePreprocess(input_size), SceneTokenizer()

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        worker = torch.utils.data.get_worker_info()
        turn, turns = (worker.id, worker.num_workers) if worker else (0, 1)
        position = self.first + turn * self.stride
        while True:
            yield self.batch(position)
            position += turns * self.stride

    def batch(self, position: int) -> dict[str, Tensor]:
        seed = self.seed * 100_000_000 + position
        scenes = render(mixed_causes(self.size, seed), Chance.draw(self.size, seed))
        said = captions(scenes.causes, seed, CAPTIONS_PER_SCENE)
        return {
            "images": self.preprocess(scenes.images),
            "tokens": self.tokenizer(said.texts),
            "match": torch.from_numpy(said.matches(scenes.causes)).float(),
            **{f"target/{name}": _targets(scenes.causes, name) for name in ATTRIBUTES},
            **{f"patch/{name}": _patch_labels(scenes, name) for name in PATCH_TASK},
        }


def _targets(causes: Causes, attribute: str) -> Tensor:
    """Probability of each value of an attribute in each scene, [scene, value]: half each where two groups differ."""
    first = F.one_hot(torch.from_numpy(causes.codes(attribute)), len(ATTRIBUTES[attribute])).float()
    if attribute in SCENE_ATTRIBUTES:
        return first
    codes = torch.from_numpy(causes.codes(attribute, group=1))
    second = F.one_hot(codes.clamp(min=0), first.shape[1]).float()
    return torch.where((codes >= 0)[:, None], (first + second) / 2, first)


def _patch_labels(scenes: Scenes, attribute: str, cells: int = 8) -> Tensor:
    """For every patch 0 where no object covers a fifth of it, else 1 + the value of the object, [scene, cells²]."""
    size = scenes.images.shape[1] // cells
    cover = scenes.group_masks.reshape(len(scenes), 2, cells, size, cells, size).mean(axis=(3, 5))
    codes = np.stack([scenes.causes.codes(attribute, group) for group in (0, 1)], axis=1)
    owner = cover.argmax(axis=1).reshape(len(scenes), -1)
    value = np.take_along_axis(codes, owner, axis=1)
    return torch.from_numpy(np.where(cover.max(axis=1).reshape(len(scenes), -1) >= 0.2, value + 1, 0))


def multi_positive(logits: Tensor, match: Tensor) -> Tensor:
    """Cross-entropy against the uniform distribution over the positives of each row; rows without any are left out."""
    share = match / match.sum(dim=1, keepdim=True).clamp(min=1)
    some = match.sum(dim=1) > 0
    return -(share * logits.log_softmax(dim=1)).sum(dim=1)[some].mean()


def simplex_targets(batch: dict[str, np.ndarray], vectors: dict[str, Tensor]) -> Tensor:
    """Unit sum of one vector per named attribute value: `batch[attribute]` int [text, mention], −1 where silent."""
    total = torch.zeros(len(next(iter(batch.values()))), next(iter(vectors.values())).shape[1])
    for attribute, codes in batch.items():
        for column in torch.from_numpy(codes).T:
            total += torch.where((column >= 0)[:, None], vectors[attribute][column.clamp(min=0)], 0)
    return total / total.norm(dim=1, keepdim=True).clamp(min=1e-6)


def value_vectors(embed: int, seed: int) -> dict[str, Tensor]:
    """Mutually orthogonal sets of vectors, one a value, centred within each attribute (a simplex)."""
    total = sum(len(values) for values in ATTRIBUTES.values())
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(embed, total, generator=generator)).Q.T
    pieces = basis.split([len(values) for values in ATTRIBUTES.values()])
    return {name: F.normalize(piece - piece.mean(dim=0), dim=1) for name, piece in zip(ATTRIBUTES, pieces, strict=True)}


def train_text(model: nn.Module, seed: int, steps: int, device: torch.device, report: Any = print) -> None:
    """Stage one: captions and prompts → the unit sum of the vectors of what they name."""
    tokenizer = SceneTokenizer()
    parameters = _text_parameters(model)
    vectors = value_vectors(model.text_projection.shape[1], seed)
    optimizer = torch.optim.AdamW(parameters, lr=2e-3, weight_decay=0.01)
    prompt_texts, prompt_codes = [], {name: [] for name in ATTRIBUTES}
    for attribute in ATTRIBUTES:
        for code, texts in enumerate(prompts(attribute).values()):
            for text in texts:
                prompt_texts.append(text)
                for name in ATTRIBUTES:
                    prompt_codes[name].append([code if name == attribute else -1] * 2)
    rng = np.random.default_rng(seed)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * step / steps))
        causes = mixed_causes(96, seed * 100_000_000 + 50_000_000 + step)
        said = captions(causes, step, 1)
        some = rng.integers(len(prompt_texts), size=64)
        codes = {}
        for name in ATTRIBUTES:
            if name in SCENE_ATTRIBUTES:
                mention = np.stack([getattr(said, name), np.full(len(said.texts), -1)], axis=1)
            else:
                mention = said.groups[:, :, GROUP_ATTRIBUTES.index(name)]
            codes[name] = np.concatenate([mention, np.array(prompt_codes[name])[some]])
        target = simplex_targets(codes, vectors).to(device)
        named = target.norm(dim=1) > 0.5
        out = model.encode_text(tokenizer(said.texts + [prompt_texts[i] for i in some]).to(device), normalize=True)
        loss = (1 - (out * target).sum(dim=1))[named].mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        if step % 250 == 0 or step == steps - 1:
            report(f"text tower: step {step}/{steps}, 1 − cosine {loss.item():.4f}")


def _text_parameters(model: nn.Module) -> list[nn.Parameter]:
    return [p for name, p in model.named_parameters() if not name.startswith("visual.") and name != "logit_scale"]


class PatchTask(nn.Module):
    """Linear classifiers on the tokens of a middle layer; a training aid that is not kept."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        visual = model.visual
        self.is_vit = hasattr(visual, "transformer")
        layer = visual.transformer.resblocks[3] if self.is_vit else visual.layer3
        width = visual.transformer.width if self.is_vit else visual.layer3[-1].conv3.out_channels
        self.heads = nn.ModuleDict({name: nn.Linear(width, 1 + len(ATTRIBUTES[name])) for name in PATCH_TASK})
        self.seen: Tensor | None = None
        layer.register_forward_hook(self._keep)

    def _keep(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        self.seen = output

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        assert self.seen is not None
        tokens = self.seen[:, 1:] if self.is_vit else self.seen.flatten(2).transpose(1, 2)
        losses = []
        for name, head in self.heads.items():
            label = batch[f"patch/{name}"].flatten()
            each = F.cross_entropy(head(tokens).flatten(0, 1), label, reduction="none")
            on = (label > 0).to(each)
            # Nine patches in ten are background: objects and background count alike.
            losses.append((each * on).sum() / on.sum().clamp(min=1) + (each * (1 - on)).sum() / (1 - on).sum())
        return torch.stack(losses).mean()


def drop_class_token_mlps(model: nn.Module, generator: torch.Generator) -> None:
    """Register hooks that, in training mode, silence the class token's MLP output in the later blocks at random."""
    if not hasattr(model.visual, "transformer"):
        return

    def hook(module: nn.Module, inputs: Any, output: Tensor) -> Tensor | None:
        if not module.training:
            return None
        keep = (torch.rand(len(output), 1, generator=generator) >= MLP_DROP).to(output)
        return torch.cat([output[:, :1] * keep[:, None], output[:, 1:]], dim=1)

    for block in list(model.visual.transformer.resblocks)[UNDROPPED_BLOCKS:]:
        block.mlp.register_forward_hook(hook)


@torch.no_grad()
def prompt_classifiers(model: nn.Module, device: torch.device) -> dict[str, Tensor]:
    """For each attribute the unit mean of its prompts' embeddings, [value, embed]."""
    tokenizer = SceneTokenizer()
    result = {}
    for attribute in ATTRIBUTES:
        rows = [
            model.encode_text(tokenizer(texts).to(device), normalize=True).mean(dim=0)
            for texts in prompts(attribute).values()
        ]
        result[attribute] = F.normalize(torch.stack(rows), dim=1)
    return result


@torch.no_grad()
def accuracy(model: nn.Module, name: str, count: int, seed: int, device: torch.device) -> dict[str, float]:
    """Zero-shot accuracy per attribute on fresh one-group scenes."""
    was_training = model.training
    model.eval()
    preprocess, classifiers = ScenePreprocess(INPUT_SIZE[name]), prompt_classifiers(model, device)
    right = dict.fromkeys(ATTRIBUTES, 0)
    for start in range(0, count, 250):
        scenes = sample(min(250, count - start), seed + start)
        images = model.encode_image(preprocess(scenes.images).to(device), normalize=True)
        for attribute in ATTRIBUTES:
            guess = (images @ classifiers[attribute].T).argmax(dim=1).cpu().numpy()
            right[attribute] += int((guess == scenes.causes.codes(attribute)).sum())
    model.train(was_training)
    return {attribute: hits / count for attribute, hits in right.items()}


class Prompts:
    """One random prompt for every value of every attribute, embedded: read from a table while the text tower is
    locked, encoded with gradient once it learns."""

    def __init__(self, device: torch.device) -> None:
        self.texts = [texts for name in ATTRIBUTES for texts in prompts(name).values()]
        self.sizes = [len(values) for values in ATTRIBUTES.values()]
        self.tokenizer, self.device = SceneTokenizer(), device
        self.table: Tensor | None = None

    def __call__(self, model: nn.Module, step: int, locked: bool) -> tuple[Tensor, ...]:
        rng = np.random.default_rng(step)
        chosen = [int(rng.integers(len(options))) for options in self.texts]
        if not locked:
            tokens = self.tokenizer([options[c] for options, c in zip(self.texts, chosen, strict=True)])
            return model.encode_text(tokens.to(self.device), normalize=True).split(self.sizes)
        table = self.table
        if table is None:
            with torch.no_grad():
                everything = [text for options in self.texts for text in options]
                table = self.table = model.encode_text(self.tokenizer(everything).to(self.device), normalize=True)
        first = np.cumsum([0] + [len(options) for options in self.texts])[:-1]
        return table[torch.from_numpy(first + np.array(chosen))].split(self.sizes)


@dataclass(frozen=True)
class Team:
    """Data-parallel processes, as started by torchrun; alone where there is no such launcher."""

    rank: int
    size: int

    @staticmethod
    def join(device: torch.device) -> Team:
        if "WORLD_SIZE" not in os.environ:
            return Team(0, 1)
        torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        return Team(torch.distributed.get_rank(), torch.distributed.get_world_size())

    def average(self, parameters: Sequence[nn.Parameter]) -> None:
        """Replace every gradient by its mean over the team, in one message."""
        if self.size == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients])
        torch.distributed.all_reduce(flat)
        for gradient, mean in zip(gradients, (flat / self.size).split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))


class Optimizers:
    """Muon for the matrices of the image tower's blocks, AdamW for everything else; one learning rate for all, the
    text tower's a twentieth of it. Muon's updates are scaled to AdamW's size."""

    def __init__(self, model: nn.Module, task: nn.Module, weight_decay: float, muon: bool) -> None:
        image = [(n, p) for n, p in model.named_parameters() if n.startswith("visual.") or n == "logit_scale"]
        blocks = [p for n, p in image if muon and p.ndim == 2 and "resblocks" in n]
        taken = {id(p) for p in blocks}
        rest = [p for _, p in image if id(p) not in taken] + list(task.parameters())
        self.text = _text_parameters(model)
        groups = [
            {"params": [p for p in rest if p.ndim > 1], "weight_decay": weight_decay, "share": 1.0},
            {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0, "share": 1.0},
            {"params": self.text, "weight_decay": 0.0, "share": 0.05},
        ]
        self.all: dict[str, torch.optim.Optimizer] = {"adamw": torch.optim.AdamW(groups, betas=(0.9, 0.98))}
        if blocks:
            self.all["muon"] = torch.optim.Muon(
                [{"params": blocks, "share": 1.0}], weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
            )
        self.parameters = [p for o in self.all.values() for group in o.param_groups for p in group["params"]]

    def step(self, rate: float) -> None:
        for optimizer in self.all.values():
            for group in optimizer.param_groups:
                group["lr"] = rate * group["share"]
            optimizer.step()

    def zero_grad(self) -> None:
        for optimizer in self.all.values():
            optimizer.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        return {name: optimizer.state_dict() for name, optimizer in self.all.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, optimizer in self.all.items():
            if name in state:
                optimizer.load_state_dict(state[name])


def train(args: argparse.Namespace) -> None:
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    device = torch.device(args.device)
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    # Convolutions run nearly twice as fast on CPUs with channels last.
    model = build(args.model).to(device, memory_format=torch.channels_last)
    task = PatchTask(model).to(device)
    chance = torch.Generator()
    drop_class_token_mlps(model, chance)
    optimizers = Optimizers(model, task, args.weight_decay, args.muon)
    team = Team.join(device)
    seen, rows, spent = 0, [], 0.0
    checkpoint = out / "checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        task.load_state_dict(state["task"])
        optimizers.load_state_dict(state["optimizers"])
        seen, rows, spent = state["seen"], state["rows"], state["spent"]
        print(f"resumed at {seen:,} images", flush=True)
    elif args.start_from:
        from safetensors.torch import load_file

        model.load_state_dict(load_file(args.start_from))
    else:
        train_text(model, args.seed, args.text_steps, device, report=lambda line: print(line, flush=True))

    def save() -> None:
        state = {"model": model.state_dict(), "task": task.state_dict(), "optimizers": optimizers.state_dict()}
        temporary = checkpoint.with_suffix(".tmp")
        torch.save({**state, "seen": seen, "rows": rows, "spent": spent + time.time() - started}, temporary)
        os.replace(temporary, checkpoint)

    share = args.batch * team.size
    batches = torch.utils.data.DataLoader(
        Batches(seen + team.rank * args.batch, share, args.batch, args.seed, INPUT_SIZE[args.model]),
        batch_size=None,
        num_workers=args.workers,
    )
    prompted = Prompts(device)
    started = saved = time.time()
    first = seen
    model.train()
    for batch in batches:
        if seen >= args.images:
            break
        done = seen / args.images
        locked = done < UNLOCK_AT
        for parameter in optimizers.text:
            parameter.requires_grad_(not locked)
        chance.manual_seed(args.seed * 100_000_000 + seen + team.rank)
        batch = {key: value.to(device, non_blocking=True) for key, value in batch.items()}
        batch["images"] = batch["images"].contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=args.bf16):
            images = model.encode_image(batch["images"], normalize=True)
            said = model.encode_text(batch["tokens"], normalize=True)
            scale = model.logit_scale.exp()
            logits = scale * images @ said.T
            contrast = (multi_positive(logits, batch["match"]) + multi_positive(logits.T, batch["match"].T)) / 2
            within = torch.stack(
                [
                    -SLOW.get(name, 1.0)
                    * (batch[f"target/{name}"] * (scale * images @ piece.T).log_softmax(dim=1)).sum(dim=1).mean()
                    for name, piece in zip(ATTRIBUTES, prompted(model, seen, locked), strict=True)
                ]
            ).mean()
            loss = contrast + 2 * within
            if done < PATCH_TASK_UNTIL:
                loss = loss + 0.5 * task(batch)
        optimizers.zero_grad()
        loss.backward()
        team.average(optimizers.parameters)
        nn.utils.clip_grad_norm_(optimizers.parameters, 1.0)
        optimizers.step(args.lr * min(1, (seen + share) / WARM_UP) * (0.01 + 0.495 * (1 + math.cos(math.pi * done))))
        with torch.no_grad():
            model.logit_scale.clamp_(max=math.log(100))
        before, seen = seen, seen + share
        if team.rank:
            continue
        if seen // args.evaluate_every > before // args.evaluate_every or seen >= args.images:
            scores = accuracy(model, args.model, 500, EVALUATION_SEED, device)
            speed = (seen - first) / (time.time() - started)
            rows.append({"images": seen, "loss": loss.item(), "contrast": contrast.item(), **scores})
            _log(out, rows)
            listed = "  ".join(f"{name} {score:.3f}" for name, score in scores.items())
            print(f"{seen:>9,} images  {speed:.0f}/s  loss {loss.item():.3f}  {listed}", flush=True)
        if time.time() - saved > SAVE_EVERY or seen >= args.images:
            save()
            saved = time.time()
    if team.rank == 0:
        _export(model, args, rows, spent + time.time() - started, out)


def _log(out: Path, rows: list[dict[str, float]]) -> None:
    with (out / "log.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _export(
    model: nn.Module, args: argparse.Namespace, rows: list[dict[str, float]], seconds: float, out: Path
) -> None:
    """Weights in fp16, the model card, and the learning curve; accuracies are those of the fp16 weights."""
    from safetensors.torch import save_file

    model = model.cpu()
    state = {k: v.half().contiguous() if v.is_floating_point() else v for k, v in model.state_dict().items()}
    weights = out / f"{args.model}.safetensors"
    save_file(state, weights)
    weights.chmod(0o644)  # safetensors writes for the owner alone
    model.load_state_dict(state)
    scores = accuracy(model, args.model, 5000, EVALUATION_SEED + 1_000_000, torch.device("cpu"))
    card = {
        "model": args.model,
        "accuracy": {name: round(score, 4) for name, score in scores.items()},
        "accuracy_on": "5,000 fresh one-group scenes, zero-shot with the prompts of each attribute, fp16 weights",
        "images_seen": rows[-1]["images"],
        "seed": args.seed,
        "command": "python -m summand.scenes.train " + " ".join(args.command),
        "minutes": round(seconds / 60, 1),
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    (out / f"{args.model}.json").write_text(json.dumps(card, indent=2) + "\n")
    draw_curve(rows, out / f"{args.model}-curve.png", args.model)
    print(json.dumps(card, indent=2), flush=True)


def draw_curve(rows: list[dict[str, float]], path: Path, name: str) -> None:
    """Accuracy per attribute over images seen."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    styles = ("-", "--", "-.", ":")
    for i, attribute in enumerate(ATTRIBUTES):
        x = [row["images"] / 1000 for row in rows]
        axes.plot(x, [row[attribute] for row in rows], styles[i % 4], label=attribute, linewidth=1.5)
    axes.set(
        xlabel="thousand images seen", ylabel="zero-shot accuracy", ylim=(0, 1.01), title=f"{name}: learning curve"
    )
    axes.grid(alpha=0.3)
    axes.legend(ncols=2, fontsize=8)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m summand.scenes.train", description="Train a scenes CLIP from scratch."
    )
    parser.add_argument("model", choices=NAMES)
    parser.add_argument("--out", required=True, help="folder for checkpoint, log, weights, card and curve")
    parser.add_argument("--start-from", help="weights (.safetensors) to go on from instead of starting from scratch")
    parser.add_argument("--images", type=int, default=700_000, help="images to see (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=80, help="images a step and process")
    parser.add_argument("--lr", type=float, default=1.2e-3)
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of the trainer")
    parser.add_argument("--workers", type=int, default=0, help="processes that render ahead")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--muon", action="store_true", help="Muon for the matrices of a ViT's blocks (torch ≥ 2.9)")
    parser.add_argument("--bf16", action="store_true", help="bf16 autocast (GPU only: slower on CPUs)")
    parser.add_argument("--text-steps", type=int, default=TEXT_STEPS)
    parser.add_argument("--evaluate-every", type=int, default=20_000, help="images")
    args = parser.parse_args(arguments)
    args.command = sys.argv[1:] if arguments is None else arguments
    train(args)


if __name__ == "__main__":
    main()
