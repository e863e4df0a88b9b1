"""The rows that LLaMA-Factory would train on, as token ids and labels: llamafactory_rows.py YAML OUT [SETTING=VALUE...]"""
import json
import sys

from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
from llamafactory.hparams import get_train_args
from llamafactory.model import load_tokenizer
from omegaconf import OmegaConf

settings = OmegaConf.merge(OmegaConf.load(sys.argv[1]), OmegaConf.from_cli(sys.argv[3:]))
model_args, data_args, training_args, finetuning_args, _ = get_train_args(OmegaConf.to_container(settings))
tokenizer = load_tokenizer(model_args)
template = get_template_and_fix_tokenizer(tokenizer["tokenizer"], data_args)
rows = get_dataset(template, model_args, data_args, training_args, stage=finetuning_args.stage, **tokenizer)["train_dataset"]
with open(sys.argv[2], "w", encoding="utf-8") as out:
    json.dump([{"input_ids": row["input_ids"], "labels": row["labels"]} for row in rows], out)
