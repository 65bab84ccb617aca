"""Drives the stand-in with Google's own client. Arguments: the address of the stand-in, its key."""

import hashlib
import json
import sys
import tempfile
import time
import urllib.request

from google import genai
from google.genai import errors, types

address, key = sys.argv[1:]
SPEECH = "gemini-3.5-transcribe"
GENERAL = "gemini-3.5-flash-lite"


def client(key):
    return genai.Client(api_key=key, http_options=types.HttpOptions(base_url=address))


def sentence(audio):
    return f"heard {len(audio)} bytes, sha256 {hashlib.sha256(audio).hexdigest()[:12]}"


def control(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(f"{address}/_stand-in/{path}", data, headers, method=method)
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.loads(response.read() or "null")


def refused(call):
    try:
        call()
    except errors.APIError as error:
        return error
    raise AssertionError("not refused")


google = client(key)

# A file of 9 MB goes in two chunks, and is processed for two polls.
audio = bytes(range(256)) * 35_157
control("POST", "faults", [{"on": "upload_start", "fault": {"processing_polls": 2}}])
with tempfile.NamedTemporaryFile(suffix=".wav") as file:
    file.write(audio)
    file.flush()
    uploaded = google.files.upload(file=file.name, config={"mime_type": "audio/wav", "display_name": "speech"})
assert uploaded.state == "PROCESSING", uploaded
assert uploaded.size_bytes == len(audio), uploaded

speech = types.GenerateContentConfig(
    audio_transcription_config=types.AudioTranscriptionConfig(
        language_codes=["en-US"], word_timestamp=True, diarization=True
    )
)
early = refused(lambda: google.models.generate_content(model=SPEECH, contents=[uploaded], config=speech))
assert (early.code, early.status) == (400, "FAILED_PRECONDITION"), early

states = []
while uploaded.state == "PROCESSING":
    time.sleep(0.05)
    uploaded = google.files.get(name=uploaded.name)
    states.append(uploaded.state.value)
assert states == ["PROCESSING", "PROCESSING", "ACTIVE"], states
assert [file.name for file in google.files.list()] == [uploaded.name]

answer = google.models.generate_content(model=SPEECH, contents=[uploaded], config=speech)
turns = [part.audio_transcription for part in answer.candidates[0].content.parts]
assert " ".join(turn.text for turn in turns) == sentence(audio), turns
assert [turn.speaker_label for turn in turns] == ["spk_1", "spk_2"], turns
words = [word for turn in turns for word in turn.words]
assert [word.word for word in words] == sentence(audio).split(), words
assert (words[0].start_offset, words[0].end_offset) == (None, "0.400s"), words
assert (words[4].start_offset, words[4].end_offset) == ("1.600s", "2s"), words
assert answer.candidates[0].finish_reason == "STOP"
assert answer.usage_metadata.prompt_token_count == len(audio) // 1000 + 1
assert answer.model_version == SPEECH

# A general model follows a prompt and a schema, with the audio in the request.
clip = b"RIFF" + bytes(range(256)) * 40
schema = types.Schema(
    type="OBJECT",
    properties={"language": types.Schema(type="STRING"), "text": types.Schema(type="STRING")},
    required=["text"],
)
by_prompt = types.GenerateContentConfig(
    system_instruction="Write down what is said.",
    response_mime_type="application/json",
    response_schema=schema,
    thinking_config=types.ThinkingConfig(thinking_level="LOW"),
    store=False,
)
contents = [types.Part.from_bytes(data=clip, mime_type="audio/wav"), "Transcribe."]
answer = google.models.generate_content(model=GENERAL, contents=contents, config=by_prompt)
assert json.loads(answer.text) == {"language": "en", "text": sentence(clip)}, answer.text
assert google.models.count_tokens(model=GENERAL, contents=contents).total_tokens > 10

# A deletion, and what is left after it.
google.files.delete(name=uploaded.name)
for call in (
    lambda: google.files.delete(name=uploaded.name),
    lambda: google.files.get(name=uploaded.name),
    lambda: google.models.generate_content(model=SPEECH, contents=[uploaded], config=speech),
):
    gone = refused(call)
    assert (gone.code, gone.status) == (403, "PERMISSION_DENIED"), gone

# A full minute, and a wrong key.
control("POST", "faults", [{"on": "generate", "fault": {"rate_per_minute": {"retry_seconds": 34.4}}}])
limited = refused(lambda: google.models.generate_content(model=GENERAL, contents=contents))
assert (limited.code, limited.status) == (429, "RESOURCE_EXHAUSTED"), limited
assert limited.details["error"]["details"][2]["retryDelay"] == "34.4s", limited
stranger = client("wrong")
foreign = refused(lambda: stranger.models.generate_content(model=GENERAL, contents=contents))
assert (foreign.code, foreign.status) == (400, "INVALID_ARGUMENT"), foreign
assert foreign.details["error"]["details"][0]["reason"] == "API_KEY_INVALID", foreign

counts = control("GET", "counts")
requests = counts.pop("requests")
chunks = [request for request in requests if request["path"].startswith("/upload/")]
assert [chunk["status"] for chunk in chunks] == [200, 200, 200], chunks
assert "x-goog-api-key" in chunks[0]["headers"] and "x-goog-api-key" not in chunks[1]["headers"]
assert key not in json.dumps(requests)
print(json.dumps(counts, sort_keys=True))
