"""Many chats at once from the model in this process, and the OpenAI-compatible server over it."""
