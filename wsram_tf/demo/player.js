// Switches between the steps of a player. `element` is the component, which outlives its contents.
let timer = null;

const find = (selector) => element.querySelector(selector);
const count = () => Number(find(".player")?.dataset.count ?? 0);

const show = (step) => {
  for (const part of element.querySelectorAll("[data-step]")) {
    const own = Number(part.dataset.step);
    const hidden = part.classList.contains("only") ? own !== step : own > step;
    part.classList.toggle("away", hidden);
    part.classList.toggle("now", own === step);
  }
  find(".at").value = step + 1;
  find(".which").textContent = `${step + 1} of ${count()}`;
};

const stop = () => {
  clearInterval(timer);
  timer = null;
  const button = find(".play");
  if (button) button.textContent = "Play";
};

const play = () => {
  let step = 0;
  show(step);
  find(".play").textContent = "Stop";
  timer = setInterval(() => {
    step += 1;
    if (step < count()) show(step);
    if (step >= count() - 1) stop();
  }, 900);
};

element.addEventListener("input", (event) => {
  if (!event.target.matches(".at")) return;
  stop();
  show(Number(event.target.value) - 1);
});
element.addEventListener("change", (event) => {
  if (!event.target.matches(".show-prior")) return;
  find(".player").classList.toggle("with-prior", event.target.checked);
});
element.addEventListener("click", (event) => {
  if (!event.target.matches(".play") || !count()) return;
  timer ? stop() : play();
});

const begin = () => {
  stop();
  if (!count()) return;
  // The browser keeps the tick of the answer before.
  find(".player").classList.toggle("with-prior", Boolean(find(".show-prior")?.checked));
  show(count() - 1);
};
watch("value", begin);
begin();
