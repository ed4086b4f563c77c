// Exchanges the card number for a token at the payment gateway before the form is sent to the shop.
// The card inputs have no names, so that a browser can never post them.
"use strict";

const form = document.getElementById("checkout");
const button = form.querySelector("button[type=submit]");
const ownCard = document.getElementById("own-card");
const carrier = form.querySelector("[data-own-card]"); // the input whose value is the token of a typed card
const isRadio = carrier.type === "radio";
const inputs = {
  number: document.getElementById("card-number"),
  exp: document.getElementById("card-expiry"),
  cvc: document.getElementById("card-cvc"),
};
const trouble = document.getElementById("checkout-trouble");
const buttonText = button.textContent;
let isSending = false;

function showOwnCard() {
  ownCard.hidden = isRadio && !carrier.checked;
}

function showError(input, message) {
  const id = `${input.id}-error`;
  let element = document.getElementById(id);
  if (!element) {
    element = document.createElement("p");
    element.id = id;
    element.className = "wrong";
    input.after(element);
  }
  element.textContent = message;
  input.setAttribute("aria-invalid", "true");
  const described = (input.getAttribute("aria-describedby") || "").split(" ").filter((name) => name && name !== id);
  input.setAttribute("aria-describedby", [...described, id].join(" "));
}

function clearErrors() {
  trouble.hidden = true;
  for (const input of Object.values(inputs)) {
    document.getElementById(`${input.id}-error`)?.remove();
    input.removeAttribute("aria-invalid");
  }
}

function setBusy(isBusy) {
  isSending = isBusy;
  button.disabled = isBusy;
  button.textContent = isBusy ? button.dataset.busy : buttonText;
}

function showTrouble(message) {
  trouble.textContent = message;
  trouble.hidden = false;
}

async function tokenFor(card) {
  const response = await fetch(form.dataset.tokenAddress, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    credentials: "omit",
    referrerPolicy: "no-referrer",
    signal: AbortSignal.timeout(15000),
    body: JSON.stringify(card),
  });
  return { isAccepted: response.ok, answer: await response.json() };
}

async function exchangeAndSend() {
  setBusy(true);
  let result;
  try {
    result = await tokenFor({
      number: inputs.number.value,
      exp: inputs.exp.value.trim(),
      cvc: inputs.cvc.value.trim(),
    });
  } catch (error) {
    setBusy(false);
    showTrouble("The payment provider does not answer. Nothing was ordered; please try again in a moment.");
    return;
  }
  if (!result.isAccepted) {
    setBusy(false);
    const { field, message } = result.answer.error || {};
    if (inputs[field]) {
      showError(inputs[field], message);
      inputs[field].focus();
    } else {
      showTrouble("The payment provider refused the card. Nothing was ordered; please check it and try again.");
    }
    return;
  }
  carrier.value = result.answer.token;
  for (const input of Object.values(inputs)) input.value = "";
  form.submit();
}

form.addEventListener("submit", (event) => {
  if (isSending) {
    event.preventDefault();
    return;
  }
  clearErrors();
  const isTyped = !isRadio || carrier.checked;
  if (!isTyped || (carrier.value && !inputs.number.value)) {
    setBusy(true);
    return;
  }
  event.preventDefault();
  if (!inputs.number.value.trim()) {
    showError(inputs.number, "Please type the card number.");
    inputs.number.focus();
    return;
  }
  exchangeAndSend();
});

// A page that comes back from the browser's memory must be usable again.
window.addEventListener("pageshow", () => setBusy(false));

if (isRadio) {
  document.getElementById("own-card-choice").hidden = false;
  carrier.disabled = false;
  form.addEventListener("change", showOwnCard);
}
showOwnCard();
