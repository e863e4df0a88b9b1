"""The bundled model's weights in the layout of the published Qwen2.5-VL repositories."""
import os

import torch
from safetensors.torch import load_file, save_file
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration


def published_name(name):
    """transformers 5 keeps model.language_model.* and model.visual.*; the repositories say model.* and visual.*."""
    return name.replace("model.language_model.", "model.").replace("model.visual.", "visual.")


def build(directory, seed):
    """The model of a directory: its weights if it has some, else random ones. float32."""
    torch.manual_seed(seed)
    config = Qwen2_5_VLConfig.from_pretrained(directory)
    model = Qwen2_5_VLForConditionalGeneration(config).float()
    path = os.path.join(directory, "model.safetensors")
    if os.path.exists(path):
        weights = load_file(path)
        own = model.state_dict()
        own = {name: weights[published_name(name)].float() for name in own if name != "lm_head.weight"}
        missing, unexpected = model.load_state_dict(own, strict=False)
        assert not unexpected and set(missing) <= {"lm_head.weight"}, (missing, unexpected)
        model.tie_weights()
    return model


def save(model, out):
    """Writes the weights as bfloat16, by rename, so that a killed run leaves the older file whole."""
    weights = {published_name(name): tensor.detach().to(torch.bfloat16).contiguous()
               for name, tensor in model.state_dict().items() if name != "lm_head.weight"}
    path = os.path.join(out, "model.safetensors")
    save_file(weights, path + ".new", metadata={"format": "pt"})
    os.replace(path + ".new", path)
