// Why a text ended, in plain words.

const WORDS = {
  eos: "It came to its end by itself.",
  stop_token: "It came to its end by itself.",
  stop_string: "It reached a stop string.",
  target_reached: "It reached its length.",
  document_written: "All sections are written.",
  max_tokens: "It was cut off: it had as many tokens as it may (max_tokens).",
  context_full: "It was cut off: the model can hold no more.",
  repetition: "It was ended, since it went round in a circle.",
};

export function finishInWords(detail) {
  return WORDS[detail] ?? `It ended: ${detail}.`;
}
