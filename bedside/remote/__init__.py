"""Answers from any server that speaks OpenAI's chat protocol: vLLM, fastapi_server_demo.py, and the like.

engine = RemoteEngine("http://127.0.0.1:8000")
engine.answer([[{"role": "user", "content": "Fever?"}]], Sampling(temperature=0))[0].thought
"""

from bedside.remote.engine import RemoteEngine
from bedside.remote.loop import in_flight

__all__ = ["RemoteEngine", "in_flight"]
