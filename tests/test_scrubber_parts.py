"""What a scrubber is made of: what it refuses, and what it gives to the page."""

import json

import pytest
import torch

from diffgen.widgets import Curves, Images, Scrubber, Slider


def random(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


ONE, IMAGE, LINE = Slider("w", [1, 2]), random(2, 3, 1, 4, 4), torch.arange(1.0, 6)
WRONG = {
    r"values of slider 'w' is empty": lambda: Slider("w", []),
    r"values of slider 'w' is \[1, 'a'\]: give numbers or text": lambda: Slider("w", [1, "a"]),
    r"values of slider 'w' is \[nan\]: give finite": lambda: Slider("w", [float("nan")]),
    r"start of slider 'w' is 2: it has 2 places": lambda: Slider("w", [1, 2], 2),
    r"format of slider 'w' is 'q': ": lambda: Slider("w", [1, 2], format="q"),
    r"x of images 'a' has shape \(3, 4, 4\): give \(\*sliders": lambda: Images("a", IMAGE[0, :, 0]),
    r"x of images 'a' is torch.int64: give floats": lambda: Images("a", IMAGE.long()),
    r"x of images 'a' holds values that are not finite": lambda: Images("a", IMAGE / 0),
    r"x of images 'a' has \(3,\) before its own dimensions: give one a slider, \(2 or 1\)": lambda: Scrubber(
        [ONE], [Images("a", random(3, 3, 1, 4, 4))]
    ),
    r"x of curves 'G' has shape \(5,\): give \(n,\) increasing": lambda: Curves(x=-LINE, y=LINE, y_label="G"),
    r"x of curves 'G' starts at 0: a logarithmic": lambda: Curves(x=LINE - 1, y=LINE, y_label="G", log_x=True),
    r"y of curves 'G' has shape \(1, 5\): with 2": lambda: Curves(x=LINE, y=LINE, labels=("a", "b"), y_label="G"),
    r"curves 'G' have one end of a band": lambda: Curves(x=LINE, y=LINE, low=LINE, y_label="G"),
    r"high of curves 'G' has shape \(1, 4\): give that of y": lambda: Curves(
        x=LINE, y=LINE, low=LINE, high=LINE[1:], y_label="G"
    ),
    r"colours of curves 'G' is \('red', 'blue'\): give one a line": lambda: Curves(
        x=LINE, y=LINE, colours=("red", "blue"), y_label="G"
    ),
    r"limits of curves 'G' is \(2, 1\)": lambda: Curves(x=LINE, y=LINE, limits=(2, 1), y_label="G"),
    r"marker of curves 'G' is 'v': the sliders are \['w'\]": lambda: Scrubber(
        [ONE], curves=[Curves(x=LINE, y=LINE, y_label="G", marker="v")]
    ),
    r"marker of curves 'G' is 'v', which has text": lambda: Scrubber(
        [Slider("v", "ab")], curves=[Curves(x=LINE, y=LINE, y_label="G", marker="v")]
    ),
    r"behind of curves 'G' is 'v': the sliders are": lambda: Scrubber(
        [ONE], curves=[Curves(x=LINE, y=LINE, y_label="G", behind="v")]
    ),
    r"sliders have the names \['w', 'w'\]": lambda: Scrubber([ONE, ONE], [Images("a", IMAGE)]),
    r"play is 'v': the sliders are \['w'\]": lambda: Scrubber([ONE], [Images("a", IMAGE)], play="v"),
    r"images and curves are empty": lambda: Scrubber([ONE]),
    r"images of 0\.\d\d MB and curves of 0.00 MB are above limit, 0.10 MB: give fewer": lambda: Scrubber(
        [ONE], [Images("a", random(2, 9, 1, 99, 99))], limit=100_000
    ),
}  # fmt: skip


@pytest.mark.parametrize("message", WRONG)
def test_errors_say_what_is_wrong_in_one_line(message):
    with pytest.raises(ValueError, match=f"^{message}") as raised:
        WRONG[message]()
    assert "\n" not in str(raised.value)


def test_a_page_can_hold_its_state_as_json():
    """Only numbers, text and None: what JSON can say, without a binary buffer."""
    curves = Curves(x=LINE, y=torch.tensor([1, torch.nan, torch.inf, 4, 5]), marker="w")
    widget = Scrubber([ONE], [Images("a", IMAGE)], [curves])
    state = {name: getattr(widget, name) for name in ("sliders", "images", "curves", "places", "title", "play")}
    assert json.loads(json.dumps(state, allow_nan=False)) == json.loads(json.dumps(state))
    assert widget.curves[0]["y"] == [1, None, None, 4, 5]
    assert Slider("σ", torch.tensor([0.1234567, 80.0])).labels == ["0.123", "80"]
    assert Slider("σ", [0.5], format=".2f").labels == ["0.50"]
