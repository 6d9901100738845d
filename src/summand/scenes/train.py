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
import math
import sys
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from ..atomic import replacing
from ..towers.border import foreign
from .attributes import ATTRIBUTES
from .pretrained import INPUT_SIZE, NAMES, build
from .source import parse_source
from .training.aids import PatchTask, drop_class_token_mlps, freeze_all_but_last
from .training.batches import Batches
from .training.report import accuracy, draw_curve, export_weights, write_card, write_log
from .training.steps import Optimizers, Team
from .training.text_stage import Prompts, train_text

TEXT_STEPS = 800
WARM_UP = 24_000
SAVE_EVERY = 60.0
"""Seconds between checkpoints."""
UNLOCK_AT = 0.9
PATCH_TASK_UNTIL = 0.9
SLOW = {"count": 3.0, "shape": 2.0, "texture": 2.5}
"""Weights of the attributes that are learnt last, in the contrast among prompts; 1 for the others."""
EVALUATION_SEED = 987_654_321


def multi_positive(logits: Tensor, match: Tensor) -> Tensor:
    """Cross-entropy against the uniform distribution over the positives of each row; rows without any are left out."""
    share = match / match.sum(dim=1, keepdim=True).clamp(min=1)
    some = match.sum(dim=1) > 0
    return -(share * logits.log_softmax(dim=1)).sum(dim=1)[some].mean()


def train(args: argparse.Namespace) -> None:
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    device = torch.device(args.device)
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    # Convolutions run nearly twice as fast on CPUs with channels last.
    model = foreign(build(args.model).to(device).to(memory_format=torch.channels_last))
    task = PatchTask(model).to(device)
    chance = torch.Generator()
    drop_class_token_mlps(model, chance)
    if args.train_last:
        freeze_all_but_last(model, args.train_last)
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
        with replacing(checkpoint) as temporary:
            torch.save({**state, "seen": seen, "rows": rows, "spent": spent + time.time() - started}, temporary)

    share = args.batch * team.size
    ties = parse_source(f"scenes:tie={args.tie}").ties if args.tie else ()
    batches = torch.utils.data.DataLoader(
        Batches(seen + team.rank * args.batch, share, args.batch, args.seed, INPUT_SIZE[args.model], ties),
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
        locked = done < UNLOCK_AT or bool(args.train_last)
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
            if done < PATCH_TASK_UNTIL and not args.train_last:
                loss = loss + 0.5 * task(batch)
        optimizers.zero_grad()
        loss.backward()
        team.average(optimizers.parameters)
        nn.utils.clip_grad_norm_(optimizers.parameters, 1.0)
        optimizers.step(
            args.lr
            * min(1, (seen + share) / min(WARM_UP, args.images / 10))
            * (0.01 + 0.495 * (1 + math.cos(math.pi * done)))
        )
        with torch.no_grad():
            model.logit_scale.clamp_(max=math.log(100))
        before, seen = seen, seen + share
        if team.rank:
            continue
        if seen // args.evaluate_every > before // args.evaluate_every or seen >= args.images:
            scores = accuracy(model, args.model, 500, EVALUATION_SEED, device)
            speed = (seen - first) / (time.time() - started)
            rows.append({"images": seen, "loss": loss.item(), "contrast": contrast.item(), **scores})
            write_log(out, rows)
            listed = "  ".join(f"{name} {score:.3f}" for name, score in scores.items())
            print(f"{seen:>9,} images  {speed:.0f}/s  loss {loss.item():.3f}  {listed}", flush=True)
        if time.time() - saved > SAVE_EVERY or seen >= args.images:
            save()
            saved = time.time()
    if team.rank == 0:
        export_weights(model, out / f"{args.model}.safetensors")
        scores = accuracy(model, args.model, 5000, EVALUATION_SEED + 1_000_000, torch.device("cpu"))
        launcher = "python" if team.size == 1 else f"torchrun --nproc-per-node {team.size}"
        write_card(
            out / f"{args.model}.json",
            args.model,
            scores,
            seen=seen,
            seed=args.seed,
            command=f"{launcher} -m summand.scenes.train {' '.join(args.command)}",
            minutes=(spent + time.time() - started) / 60,
            size=sum(p.numel() for p in model.parameters()),
        )
        draw_curve(rows, out / f"{args.model}-curve.png", args.model)
        print((out / f"{args.model}.json").read_text(), flush=True)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m summand.scenes.train", description="Train a scenes CLIP from scratch."
    )
    parser.add_argument("model", choices=NAMES)
    parser.add_argument("--out", required=True, help="folder for checkpoint, log, weights, card and curve")
    parser.add_argument("--start-from", help="weights (.safetensors) to go on from instead of starting from scratch")
    parser.add_argument("--tie", help="a shortcut to learn, cause/effect/share, such as shape/place/0.95")
    parser.add_argument(
        "--train-last", type=int, default=0, help="train only this many of a ViT's last blocks and what follows them"
    )
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
