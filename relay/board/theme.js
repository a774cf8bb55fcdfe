// Before anything is painted: whether somebody has chosen light or dark here.
(() => {
  let chosen = null;
  try {
    chosen = localStorage.getItem("sallyport.theme");
  } catch {
    // A browser that keeps nothing follows the system.
  }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
