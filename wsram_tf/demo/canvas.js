// A field to draw on. `element` is the component.
const canvas = element.querySelector("canvas");
const context = canvas.getContext("2d");
const note = element.querySelector(".hint");

const clear = () => {
  context.fillStyle = "black";
  context.fillRect(0, 0, canvas.width, canvas.height);
  note.hidden = false;
};

const at = (event) => {
  const box = canvas.getBoundingClientRect();
  const scale = canvas.width / box.width;
  return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
};

canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  note.hidden = true;
  Object.assign(context, { strokeStyle: "white", lineWidth: 16, lineCap: "round", lineJoin: "round" });
  context.beginPath();
  context.moveTo(...at(event));
  context.lineTo(...at(event));
  context.stroke();
  event.preventDefault();
});
canvas.addEventListener("pointermove", (event) => {
  if (!canvas.hasPointerCapture(event.pointerId)) return;
  context.lineTo(...at(event));
  context.stroke();
});
canvas.addEventListener("lostpointercapture", () => {
  trigger("input", { drawing: canvas.toDataURL("image/png") });
});
element.querySelector(".clear").addEventListener("click", clear);
clear();
