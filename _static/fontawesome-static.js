// The theme's Font Awesome replaces every <i> by an SVG, also those inside widgets: the Play button keeps a reference to
// its <i>, then throws, and the links behind it break. So convert only what is there when the page loads.
window.FontAwesomeConfig = { observeMutations: false };
