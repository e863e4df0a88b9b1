// Asks for the API key where the server wants one.

const at = (id) => document.getElementById(id);

export function askForKeys(server) {
  const panel = at("key-panel");
  server.addEventListener("key", ({ detail }) => {
    at("key-fault").textContent = detail;
    if (!panel.hidden) return;
    panel.hidden = false;
    at("key").focus();
  });
  panel.addEventListener("submit", (event) => {
    event.preventDefault();
    panel.hidden = true;
    server.setKey(at("key").value.trim());
    at("key").value = "";
  });
}
