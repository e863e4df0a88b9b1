"""Asks a Longhand server about a picture, with OpenAI's client: pip install openai; chat.py http://127.0.0.1:8000/v1 photo.jpg PROMPT"""
import base64
import sys

import openai


def main(url, picture, prompt):
    with open(picture, "rb") as file:
        data = base64.b64encode(file.read()).decode()
    client = openai.OpenAI(base_url=url, api_key="none")
    content = [{"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{data}"}}, {"type": "text", "text": prompt}]
    model = client.models.list().data[0].id
    for chunk in client.chat.completions.create(model=model, messages=[{"role": "user", "content": content}], max_tokens=512,
                                                stream=True):
        print(chunk.choices[0].delta.content, end="", flush=True)
    print()


if __name__ == "__main__":
    main(*sys.argv[1:])
