// Ends a request on the server, where it goes on whether or not anybody reads.

import { ServerError } from "./server.mjs";

const APART_MS = 300;

// Whether it was ended: false where it had ended before. `isAlive` says whether its end is still to come.
export async function stopOnServer(server, entry, isAlive) {
  while (isAlive()) {
    try {
      await server.fetch(`v1/streams/${encodeURIComponent(entry.id)}`, { method: "DELETE" });
      return true;
    } catch (error) {
      const isOver = error instanceof ServerError && error.status === 404 && entry.isTaken;
      if (isOver) return false;
      if (error instanceof ServerError && error.status !== 404 && !error.isPassing) throw error;
      await new Promise((resolve) => setTimeout(resolve, APART_MS)); // not taken yet, or not reached
    }
  }
  return false;
}

// Esc leads to the button, and a second Esc presses it: a text of an hour is not lost by one key.
export function stopByEscape(button) {
  const label = button.textContent;
  button.addEventListener("blur", () => !button.disabled && (button.textContent = label));
  document.addEventListener("keydown", (event) => {
    const isFree = button.checkVisibility() && !button.disabled && !event.target.matches("input, textarea, select");
    if (event.key !== "Escape" || !isFree) return;
    if (document.activeElement === button && button.textContent !== label) return button.click();
    button.focus();
    button.textContent = "Esc again to stop";
  });
}
