"""The official client of OpenAI's API, and Schemathesis, against the server."""

import subprocess
import sys
from collections.abc import Iterator

import openai
import pytest
from server import served

MODEL = "sllm-stories"
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_schema_conformance"
)
PROMPT = "Once upon a time, there was a little fox. "


@pytest.fixture(scope="module")
def base_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text("secret\n")
    with served("--variant", "portable", "--api-key-file", str(keys)) as address:
        yield address + "/v1"


@pytest.fixture
def client(base_url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=base_url, api_key="secret", max_retries=0)


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [MODEL]
    assert client.models.retrieve(MODEL).owned_by == "sllm-ort"


def test_completion_and_stream(client: openai.OpenAI) -> None:
    whole = client.completions.create(model=MODEL, prompt=PROMPT, max_tokens=40, seed=3)
    assert whole.choices[0].text
    assert whole.usage
    assert whole.usage.completion_tokens <= 40
    stream = client.completions.create(
        model=MODEL,
        prompt=PROMPT,
        max_tokens=40,
        seed=3,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    text = "".join(choice.text for chunk in chunks for choice in chunk.choices)
    assert text == whole.choices[0].text
    assert chunks[-1].usage == whole.usage
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason


def test_choices_and_seed(client: openai.OpenAI) -> None:
    def texts() -> list[str]:
        answer = client.completions.create(
            model=MODEL, prompt=[PROMPT, "It rained. "], n=2, seed=5, temperature=1, max_tokens=20
        )
        return [choice.text for choice in answer.choices]

    first = texts()
    assert len(first) == 4
    assert texts() == first
    own = client.completions.create(model=MODEL, prompt=PROMPT, extra_body={"max_sentences": 1})
    assert own.choices[0].finish_reason == "length"


def test_chat(client: openai.OpenAI) -> None:
    messages = [{"role": "user", "content": PROMPT}]
    whole = client.chat.completions.create(model=MODEL, messages=messages, max_tokens=20, seed=3)
    stream = client.chat.completions.create(
        model=MODEL, messages=messages, max_tokens=20, seed=3, stream=True
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    assert text == whole.choices[0].message.content != ""


def test_embeddings(client: openai.OpenAI) -> None:
    texts = ["The fox was happy.", "It rained."]
    # The client asks for base64 unless told otherwise.
    packed = client.embeddings.create(model=MODEL, input=texts)
    plain = client.embeddings.create(model=MODEL, input=texts, encoding_format="float")
    assert len(packed.data) == 2
    for one, other in zip(packed.data, plain.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding, abs=1e-6)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"logprobs": 3}, "logprobs"),
        ({"suffix": "x"}, "suffix"),
        ({"temperature": -1}, "temperature"),
        ({"presence_penalty": 1}, "presence_penalty"),
    ],
)
def test_bad_request(client: openai.OpenAI, fields: dict[str, object], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as error:
        client.completions.create(model=MODEL, prompt=PROMPT, **fields)  # type: ignore[call-overload]
    assert error.value.param == param


def test_error_classes(client: openai.OpenAI, base_url: str) -> None:
    with pytest.raises(openai.NotFoundError):
        client.completions.create(model="gpt-4", prompt=PROMPT)
    stranger = openai.OpenAI(base_url=base_url, api_key="other", max_retries=0)
    with pytest.raises(openai.AuthenticationError):
        stranger.models.list()
    with pytest.raises(openai.BadRequestError) as error:
        client.completions.create(model=MODEL, prompt="Hello there. " * 200)
    assert error.value.code == "context_length_exceeded"


def test_answers_are_as_the_contract_says(base_url: str) -> None:
    contract = base_url.removesuffix("/v1") + "/openapi.json"
    command = [sys.executable, "-m", "schemathesis.cli", "run", contract]
    command += ["--header", "Authorization: Bearer secret", "--checks", CHECKS]
    command += ["--max-examples", "5", "--seed", "1", "--phases", "examples,coverage,fuzzing"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-4000:]
