#include "client/export_training/training_yaml.h"

#include <fmt/format.h>

namespace longhand::client {
namespace {

// A YAML string in double quotes is a JSON string, as far as paths and names go.
std::string Quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

}  // namespace

std::string TrainingYaml(const TrainingSettings& s) {
  std::string out = fmt::format(
      "# llamafactory-cli train THIS_FILE\n"
      "model_name_or_path: {}\n"
      "template: qwen2_vl\n"
      "stage: {}\n"
      "do_train: true\n"
      "finetuning_type: {}\n",
      Quoted(s.model), s.is_dpo ? "dpo" : "sft", s.is_lora ? "lora" : "full");
  if (s.is_lora) out += "lora_rank: 8\nlora_target: all\n";
  if (s.is_dpo)
    out +=
        "pref_loss: sigmoid\npref_beta: 0.1  # LLaMA-Factory's own; LongWriter-V's is not known\n";
  out += fmt::format(
      "freeze_vision_tower: true  # LLaMA-Factory's own, as the next\n"
      "freeze_multi_modal_projector: true\n\n"
      "dataset_dir: {}\n"
      "dataset: {}\n"
      "# What is longer is cut off without a word. LongWriter-V's context is 32k.\n"
      "cutoff_len: 32768\n"
      "# 280 x 280, as LongWriter-V saw its pictures. Serve with the same.\n"
      "image_max_pixels: 78400\n"
      "preprocessing_num_workers: 4\n\n"
      "output_dir: {}\n"
      "logging_steps: 10\n"
      "save_strategy: epoch\n"
      "report_to: none\n\n",
      Quoted(s.dataset_dir), Quoted(s.dataset), Quoted(s.output_dir));
  out += fmt::format(
      "# LongWriter-V-7B{}: {} samples a step on 8 GPUs.\n"
      "per_device_train_batch_size: 1\n"
      "gradient_accumulation_steps: {}\n"
      "learning_rate: {}\n"
      "num_train_epochs: 3.0\n"
      "lr_scheduler_type: cosine\n"
      "warmup_ratio: 0.1\n"
      "seed: 42\n"
      "bf16: true\n"
      "# On several GPUs, with LLaMA-Factory's own file:\n"
      "# deepspeed: examples/deepspeed/ds_z3_config.json\n",
      s.is_dpo ? "-DPO" : "", s.is_dpo ? 64 : 16, s.is_dpo ? 8 : 2,
      s.is_lora ? (s.is_dpo ? "5.0e-6" : "1.0e-4") : (s.is_dpo ? "3.0e-6" : "1.0e-5"));
  return out;
}

}  // namespace longhand::client
