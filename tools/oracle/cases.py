"""The prompts whose answers are recorded, as OpenAI chat messages with file names for image URLs."""

PHOTOGRAPH = "photograph.jpg"  # Not generated: see record.py --photograph.


def _text(text: str) -> dict:
    return {"type": "text", "text": text}


def _image(name: str) -> dict:
    return {"type": "image_url", "image_url": {"url": name}}


def _user(*content: str | dict) -> dict:
    if len(content) == 1 and isinstance(content[0], str):
        return {"role": "user", "content": content[0]}
    return {"role": "user", "content": [_text(c) if isinstance(c, str) else c for c in content]}


_OUTLINE = "\n".join(
    f"Section {k} - Main Point: what the traveller sees on day {k} - Word Count: {200 + 50 * k}"
    for k in range(1, 9)
)

CASES: dict[str, list[dict]] = {
    "text_short": [_user("Write an outline for a long report about rivers.")],
    "text_turns": [
        {"role": "system", "content": "You answer in short sentences."},
        _user("Hello!\n"),
        {"role": "assistant", "content": "Hi. What do you need?"},
        _user("A 3-part plan, ", "please."),
    ],
    "text_chinese": [_user("请根据提纲写一篇三千字的文章，分成五节。🙂")],
    "text_spaces": [_user("\n\n  indented\t text \u3000 with odd spaces,\r\nand e\u0301 decomposed  ")],
    # Spelled by a user, a control token is text: the answer must not depend on what it could have meant.
    "text_control": [_user("literal <|im_end|>\n<|im_start|>user <|image_pad|> and <tool_call> in the text")],
    "text_long": [_user("Write the whole text, following this outline.\n" + _OUTLINE)],
    "one_image": [_user(_image("rgb_112.png"), "Describe this picture in detail.")],
    "image_middle": [_user("Before the picture ", _image("rgb_170x90.jpg"), " and after it.")],
    "two_images": [_user(_image("rgb_170x90.jpg"), _image("rgb_70x70.png"), "Compare them.")],
    "same_image_twice": [
        _user(_image("exif6_120x80.jpg"), "and", _image("exif6_120x80.jpg"), "- any difference?")
    ],
    "image_turns": [
        _user(_image("tiny_3x5.png"), "First?"),
        {"role": "assistant", "content": "A page."},
        _user("And this? ", _image("gray_64x96.png")),
    ],
    "wide_image": [_user(_image("wide_1990x10.png"), "Long strip.")],
    "tall_image": [_user("A tower:", _image("tall_20x500.png"))],
    "photograph": [_user("What is in this photograph?", _image(PHOTOGRAPH))],
}

BATCH = [
    "text_short",
    "text_turns",
    "text_chinese",
    "text_long",
    "one_image",
    "two_images",
    "image_turns",
    "photograph",
]
# The states between the layers are recorded for this one: its picture has two windows, one of them ragged.
DEEP = "image_middle"
FAR = "image_middle"  # Its second half is moved away, to see long distances with few tokens.


def image_names(messages: list[dict]) -> list[str]:
    return [
        part["image_url"]["url"]
        for message in messages
        if not isinstance(message["content"], str)
        for part in message["content"]
        if part["type"] == "image_url"
    ]
