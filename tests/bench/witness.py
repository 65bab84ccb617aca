"""Transcribes by faster-whisper: reads the name of a file a line, writes the text and the language as JSON, a line for each."""

import json
import sys

from faster_whisper import WhisperModel

directory, threads = sys.argv[1:]
model = WhisperModel(directory, device="cpu", compute_type="int8", cpu_threads=int(threads))
print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    segments, info = model.transcribe(line.rstrip("\n"))
    text = "".join(segment.text for segment in segments)
    print(json.dumps({"text": text.strip(), "language": info.language}), flush=True)
