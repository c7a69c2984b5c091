"""From a model directory to a vLLM server that answers as the model was trained: `sh vllm_deployment.sh MODEL_DIR`.

`given` reads the command line, `subject` the model directory, `machine` the cards and the vLLM that is there;
`memory` says what fits, `command` composes what is run: functions of these records. `server` runs it, `asking` shows
how to ask it.
"""
