"""Time the forward pass of networks: as a user would write it, and as `inference_copy` makes it.

    python benchmarks/networks.py [NAMES...] --size 512 --batch 1 --rounds 7 --threads 2 --device cpu

Prints, for each preset or each of NAMES, the median seconds of one pass, and in brackets the largest error of the
logits relative to the largest logit of the plain network in eval mode. The variants take turns in one process, so
that a busy machine slows all of them. The gain is the median over the rounds of no_grad over channels-last.

- eval: model.eval() alone, so the pass is recorded for a backward pass
- no_grad: model.eval() under torch.no_grad()
- folded: inference_copy with contiguous weights, and channels-last: with channels-last ones
- autocast, with --autocast: inference_copy under autocast to bfloat16 (CPU) or float16 (CUDA), as a teacher runs in a
  training of mixed precision; CPUs without instructions for it take many times as long
"""

import argparse
from collections.abc import Callable
from statistics import median
from time import perf_counter, process_time

import torch
from torch import Tensor, nn

from fakd.models import PRESETS, Segmentor, create_model
from fakd.models.inference_copy import inference_copy

VARIANTS = ("eval", "no_grad", "folded", "channels-last")


def network(name: str, device: str) -> Segmentor:
    """Return a network whose activations keep their size from layer to layer, as a trained one's do.

    In one that is fresh from its initialisation rounding grows until the logits of any two variants differ.
    """
    model = create_model(name, num_classes=19)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.3, 0.7)
            nn.init.normal_(module.bias, std=0.2)
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.8, 1.25)
    return model.to(device).eval()


def passes(model: Segmentor, images: Tensor, autocast: bool) -> dict[str, Callable[[], Tensor]]:
    """Return every variant as a function that gives the logits."""
    copy = inference_copy(model)
    contiguous = inference_copy(model).to(memory_format=torch.contiguous_format)
    half = torch.bfloat16 if images.device.type == "cpu" else torch.float16

    def under_autocast() -> Tensor:
        with torch.autocast(images.device.type, dtype=half):
            return copy(images).logits

    no_grad = torch.no_grad()(lambda: model(images).logits)
    calls = (lambda: model(images).logits, no_grad, lambda: contiguous(images).logits, lambda: copy(images).logits)
    return dict(zip(VARIANTS, calls, strict=True)) | ({"autocast": under_autocast} if autocast else {})


def seconds(call: Callable[[], Tensor], device: str) -> float:
    """Return how long one call takes; on the CPU the seconds that it computes, without those it waits for others."""
    if not device.startswith("cuda"):
        start = process_time()
        call()
        return process_time() - start
    torch.cuda.synchronize()
    start = perf_counter()
    call()
    torch.cuda.synchronize()
    return perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(PRESETS), help="networks, default: all presets")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--autocast", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    images = torch.rand(args.batch, 3, args.size, args.size, device=args.device)
    print(f"torch {torch.__version__}, {args.device}, {args.threads} threads, {tuple(images.shape)}\n")
    variants = VARIANTS + ("autocast",) * args.autocast
    print("| network |", " | ".join(variants), "| gain |\n| --- |" + " ---: |" * (len(variants) + 1))
    for name in args.names:
        calls = passes(network(name, args.device), images, args.autocast)
        expected = calls["no_grad"]()
        errors = {key: ((call() - expected).abs().max() / expected.abs().max()).item() for key, call in calls.items()}
        rounds = [{key: seconds(call, args.device) for key, call in calls.items()} for _ in range(args.rounds)]
        times = {key: median(r[key] for r in rounds) for key in variants}
        cells = [f"{times[key]:.3f} ({errors[key]:.0e})" for key in variants]
        gain = median(r["no_grad"] / r["channels-last"] for r in rounds)
        print(f"| {name} |", " | ".join(cells), f"| {gain:.2f} |", flush=True)


if __name__ == "__main__":
    main()
