"""Sparse autoencoders in the layouts of SAELens and Prisma, saev, and overcomplete."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...effects.autoencoder import Autoencoder
from ...errors import SummandError, listed
from ..saved_weights import save_weights
from .stored import CONFIGS, WEIGHTS, read, weights_of

_NORMS = ("none", "layer_norm", "constant_norm_rescale")
_OVERCOMPLETE = ("encoder.", "dictionary._weights", "dictionary.multiplier", "thresholds")
_GIVE = "give the layer whose stream it reads: layer=9, or FILE@9 in --sae"


def read_autoencoder(path: str | Path, layer: int | None = None) -> Autoencoder:
    """One of these layouts, known by the names of its tensors. layer: where the configuration names no hook.

    Raises `SummandError` for what is no such file, for kinds of encoders that are no linear map and a threshold, and
    for one that was trained elsewhere than on the residual stream.
    """
    file = weights_of(Path(path).expanduser())
    tensors, config = read(file)
    broken = next((name for name, each in tensors.items() if bool(each.isnan().any())), None)
    if broken is not None:
        raise SummandError(f"{file}: {broken} holds NaN, so its latents mean nothing; take another checkpoint of it")
    named = _layer_of(config, file.name)
    if layer is None and named is None:
        raise SummandError(f"{file} does not say where it was trained; {_GIVE}")
    if layer is not None and named is not None and layer != named:
        raise SummandError(f"{file} reads the stream that leaves layer {named}, not layer {layer}; leave out layer")
    at: Any = named if layer is None else layer
    for known, make in ((("W_enc", "W_dec"), _lens), (("dictionary._weights",), _overcomplete)):
        if all(name in tensors for name in known):
            return make(tensors, config, at, str(file))
    raise SummandError(
        f"{file} is no autoencoder of SAELens, Prisma, saev or overcomplete; it holds {listed(tensors, 6)}"
    )


def _layer_of(config: Mapping[str, Any], name: str) -> int | None:
    """Of the hook that it was trained on. Raises `SummandError` for one that is not on the residual stream."""
    hook = next((config[key] for key in ("hook_name", "hook_point") if config.get(key)), None)
    if hook is None:
        return None
    found = re.fullmatch(r"blocks\.(\d+)\.hook_resid_(pre|post)", str(hook).replace("{layer}", str(_number(config))))
    if found is None:
        raise SummandError(
            f"{name} was trained on {hook}; latents are read in the residual stream, where a block ends "
            f"(blocks.9.hook_resid_post) or begins"
        )
    layer = int(found[1]) - (found[2] == "pre")
    if layer < 0:
        raise SummandError(f"{name} was trained on {hook}, in front of the first block, which no layer writes")
    return layer


def _number(config: Mapping[str, Any]) -> Any:
    return next((config[key] for key in ("hook_layer", "hook_point_layer") if config.get(key) is not None), "?")


def _lens(tensors: dict[str, Tensor], config: dict[str, Any], layer: int, source: str) -> Autoencoder:
    """SAELens, Prisma and saev: W_enc [width, latent], b_enc, W_dec [latent, width], b_dec."""
    encoder, decoder, shift = tensors["W_enc"], tensors["W_dec"], tensors.get("b_enc")
    shift = encoder.new_zeros(encoder.shape[1]) if shift is None else shift
    kind, act = str(config.get("architecture", "standard")), _activation(config)
    if kind not in ("standard", "topk", "batchtopk", "jumprelu") or act not in (
        "relu",
        "topk",
        "batchtopk",
        "jumprelu",
    ):
        raise SummandError(f"{source} is a {kind} autoencoder with {act}; relu, topk and jumprelu can be read")
    if encoder.shape != decoder.T.shape:
        raise SummandError(f"{source}: W_enc {list(encoder.shape)} and W_dec {list(decoder.shape)} do not fit")
    if config.get("finetuning_scaling_factor"):
        raise SummandError(f"{source} scales its latents by a factor found in finetuning; fold it into W_dec first")
    norm = config.get("normalize_activations") or "none"
    if norm == "expected_average_only_in" or norm not in _NORMS:
        raise SummandError(f"{source} normalises by {norm!r}, of its data set; fold the factor into its weights first")
    if config.get("rescale_acts_by_decoder_norm"):  # the largest of f_k ‖d_k‖ are kept
        lengths = decoder.norm(dim=1)
        encoder, shift, decoder = encoder * lengths, shift * lengths, decoder / lengths[:, None].clamp(min=1e-30)
    bias = tensors.get("b_dec", decoder.new_zeros(decoder.shape[1]))
    threshold, top_k = tensors.get("threshold"), _top_k(config, kind, act, source)
    if "activation.threshold" in tensors:  # saev's batch top-k, as it is used outside of training
        threshold, top_k = tensors["activation.threshold"].clamp(min=0).expand(len(decoder)).clone(), None
    return Autoencoder(
        layer,
        encoder,
        shift,
        decoder,
        bias,
        bias if _subtracts(config) else torch.zeros_like(bias),
        top_k=top_k,
        threshold=threshold,
        normalised=norm,
        source=source,
        signed=top_k is not None and "schema" in config,
    )


def _activation(config: Mapping[str, Any]) -> str:
    said = config.get("activation_fn_str") or config.get("activation_fn") or config.get("activation")
    if said is None:  # saev's first schema
        said = config["cls"] if config.get("cls") in ("TopK", "BatchTopK") else "relu"
    return str(said.get("cls") if isinstance(said, Mapping) else said).lower()


def _top_k(config: Mapping[str, Any], kind: str, act: str, source: str) -> int | None:
    if "topk" not in (kind, act) and "batchtopk" not in (kind, act):
        return None
    said = config.get("activation")
    more = [
        config,
        config.get("activation_fn_kwargs") or {},
        said.get("params", {}) if isinstance(said, Mapping) else {},
    ]
    found = next((part[name] for part in more for name in ("k", "top_k") if part.get(name)), None)
    if found is None:
        raise SummandError(f"{source} keeps the largest latents alone and does not say how many (k)")
    return int(found)


def _subtracts(config: Mapping[str, Any]) -> bool:
    """Whether b_dec is taken from what is read: as SAELens says it, as Prisma always does, and as saev did before its
    schema 2."""
    if "apply_b_dec_to_input" in config:
        return bool(config["apply_b_dec_to_input"])
    return int(config.get("schema", 0)) < 2


def _overcomplete(tensors: dict[str, Tensor], config: dict[str, Any], layer: int, source: str) -> Autoencoder:
    """overcomplete: one linear map, a batch norm or none, ReLU; rows of the dictionary have length one, all times
    exp(multiplier). Its weights do not say how many latents are kept; a cfg.json beside them does, as top_k."""
    strange = [name for name in tensors if not name.startswith(_OVERCOMPLETE)]
    if strange:
        raise SummandError(f"{source} holds {listed(strange, 4)}, of a kind of overcomplete's that is not read")
    if config.get("normalization", "l2") != "l2":
        raise SummandError(f"{source} normalises its dictionary by {config['normalization']!r}; l2 alone is read")
    names = ("weight", "bias")
    linear = {name: tensors.get(f"encoder.final_block.0.{name}") for name in names}
    weight, bias = linear["weight"], linear["bias"]
    if weight is None or bias is None or any(name.startswith("encoder.mlp_blocks") for name in tensors):
        raise SummandError(f"{source}: its encoder is no single linear map with a bias, so it is not read")
    norm = {name: tensors.get(f"encoder.final_block.1.{name}") for name in (*names, "running_mean", "running_var")}
    if norm["weight"] is not None:
        mean, variance, shift = norm["running_mean"], norm["running_var"], norm["bias"]
        if mean is None or variance is None or shift is None:
            raise SummandError(f"{source}: the norm in its encoder depends on the token, so it is not read")
        gain = norm["weight"] / (variance + float(config.get("eps", 1e-5))).sqrt()
        weight, bias = weight * gain[:, None], (bias - mean) * gain + shift
    rows, zero = tensors["dictionary._weights"], torch.zeros(())
    rows = rows / rows.norm(dim=1, keepdim=True).clamp(min=1e-8) * tensors.get("dictionary.multiplier", zero).exp()
    thresholds = tensors.get("thresholds")  # of its JumpReLU, as logarithms
    nothing = rows.new_zeros(rows.shape[1])
    top_k = None if config.get("top_k") is None else int(config["top_k"])
    threshold = None if thresholds is None else thresholds.exp()
    return Autoencoder(layer, weight.T, bias, rows, nothing, nothing, top_k, threshold, source=source)


def write_autoencoder(sae: Autoencoder, folder: str | Path) -> Path:
    """A folder in SAELens' layout. Raises `SummandError` for one whose bias in front is neither none nor its own, and
    for one that keeps latents below zero."""
    if sae.signed:
        raise SummandError(f"SAELens' layout keeps no latents below zero, and those of {sae.source} are; keep its file")

    own = torch.equal(sae.before, sae.bias)
    if not own and bool(sae.before.any()):
        raise SummandError("SAELens' layout holds one bias for both sides, and this autoencoder has two")
    place = Path(folder).expanduser()
    place.mkdir(parents=True, exist_ok=True)
    kind = "topk" if sae.top_k is not None else "standard" if sae.threshold is None else "jumprelu"
    config = {
        **{"architecture": kind, "d_in": sae.width, "d_sae": sae.latents, "apply_b_dec_to_input": own},
        **{"normalize_activations": sae.normalised, "metadata": {"hook_name": f"blocks.{sae.layer}.hook_resid_post"}},
        **({"k": sae.top_k} if sae.top_k is not None else {}),
    }
    tensors = {"W_enc": sae.encoder, "b_enc": sae.encoder_bias, "W_dec": sae.decoder, "b_dec": sae.bias}
    if sae.threshold is not None:
        tensors["threshold"] = sae.threshold
    save_weights(tensors, place / WEIGHTS[0])
    (place / CONFIGS[0]).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    return place
