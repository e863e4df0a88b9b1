// What is set in the form, as a request. The same values with the same id are the same request.

const SETTINGS = ["model", "target_words", "temperature", "top_p", "seed", "max_tokens", "repetition_guard"];

// `values` as of composer.mjs. The server writes on whoever listens: the page comes back.
export function requestOf(id, values) {
  const body = { request_id: id, on_disconnect: "continue", stream: true };
  for (const name of SETTINGS) if (values[name] !== undefined && values[name] !== "") body[name] = values[name];
  if (values.kind === "document") {
    return { path: "v1/documents", body: { ...body, instruction: values.instruction, images: values.pictures } };
  }
  const pictures = values.pictures.map((url) => ({ type: "image_url", image_url: { url } }));
  const content = [...pictures, { type: "text", text: values.instruction }];
  const stream_options = { include_usage: true, continuous_usage_stats: true };
  return { path: "v1/chat/completions", body: { ...body, stream_options, messages: [{ role: "user", content }] } };
}
