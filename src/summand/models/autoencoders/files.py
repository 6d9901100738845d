"""Sparse autoencoders in the layouts of SAELens and Prisma, saev, and overcomplete: weights as safetensors, and a
configuration as JSON beside them or in their header."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from ...effects.autoencoder import Autoencoder
from ...errors import SummandError, first_line, listed

_WEIGHTS = ("sae_weights.safetensors", "weights.safetensors", "sae.safetensors", "model.safetensors")
_CONFIGS = ("cfg.json", "config.json")
_NORMS = ("none", "layer_norm", "constant_norm_rescale")
_GIVE = "give the layer whose stream it reads: layer=9, or FILE@9 in --sae"


def at_layer(file: str) -> tuple[str, int | None]:
    """A file, and the layer behind its @.

    >>> at_layer("saes/mine@9"), at_layer("saes/mine")
    (('saes/mine', 9), ('saes/mine', None))
    """
    place, mark, layer = file.rpartition("@")
    return (place, int(layer)) if mark and layer.isdigit() else (file, None)


def read_autoencoder(path: str | Path, layer: int | None = None) -> Autoencoder:
    """One of these layouts, known by the names of its tensors. layer: where the configuration names no hook.

    Raises `SummandError` for what is no such file, for kinds of encoders that are no linear map and a threshold, and
    for one that was trained elsewhere than on the residual stream.
    """
    file = _weights_of(Path(path).expanduser())
    tensors, config = _read(file)
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


def _weights_of(path: Path) -> Path:
    if path.is_dir():
        found = [path / name for name in _WEIGHTS if (path / name).is_file()] or sorted(path.glob("*.safetensors"))
        if not found:
            raise SummandError(f"{path} holds no weights of an autoencoder ({', '.join(_WEIGHTS)})")
        return found[0]
    if not path.is_file():
        raise SummandError(f"there is no autoencoder {path}")
    if path.suffix != ".safetensors":
        raise SummandError(f"an autoencoder is read from .safetensors, got {path.name}; save its state_dict as such")
    return path


def _read(file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors, and the configuration: of a file beside them, else of the header; one level of it laid open."""
    try:
        with safe_open(str(file), "pt") as held:
            tensors = {name: held.get_tensor(name).float() for name in list(held.keys())}
            header = dict(held.metadata() or {})
    except Exception as error:  # safetensors raises its own
        raise SummandError(f"{file} cannot be read: {first_line(error)}") from error
    beside = next((file.parent / name for name in _CONFIGS if (file.parent / name).is_file()), None)
    try:
        said = json.loads(beside.read_text()) if beside else {k: _plain(v) for k, v in header.items()}
    except ValueError as error:
        raise SummandError(f"{beside} is no JSON: {error}") from error
    inner = [said[name] for name in ("cfg", "metadata", "meta", "sae") if isinstance(said.get(name), Mapping)]
    return tensors, {key: value for part in (*inner, said) for key, value in part.items()}


def _plain(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value


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
    encoder, decoder = tensors["W_enc"], tensors["W_dec"]
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
    norm = config.get("normalize_activations") or "none"
    if norm == "expected_average_only_in" or norm not in _NORMS:
        raise SummandError(f"{source} normalises by {norm!r}, of its data set; fold the factor into its weights first")
    bias = tensors.get("b_dec", decoder.new_zeros(decoder.shape[1]))
    return Autoencoder(
        layer,
        encoder,
        tensors.get("b_enc", encoder.new_zeros(encoder.shape[1])),
        decoder,
        bias,
        bias if _subtracts(config) else torch.zeros_like(bias),
        top_k=_top_k(config, kind, act, source),
        threshold=tensors.get("threshold"),
        normalised=norm,
        source=source,
    )


def _activation(config: Mapping[str, Any]) -> str:
    said = config.get("activation_fn_str") or config.get("activation_fn") or config.get("activation") or "relu"
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
    """overcomplete: one linear map, a batch norm or none, ReLU; rows of the dictionary have length one."""
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
    rows = tensors["dictionary._weights"]
    rows = rows / rows.norm(dim=1, keepdim=True).clamp(min=1e-8)
    nothing = rows.new_zeros(rows.shape[1])
    top_k = config.get("top_k")
    return Autoencoder(
        layer, weight.T, bias, rows, nothing, nothing, top_k=None if top_k is None else int(top_k), source=source
    )


def write_autoencoder(sae: Autoencoder, folder: str | Path) -> Path:
    """A folder in SAELens' layout. Raises `SummandError` for one whose bias in front is neither none nor its own."""
    from safetensors.torch import save_file

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
    save_file({k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}, str(place / _WEIGHTS[0]))
    (place / _CONFIGS[0]).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    return place
