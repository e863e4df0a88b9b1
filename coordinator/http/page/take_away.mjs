// Texts leave the page: to the clipboard, as files.

export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    copyBySelection(text); // without TLS there is no clipboard
  }
}

export function saveFile(title, suffix, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/plain;charset=utf-8" }));
  link.download = `${fileName(title)}.${suffix}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

function fileName(title) {
  return title.toLowerCase().match(/[\p{L}\p{N}]+/gu)?.slice(0, 8).join("-").slice(0, 60) ?? "text";
}

function copyBySelection(text) {
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "unseen";
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}
